"""Policies of the learners: how likely they make an action, and what they do.

continuous    π(a|s,g) = Normal(tanh μ(s,g), 1): log π = -½‖a - tanh μ‖² + const
discrete      π(a|s,g) = softmax of one logit per choice

OGBench's has the mean μ itself, and cuts actions to [-1, 1]; d3rlpy's policies end in a tanh.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from d3rlpy.constants import ActionSpace
from d3rlpy.models.builders import create_categorical_policy, create_deterministic_policy
from torch import Tensor


class Actor(Protocol):
    """A policy with its network."""

    network: torch.nn.Module

    def log_probs(self, observations: Tensor, actions: Tensor) -> Tensor:
        """(B, 1) logarithms of how likely the policy makes (B, A) actions, up to a constant."""
        ...

    def best(self, observations: Tensor) -> Tensor:
        """(B, A) actions in [-1, 1], or (B,) choices: the most likely ones."""
        ...


class ContinuousActor:
    """Actions in [-1, 1]."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def log_probs(self, observations: Tensor, actions: Tensor) -> Tensor:
        """See `Actor`."""
        return log_density(self.best(observations), actions)

    def best(self, observations: Tensor) -> Tensor:
        """See `Actor`."""
        found: Tensor = self.network(observations).squashed_mu
        return found


def log_density(best: Tensor, actions: Tensor) -> Tensor:
    """(B, 1) log π of (B, A) actions up to a constant, where (B, A) are the most likely ones."""
    return -((actions - best) ** 2).sum(dim=1, keepdim=True) / 2


class DiscreteActor:
    """Ids of choices."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def log_probs(self, observations: Tensor, actions: Tensor) -> Tensor:
        """See `Actor`."""
        logits: Tensor = self.network(observations).logits
        return torch.log_softmax(logits, dim=1).gather(1, actions.long().reshape(-1, 1))

    def best(self, observations: Tensor) -> Tensor:
        """See `Actor`."""
        found: Tensor = self.network(observations).logits.argmax(dim=1)
        return found


def create_actor(
    space: ActionSpace, shape: Any, action_size: int, encoder_factory: Any, device: str
) -> Actor:
    """A policy that is not trained yet.

    Args:
        space: continuous or discrete.
        shape: of an observation.
        action_size: values of an action, or number of choices.
        encoder_factory: d3rlpy's, of the hidden layers.
        device: of its weights.
    """
    if space is ActionSpace.DISCRETE:
        return DiscreteActor(
            create_categorical_policy(shape, action_size, encoder_factory, device, enable_ddp=False)
        )
    return ContinuousActor(
        create_deterministic_policy(shape, action_size, encoder_factory, device, enable_ddp=False)
    )
