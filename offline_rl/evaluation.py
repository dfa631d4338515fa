"""Off-policy evaluation on the validation split, and the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from d3rlpy.constants import ActionSpace
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import binomtest, bootstrap

from offline_rl.fqe import seeded
from offline_rl.replay import GoalConditionedReplayBuffer
from offline_rl.rollouts import EpisodeResult

_RESAMPLES: Final = 2000
_BLOCK: Final = 4096  # transitions per forward pass
FEW: Final = 10  # trajectories of a goal below which its figures say nothing
_LISTED: Final = 5  # goals in a note
EVALUATIONS: Final = "evaluations"  # folder of a run


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Model):
    """A mean with its interval: of a share Wilson's, of any other mean a bootstrap."""

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
    fqe_initial_value: float | None  # by fitted Q evaluation of the agent's policy, mean of fits
    fqe_fits: tuple[float, ...] = ()  # the same by each fit


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
    options: dict[str, Any] = {}  # that the figures depend on
    versions: dict[str, str] = {}  # of this package and of what computed the figures
    notes: tuple[str, ...] = ()  # why some of them are not to be believed
    saved: str = ""  # file of the run that holds this report
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


def share(values: Sequence[float] | NDArray[Any]) -> Interval:
    """Share of successes (0 or 1) with Wilson's 95 % interval (Wilson 1927).

    Ten of ten are no proof of always: a bootstrap would say [1, 1], this says [0.72, 1].
    """
    count, successes = len(values), int(np.sum(values))
    if not count:
        return Interval(mean=float("nan"), low=float("nan"), high=float("nan"), count=0)
    found = binomtest(successes, count).proportion_ci(method="wilson")
    low, high = float(found.low), float(found.high)
    return Interval(mean=successes / count, low=low, high=high, count=count)


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
        success=share([float(r.success) for r in results]),
        true_return=interval([r.true_return for r in results]),
        vlm_return=interval(by_vlm) if by_vlm else None,
    )


def goal_values(
    agent: Any,
    fits: Sequence[Any],
    replay: GoalConditionedReplayBuffer,
    goal_ids: Sequence[str],
    critic: bool,
    seed: int = 0,
) -> list[GoalValues]:
    """Initial values and TD errors per goal, over all trajectories of a replay buffer.

    Args:
        agent: d3rlpy algorithm.
        fits: by FQE, of the same policy; [] leaves its column out.
        replay: of the validation split.
        goal_ids: of the goal axis.
        critic: whether the agent has a Q function of its own.
        seed: of a policy that draws its actions.
    """
    with seeded(seed):
        initial = _initial_values(agent, replay) if critic else None
        errors = _td_errors(agent, replay) if critic else None
        fitted = [_initial_values(fit, replay, agent) for fit in fits]
    goal = replay.trajectories.goal
    transition_goal = np.repeat(goal, replay.trajectories.count)
    found = []
    for g in np.unique(goal):
        by_fit = tuple(float(values[goal == g].mean()) for values in fitted)
        found.append(
            GoalValues(
                goal=goal_ids[g],
                trajectories=int((goal == g).sum()),
                initial_value=_mean(initial, goal == g),
                td_error=_mean(errors, transition_goal == g),
                fqe_initial_value=float(np.mean(by_fit)) if by_fit else None,
                fqe_fits=by_fit,
            )
        )
    return found


def doubts(
    values: Sequence[GoalValues], bounds: tuple[float, float], split: str, slack: float
) -> list[str]:
    """What makes off-policy figures unbelievable: too few trajectories, impossible values.

    Args:
        values: by goal.
        bounds: least and greatest value that the rewards allow.
        split: name of the split.
        slack: how far outside a value may be without a word.
    """
    few = [v.goal for v in values if v.trajectories < FEW]
    notes = []
    if few:
        notes.append(
            f"{split} split: fewer than {FEW} trajectories for {len(few)} of {len(values)} goals "
            f"({_some(few)}): too few to say anything about these goals"
        )
    own = [v.goal for v in values if not _within(v.initial_value, bounds, slack)]
    by_fqe = [v.goal for v in values if not all(_within(f, bounds, slack) for f in v.fqe_fits)]
    for what, goals, cause in (
        ("initial value", own, "the agent's critic is wrong there"),
        ("FQE initial value", by_fqe, "the fits are wrong there; more --fqe-steps may help"),
    ):
        if goals:
            notes.append(
                f"{what} of {len(goals)} of {len(values)} goals ({_some(goals)}) lies outside of "
                f"[{bounds[0]:.4g}, {bounds[1]:.4g}], which is all that the rewards allow: {cause}"
            )
    return notes


def _within(value: float | None, bounds: tuple[float, float], slack: float) -> bool:
    return value is None or bounds[0] - slack <= value <= bounds[1] + slack


def _some(goals: Sequence[str]) -> str:
    return ", ".join(goals[:_LISTED]) + (", …" if len(goals) > _LISTED else "")


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
    step = replay.trajectories.within
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


def save_report(report: EvaluationReport, run: Path) -> EvaluationReport:
    """Keeps a report in its run, in a file that no other evaluation has.

    Args:
        report: of the evaluation.
        run: its folder.

    Returns:
        The report with the name of its file.
    """
    folder = run / EVALUATIONS
    folder.mkdir(exist_ok=True)
    number = 1
    while True:
        path = folder / f"step-{report.step:08d}-{report.split}-{number}.json"
        saved = report.model_copy(update={"saved": str(path)})
        try:
            with path.open("x") as stream:  # fails where another evaluation was faster
                stream.write(saved.model_dump_json(indent=1) + "\n")
        except FileExistsError:
            number += 1
        else:
            return saved
