"""Learners of our own kind, as d3rlpy's extension classes; importing them registers them there."""

from offline_rl.learners.gciql import DiscreteGCIQLConfig, GCIQLConfig
from offline_rl.learners.gcivl import DiscreteGCIVLConfig, GCIVLConfig

__all__ = ["DiscreteGCIQLConfig", "DiscreteGCIVLConfig", "GCIQLConfig", "GCIVLConfig"]
