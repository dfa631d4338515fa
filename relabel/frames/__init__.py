"""Stored images to pixels: cameras, their forms, and the decoding of a frame."""
