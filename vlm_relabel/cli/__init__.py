"""The command `vlm-relabel`."""
