"""Fitted Q evaluation: what an agent's policy is worth, by critics fitted to held-out data.

A fit depends on where its networks start and on what is drawn. So several are made, each from a
seed of its own, and their spread is shown; the same seed gives the same numbers again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import d3rlpy
import numpy as np
import torch
from d3rlpy.constants import ActionSpace

from offline_rl.checkpoints import random_state, set_random_state
from offline_rl.replay import GoalConditionedReplayBuffer

_BATCH = 256


@contextmanager
def seeded(*seed: int) -> Iterator[np.random.Generator]:
    """A generator, and all global ones, by a seed of their own; afterwards they are as before."""
    saved, deterministic = random_state(), torch.backends.cudnn.deterministic
    sequence = np.random.SeedSequence(seed)
    d3rlpy.seed(int(sequence.generate_state(1)[0]))
    try:
        yield np.random.default_rng(sequence)
    finally:
        set_random_state(saved)
        torch.backends.cudnn.deterministic = deterministic


def fit_fqe(
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    steps: int,
    device: str,
    show: Callable[[int, int], None],
    seed: tuple[int, ...] = (0,),
) -> Any:
    """Fitted Q evaluation of the agent's policy (Le et al. 2019, arXiv 1903.08738), by d3rlpy.

    d3rlpy asks the agent's network for actions with batches that FQE's own scalers have
    transformed, so they have to be the agent's.

    Args:
        agent: d3rlpy algorithm.
        replay: of the split.
        steps: updates.
        device: to fit on.
        show: called with the updates done and `steps`, now and then.
        seed: of the networks and of what is drawn; nothing else decides the fit.
    """
    config = d3rlpy.ope.FQEConfig(
        gamma=agent.config.gamma,
        batch_size=_BATCH,
        observation_scaler=agent.config.observation_scaler,
        action_scaler=agent.config.action_scaler,
    )
    discrete = replay.dataset_info.action_space is ActionSpace.DISCRETE
    own = replay.rng
    with seeded(*seed) as rng:
        replay.rng = rng
        try:
            fqe = (d3rlpy.ope.DiscreteFQE if discrete else d3rlpy.ope.FQE)(
                agent, config, device=device
            )
            info = replay.dataset_info
            fqe.create_impl(info.observation_signature.shape[0], info.action_size)
            for step in range(1, steps + 1):
                fqe.update(replay.sample_transition_batch(config.batch_size))
                if step % 100 == 0 or step == steps:
                    show(step, steps)
        finally:
            replay.rng = own
    return fqe


def fit_several(
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    steps: int,
    device: str,
    show: Callable[[int, int], None],
    *,
    fits: int,
    seed: int,
) -> list[Any]:
    """Several fits, alike but for their seeds.

    Args:
        agent: d3rlpy algorithm.
        replay: of the split.
        steps: updates of each fit.
        device: to fit on.
        show: called with the updates done of all fits together.
        fits: how many.
        seed: of them all.
    """
    return [
        fit_fqe(
            agent,
            replay,
            steps,
            device,
            lambda step, _, before=number * steps: show(before + step, fits * steps),  # type: ignore[misc]
            (seed, number),
        )
        for number in range(fits)
    ]


def value_bounds(
    rewards: tuple[float, float], gamma: float, *, ends_on_success: bool
) -> tuple[float, float]:
    """The least and greatest discounted sum of rewards that a trajectory can have.

        any length T ≥ 1     Σ γ^t r_t,  r_t in [low, high]
        ends on success      as soon as a reward is `high`, of the two that there are

    Args:
        rewards: least and greatest of a transition.
        gamma: discount, in [0, 1].
        ends_on_success: a reward of `high` ends the trajectory, any other is `low`.
    """
    low, high = rewards

    def endless(reward: float) -> float:
        if gamma < 1:
            return reward / (1 - gamma)
        return math.copysign(math.inf, reward) if reward else 0.0

    # Of equal rewards the sum goes from the reward itself (T = 1) towards the endless one; so it
    # does with a single `high` at the end, which starts at `high`.
    most = high if ends_on_success else endless(high)
    return min(low, endless(low)), max(high, most, endless(low))
