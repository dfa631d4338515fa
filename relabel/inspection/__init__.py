"""What a source holds, and what to do with it."""
