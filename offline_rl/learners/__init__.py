"""Learners of our own kind, as d3rlpy's extension classes; importing them registers them there."""

from offline_rl.learners.awr import AWRConfig, DiscreteAWRConfig
from offline_rl.learners.gciql import DiscreteGCIQLConfig, GCIQLConfig
from offline_rl.learners.gcivl import DiscreteGCIVLConfig, GCIVLConfig
from offline_rl.learners.ra_bc import DiscreteRABCConfig, RABCConfig

__all__ = [
    "AWRConfig",
    "DiscreteAWRConfig",
    "DiscreteGCIQLConfig",
    "DiscreteGCIVLConfig",
    "DiscreteRABCConfig",
    "GCIQLConfig",
    "GCIVLConfig",
    "RABCConfig",
]
