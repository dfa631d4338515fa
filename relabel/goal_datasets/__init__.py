"""Rewards to trajectories: what a goal dataset holds."""
