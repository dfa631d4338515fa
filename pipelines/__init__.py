"""Beam: transforms over slices, the jobs made of them, runners and progress."""

__distribution__ = "vlm-relabel"  # told apart from others of this name
