"""Frames and texts to unit vectors."""
