"""Policies that can be rolled out: what an agent does in a room, and by chance.

BatchPolicy      acts by what it sees, in all rooms at once        RestoredPolicy
DrawingPolicy    the same, and by the chance of each room          DrawnPolicy
EpisodePolicy    acts by the episode, in one room after the other  TransformerPolicy, RandomPolicy
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from d3rlpy.algos import (
    DiscreteBC,
    DiscreteBCQ,
    GreedyTransformerActionSampler,
    IdentityTransformerActionSampler,
)
from d3rlpy.constants import ActionSpace
from numpy.typing import NDArray

from offline_rl.learners.learner import Learner
from offline_rl.restoring import Restore
from schemas.errors import RunError

Floats = NDArray[np.float32]


class BatchPolicy(Protocol):
    """Acts by what it sees, in many rooms at once: a d3rlpy algorithm."""

    def predict(self, x: Floats) -> Any:
        """(N,) or (N, A) actions for (N, D) observations, or a list of N."""
        ...


class Mind(Protocol):
    """What decides through one episode, and remembers it."""

    def predict(self, x: Floats, reward: float | None) -> Any:
        """The action for one observation (D,).

        Args:
            x: the observation.
            reward: true reward of the action before; None: there was none.
        """
        ...


@runtime_checkable
class EpisodePolicy(Protocol):
    """Acts by the episode: `TransformerPolicy`, `RandomPolicy`."""

    def begin(self, seed: int) -> Mind:
        """The mind of a new episode, in the room of this seed."""
        ...


@runtime_checkable
class DrawingPolicy(Protocol):
    """Acts by what it sees and by chance, in many rooms at once: `DrawnPolicy`."""

    def chance(self, seed: int) -> np.random.Generator:
        """That of a new episode, in the room of this seed."""
        ...

    def draw(self, x: Floats, chances: Sequence[np.random.Generator]) -> list[Any]:
        """N actions for (N, D) observations, each by the chance of its episode."""
        ...


Policy: TypeAlias = BatchPolicy | DrawingPolicy | EpisodePolicy  # what is rolled out


def _as_it_is(action: Any) -> Any:
    return action


@dataclass(frozen=True)
class RestoredPolicy:
    """A policy whose actions are made into those of an environment: see `restoring.restorer`.

    Args:
        policy: d3rlpy algorithm.
        restore: of one action.
    """

    policy: BatchPolicy
    restore: Restore

    def predict(self, x: Floats) -> Any:
        """N actions for (N, D) observations."""
        return [self.restore(action) for action in self.policy.predict(x)]


@dataclass(frozen=True)
class DrawnPolicy:
    """Draws its actions at a temperature T, as OGBench's evaluation can (Park et al. 2024).

    With o the observation and the goal behind it:

        discrete      π(a|o) ∝ exp(f(o, a) / T)    f: logits of the policy; without one, values
        continuous    Normal(best action, T), cut to [-1, 1], to which actions are scaled

    The second is the policy of our own learners, whose spread is 1, at T; a spread that d3rlpy's
    learned is not used. With T → 0 the best action is left, and an agent that takes the best one
    everywhere can go around in circles for ever.

    In the room of one seed actions are drawn by the same chance, whatever else is rolled out. BCQ
    and BEAR choose their best action among some that they draw by PyTorch's.

    Args:
        agent: d3rlpy algorithm.
        temperature: T, above 0.
        seed: of the chance.
        restore: makes its actions into those of an environment: see `restoring.restorer`.

    Raises:
        RunError: a temperature that is not above 0 and finite, or an agent that chooses by more
            than preferences: DiscreteBCQ.
    """

    agent: Any
    temperature: float
    seed: int
    restore: Restore = _as_it_is

    def __post_init__(self) -> None:
        """Refuses what cannot be drawn."""
        if not 0 < self.temperature < math.inf:
            raise RunError(f"temperature {self.temperature}: expected a finite number above 0")
        if isinstance(self.agent, DiscreteBCQ):
            raise RunError("DiscreteBCQ: its actions cannot be drawn at a temperature")

    def chance(self, seed: int) -> np.random.Generator:
        """See `DrawingPolicy`."""
        return np.random.default_rng([self.seed, seed])

    def draw(self, x: Floats, chances: Sequence[np.random.Generator]) -> list[Any]:
        """See `DrawingPolicy`."""
        discrete = self.agent.get_action_type() is ActionSpace.DISCRETE
        drawn = self._choices(x, chances) if discrete else self._near_the_best(x, chances)
        return [self.restore(action) for action in drawn]

    def _choices(self, x: Floats, chances: Sequence[np.random.Generator]) -> NDArray[np.int64]:
        """By the Gumbel-max trick (Maddison et al. 2014, arXiv 1411.0030): (N,)."""
        wanted = preferences(self.agent, x)
        noise = np.stack([chance.gumbel(size=wanted.shape[1]) for chance in chances])
        behind = wanted - wanted.max(axis=1, keepdims=True)  # the best keeps 0, however small T is
        choices: NDArray[np.int64] = (behind + self.temperature * noise).argmax(axis=1)
        return choices

    def _near_the_best(self, x: Floats, chances: Sequence[np.random.Generator]) -> Floats:
        best, scaler = self.agent.predict(x), self.agent.config.action_scaler
        scaled = best if scaler is None else scaler.transform_numpy(best)
        noise = np.stack([chance.standard_normal(scaled.shape[1]) for chance in chances])
        drawn = np.clip(scaled + self.temperature * noise, -1, 1).astype(np.float32)
        found: Floats = drawn if scaler is None else scaler.reverse_transform_numpy(drawn)
        return found


def preferences(agent: Any, x: Floats) -> NDArray[np.float64]:
    """What a discrete agent prefers: logits of its policy or, without one, values of its choices.

    Args:
        agent: d3rlpy algorithm.
        x: (N, D) observations.

    Returns:
        (N, A), the greatest at its best action.
    """
    if isinstance(agent, DiscreteBC | Learner):
        modules = agent.impl.modules
        modules.set_eval()
        network = modules.imitator if isinstance(agent, DiscreteBC) else modules.policy
        seen, scaler = torch.as_tensor(x, device=agent.impl.device), agent.config.observation_scaler
        with torch.no_grad():
            logits = network(seen if scaler is None else scaler.transform(seen)).logits
        return np.asarray(logits.cpu(), np.float64)
    choices = (np.full(len(x), choice) for choice in range(agent.action_size))
    return np.stack([agent.predict_value(x, choice) for choice in choices], axis=1)


@dataclass(frozen=True)
class TransformerPolicy:
    """A d3rlpy decision transformer: every episode has a memory of its own.

    Args:
        agent: d3rlpy transformer algorithm.
        target_return: what it is asked to reach, in the rewards it was trained on.
        step_reward: of the dataset: 0 for rewards of 0 and 1, -1 for rewards of -1 and 0.
        restore: makes its actions into those of an environment: see `restoring.restorer`.
    """

    agent: Any
    target_return: float
    step_reward: int = 0
    restore: Restore = _as_it_is

    def begin(self, seed: int) -> Mind:
        """The memory of a new episode."""
        discrete = self.agent.get_action_type() is ActionSpace.DISCRETE
        sampler = GreedyTransformerActionSampler if discrete else IdentityTransformerActionSampler
        wrapper = self.agent.as_stateful_wrapper(self.target_return, sampler())
        return _TransformerMind(wrapper, self.step_reward, self.restore)


@dataclass(frozen=True)
class _TransformerMind:
    wrapper: Any  # d3rlpy's
    step_reward: int
    restore: Restore

    def predict(self, x: Floats, reward: float | None) -> Any:
        told = 0.0 if reward is None else float(reward > 0) + self.step_reward
        return self.restore(self.wrapper.predict(x, told))


@dataclass(frozen=True)
class RandomPolicy:
    """Actions drawn uniformly from an environment's action space.

    In the room of one seed they are always the same, whatever else is rolled out.
    """

    action_space: Any
    seed: int

    def begin(self, seed: int) -> Mind:
        """A stream of actions of its own."""
        space = deepcopy(self.action_space)
        # Not the room's seed itself: the room and its actions would be drawn from one stream.
        space.seed(int(np.random.SeedSequence([self.seed, seed]).generate_state(1)[0]))
        return _RandomMind(space)


@dataclass(frozen=True)
class _RandomMind:
    action_space: Any

    def predict(self, x: Floats, reward: float | None) -> Any:
        return self.action_space.sample()
