"""Rewards to trajectories: the rows of a goal-conditioned dataset."""
