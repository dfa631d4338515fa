"""The core: sources, frames, encoders, prompts and rewards. No Beam."""

__distribution__ = "vlm-relabel"  # told apart from others of this name
