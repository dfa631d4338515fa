"""Learners of V alone: how much better an action was than usual is told by what followed.

A(o, a) = r + γⁿ (1-d) V(o') - V(o)                       V the mean of the value networks
L_π     = -E[ min(exp(β A), w_max) log π(a|o) ]
"""

from __future__ import annotations

from typing import Any

import torch
from d3rlpy.models.builders import create_value_function
from torch import Tensor

from offline_rl.learners.learner import LearnerImpl


class ValueImpl(LearnerImpl):
    """Of modules that hold `v_funcs`, the networks of V."""

    def values(self, observations: Tensor) -> Tensor:
        """(B, 1) V."""
        return each(self._modules.v_funcs, observations).mean(dim=0)

    def advantages(self, batch: Any) -> Tensor:
        """(B, 1) A of the actions of a batch."""
        following = self.values(batch.next_observations)
        found: Tensor = batch.rewards + self._ahead(batch) * following
        return found - self.values(batch.observations)

    def policy_loss(self, batch: Any) -> Tensor:
        """L_π of a batch."""
        with torch.no_grad():
            advantages = self.advantages(batch)
        return self.cloning_loss(batch, advantages)

    def inner_predict_value(self, x: Tensor, action: Tensor) -> Tensor:
        """(B,) V of the observations, whatever the action."""
        return self.values(x).reshape(-1)


def value_networks(count: int, shape: Any, factory: Any, device: str) -> torch.nn.ModuleList:
    """Networks of V that are not trained yet.

    Args:
        count: how many.
        shape: of an observation.
        factory: d3rlpy's, of the hidden layers.
        device: of the weights.
    """
    made = (create_value_function(shape, factory, device, enable_ddp=False) for _ in range(count))
    return torch.nn.ModuleList(made)


def each(networks: torch.nn.ModuleList, observations: Tensor) -> Tensor:
    """(M, B, 1) values by each of M networks."""
    return torch.stack([network(observations) for network in networks])
