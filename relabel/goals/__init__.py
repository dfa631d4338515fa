"""Words to prompts, and prompts to vectors."""
