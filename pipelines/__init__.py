"""Beam: transforms over slices, the jobs made of them, runners and progress."""
