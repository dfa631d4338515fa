"""How well scores rank frames: average precision, its curve, and its draws for intervals.

Average precision is taken goal by goal, as scikit-learn has it, and averaged over the goals that
are true of some frame. Draws are of whole episodes, with replacement. Every encoder is measured on
the same episodes with the same draws, so that differences are paired.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.figures.domains import Domain, Trajectories
from examples.playroom.recipe import Estimate
from relabel.evaluation.evidence import GoalFrames
from relabel.evaluation.metrics import episode_weights, interval
from relabel.evaluation.ranking import Ranking

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]


def measured(
    domain: Domain,
    trajectories: Trajectories,
    scores: Floats,
    draws: int,
    parts: Iterable[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measures scores on parts of a domain.

    Args:
        domain: says which frames and goals are a part.
        trajectories: N frames.
        scores: (N, G), higher where the goal is likelier.
        draws: of the bootstrap over episodes.
        parts: by name; None: all.

    Returns:
        Part → `average_precision`, `base_rate`, `goals` (with a true frame), `frames`, `episodes`,
        `by_goal` (by id), `curve` (101 precisions at recalls 0 to 1), `draws`.
    """
    names = domain.parts if parts is None else parts
    return {name: _of_part(domain, trajectories, scores, draws, name) for name in names}


def _of_part(
    domain: Domain, trajectories: Trajectories, scores: Floats, draws: int, part: str
) -> dict[str, Any]:
    rows = domain.rows(domain.parts[part], trajectories)
    _, episode = np.unique(trajectories.episode[rows], return_inverse=True)
    weights = episode_weights(int(episode.max()) + 1, draws)
    rankings = {
        domain.goals.goals[goal].id: Ranking.of(
            _frames(domain, trajectories, scores, rows, episode, int(goal))
        )
        for goal in np.flatnonzero(domain.columns(domain.parts[part]))
    }
    known = {goal: ranking for goal, ranking in rankings.items() if ranking.positives}
    drawn = np.stack([ranking.precision_draws(weights) for ranking in known.values()])
    return {
        "average_precision": np.mean([ranking.average_precision for ranking in known.values()]),
        "base_rate": np.mean([ranking.base_rate for ranking in known.values()]),
        "goals": len(known),
        "frames": int(rows.sum()),
        "episodes": int(weights.shape[1]),
        "curve": np.mean([ranking.curve() for ranking in known.values()], axis=0).round(4),
        "draws": _mean_of_known(drawn).round(4),
        "by_goal": {goal: round(own.average_precision, 4) for goal, own in known.items()},
    }


def _frames(
    domain: Domain,
    trajectories: Trajectories,
    scores: Floats,
    rows: npt.NDArray[np.bool_],
    episode: npt.NDArray[np.int64],
    goal: int,
) -> GoalFrames:
    return GoalFrames(
        goal=goal,
        goal_id=domain.goals.goals[goal].id,
        family=domain.families[goal],
        episode=episode,
        step=trajectories.step[rows],
        score=scores[rows, goal].astype(np.float32),
        label=trajectories.truth[rows, goal].astype(bool),
    )


def _mean_of_known(drawn: Doubles) -> Doubles:
    """(B,) mean over goals of (K, B); a goal that is true of no drawn episode is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(drawn, axis=0))


# --- intervals over seeds and episodes ----------------------------------------------------------


def estimate(of_seeds: Sequence[Mapping[str, Any]], seed: int = 0) -> Estimate:
    """Mean over seeds, with an interval: seeds are drawn with replacement, then episodes.

    Args:
        of_seeds: what `measured` gave for one part, by seed.
        seed: of the draws of seeds.
    """
    value = float(np.mean([own["average_precision"] for own in of_seeds]))
    return Estimate(value, *interval(drawn(of_seeds, seed)))


def difference(more: Sequence[Mapping[str, Any]], less: Sequence[Mapping[str, Any]]) -> Estimate:
    """How much more the first reach than the second; episodes are paired, seeds are not."""
    value = float(
        np.mean([own["average_precision"] for own in more])
        - np.mean([own["average_precision"] for own in less])
    )
    return Estimate(value, *interval(drawn(more, 1) - drawn(less, 2)))


def drawn(of_seeds: Sequence[Mapping[str, Any]], seed: int) -> Doubles:
    """(B,) mean over drawn seeds of the average precision in every draw of episodes.

    An episode that is drawn twice raises the average precision of a goal that is true of few
    frames. So the draws of each seed are moved until their mean is the seed's average precision.
    """
    draws = np.array([own["draws"] for own in of_seeds], np.float64)  # (S, B)
    values = np.array([own["average_precision"] for own in of_seeds])
    draws += (values - draws.mean(axis=1))[:, None]
    rng = np.random.default_rng([seed, 11])
    rows = rng.integers(len(draws), size=draws.shape)
    return np.asarray(np.take_along_axis(draws, rows, axis=0).mean(axis=0))
