"""Off-policy evaluation on the validation split, and the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import d3rlpy
import numpy as np
from d3rlpy.constants import ActionSpace
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import bootstrap

from offline_rl.replay import GoalConditionedReplayBuffer
from offline_rl.rollouts import EpisodeResult

_RESAMPLES: Final = 2000
_BLOCK: Final = 4096  # transitions per forward pass


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Model):
    """A mean with its bootstrap interval."""

    mean: float
    low: float  # 95 %
    high: float
    count: int


class GoalValues(_Model):
    """Off-policy figures of one goal."""

    goal: str
    trajectories: int
    initial_value: float | None  # of the agent's own critic, mean over first observations
    td_error: float | None  # mean squared, of the agent's own critic
    fqe_initial_value: float | None  # by fitted Q evaluation of the agent's policy


class Outcome(_Model):
    """Rollouts of one policy on one family, or on all goals."""

    policy: str
    family: str
    success: Interval
    true_return: Interval
    vlm_return: Interval | None


class EvaluationReport(_Model):
    """What `vlm-relabel evaluate` tells."""

    run: str
    step: int
    split: str
    values: tuple[GoalValues, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    behaviour: dict[str, Interval] = {}  # success of commanded episodes in the data, by family


def interval(values: Sequence[float] | NDArray[Any], seed: int = 0) -> Interval:
    """Mean with a 95 % percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13)."""
    array = np.asarray(values, np.float64)
    mean = float(array.mean()) if len(array) else float("nan")
    if len(array) < 2 or array.min() == array.max():
        return Interval(mean=mean, low=mean, high=mean, count=len(array))
    found = bootstrap(
        (array,),
        np.mean,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean=mean, low=float(found.low), high=float(found.high), count=len(array))


def outcomes(
    policy: str, results: Sequence[EpisodeResult], families: Mapping[str, str]
) -> list[Outcome]:
    """One row per family, then one for all goals.

    Args:
        policy: name shown.
        results: of the rollouts.
        families: family by goal id.
    """
    names = [*dict.fromkeys(families[result.goal] for result in results), "all"]
    return [_outcome(policy, name, _of_family(results, families, name)) for name in names]


def _of_family(
    results: Sequence[EpisodeResult], families: Mapping[str, str], name: str
) -> list[EpisodeResult]:
    return [r for r in results if name in ("all", families[r.goal])]


def _outcome(policy: str, family: str, results: Sequence[EpisodeResult]) -> Outcome:
    by_vlm = [r.vlm_return for r in results if r.vlm_return is not None]
    return Outcome(
        policy=policy,
        family=family,
        success=interval([float(r.success) for r in results]),
        true_return=interval([r.true_return for r in results]),
        vlm_return=interval(by_vlm) if by_vlm else None,
    )


def fit_fqe(
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    steps: int,
    device: str,
    show: Callable[[int, int], None],
) -> Any:
    """Fitted Q evaluation of the agent's policy (Le et al. 2019, arXiv 1903.08738), by d3rlpy.

    d3rlpy asks the agent's network for actions with batches that FQE's own scalers have
    transformed, so they have to be the agent's.
    """
    config = d3rlpy.ope.FQEConfig(
        gamma=agent.config.gamma,
        batch_size=256,
        observation_scaler=agent.config.observation_scaler,
        action_scaler=agent.config.action_scaler,
    )
    discrete = replay.dataset_info.action_space is ActionSpace.DISCRETE
    fqe = (d3rlpy.ope.DiscreteFQE if discrete else d3rlpy.ope.FQE)(agent, config, device=device)
    info = replay.dataset_info
    fqe.create_impl(info.observation_signature.shape[0], info.action_size)
    for step in range(1, steps + 1):
        fqe.update(replay.sample_transition_batch(config.batch_size))
        if step % 100 == 0 or step == steps:
            show(step, steps)
    return fqe


def goal_values(
    agent: Any,
    fqe: Any | None,
    replay: GoalConditionedReplayBuffer,
    goal_ids: Sequence[str],
    critic: bool,
) -> list[GoalValues]:
    """Initial values and TD errors per goal, over all trajectories of a replay buffer.

    Args:
        agent: d3rlpy algorithm.
        fqe: fitted on the same policy; None leaves its column out.
        replay: of the validation split.
        goal_ids: of the goal axis.
        critic: whether the agent has a Q function of its own.
    """
    initial = _initial_values(agent, replay) if critic else None
    errors = _td_errors(agent, replay) if critic else None
    fitted = _initial_values(fqe, replay, agent) if fqe is not None else None
    goal = replay.trajectories.goal
    transition_goal = np.repeat(goal, replay.trajectories.count)
    return [
        GoalValues(
            goal=goal_ids[g],
            trajectories=int((goal == g).sum()),
            initial_value=_mean(initial, goal == g),
            td_error=_mean(errors, transition_goal == g),
            fqe_initial_value=_mean(fitted, goal == g),
        )
        for g in np.unique(goal)
    ]


def _mean(values: NDArray[Any] | None, chosen: NDArray[np.bool_]) -> float | None:
    return None if values is None else float(values[chosen].mean())


def _initial_values(
    critic: Any, replay: GoalConditionedReplayBuffer, policy: Any = None
) -> NDArray[Any]:
    """(R,) value of the policy's action at each trajectory's first observation."""
    rows = np.arange(replay.size())
    parts = []
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        batch = replay.transition_batch(block, np.zeros_like(block))
        actions = (policy or critic).predict(batch.observations)
        parts.append(np.ravel(critic.predict_value(batch.observations, actions)))
    return np.concatenate(parts)


def _td_errors(agent: Any, replay: GoalConditionedReplayBuffer) -> NDArray[Any]:
    """(N,) squared temporal-difference errors, as d3rlpy's `TDErrorEvaluator`."""
    count = replay.trajectories.count
    row = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(row)) - np.repeat(replay.trajectories.offset, count)
    parts = []
    for start in range(0, len(row), _BLOCK):
        block = slice(start, start + _BLOCK)
        batch = replay.transition_batch(row[block], step[block])
        actions = batch.actions[:, 0] if agent_is_discrete(replay) else batch.actions
        values = np.ravel(agent.predict_value(batch.observations, actions))
        following = agent.predict(batch.next_observations)
        ahead = np.ravel(agent.predict_value(batch.next_observations, following))
        target = batch.rewards[:, 0] + agent.gamma * ahead * (1 - batch.terminals[:, 0])
        parts.append((values - target) ** 2)
    return np.concatenate(parts)


def agent_is_discrete(replay: GoalConditionedReplayBuffer) -> bool:
    """Whether actions are numbers of choices."""
    return replay.dataset_info.action_space is ActionSpace.DISCRETE
