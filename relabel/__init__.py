"""The core: sources, frames, encoders, prompts and rewards. No Beam."""
