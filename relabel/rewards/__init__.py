"""Vectors to scores and rewards."""
