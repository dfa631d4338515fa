"""Shards to episodes: where a dataset is, what it describes, and its records as columns."""
