"""Runnable examples on real input."""
