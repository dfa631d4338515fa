"""What is known to be true of each goal of a reward set, beside its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import Evidence, GoalFrames
from relabel.evaluation.metrics import (
    centred,
    episode_weights,
    interval,
    mean_of_draws,
    sweep,
)
from relabel.evaluation.ranking import Ranking
from vlm_relabel.pages.examples import Frames, known_examples
from vlm_relabel.pages.grids import Grid

Ints = NDArray[np.int64]

_POINTS: Final = 200  # of a curve


@dataclass(frozen=True, eq=False)
class GoalMeasure:
    """One goal."""

    known: int  # frames whose truth is known
    true: int  # of these
    precision: float  # average precision; NaN: no frame is true
    interval: tuple[float, float]  # 95 % of it; NaN: not computed
    true_above: Ints  # (K,) true frames above each threshold
    false_above: Ints  # (K,)
    own: tuple[int, int] | None  # true and false frames above the goal's own threshold
    histogram: Ints  # (2, BINS) of frames that are not true, and that are
    curve: NDArray[np.float64]  # (n, 2) recall, rising, and the best precision that it is had with
    examples: dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class SetMeasure:
    """All goals of a reward set."""

    goals: tuple[GoalMeasure, ...]
    precision: float  # mean over the goals with a true frame
    interval: tuple[float, float]
    notes: tuple[str, ...]
    source: dict[str, Any]  # where the truth comes from


def measure(
    evidence: Evidence, grid: Grid, thresholds: Sequence[float | None], most: int
) -> SetMeasure:
    """Holds the scores of a reward set against what is known.

    Args:
        evidence: of the set.
        grid: thresholds to count at.
        thresholds: G, of the goals; None: it has none.
        most: examples of a kind.
    """
    weights = episode_weights(len(evidence.episode_ids))
    per_episode = 1 + (most - 1) // max(1, len(evidence.episode_ids))
    goals, draws, sampled = [], [], 0
    for frames in evidence:
        ranking = Ranking.of(frames)
        precision = ranking.average_precision
        drawn = centred(np.array(precision), ranking.precision_draws(weights))
        if ranking.positives:
            draws.append(drawn)
        sampled += ranking.is_sampled
        threshold = thresholds[frames.goal]
        goals.append(_goal(frames, grid, threshold, precision, interval(drawn), most, per_episode))
    notes = evidence.notes
    if sampled:
        notes = (*notes, f"Intervals of {sampled} goals come from a sample of their frames.")
    known = np.array([goal.precision for goal in goals if np.isfinite(goal.precision)])
    mean, whole = float("nan"), (float("nan"), float("nan"))
    if len(known):
        mean, whole = float(known.mean()), interval(mean_of_draws(np.stack(draws, axis=-1), known))
    return SetMeasure(tuple(goals), mean, whole, notes, evidence.source)


def _curve(frames: GoalFrames) -> NDArray[np.float64]:
    """(n, 2) precision over recall, at most `_POINTS` of its points; none without a true frame."""
    if not frames.label.any():
        return np.zeros((0, 2))
    swept = sweep(frames.label, frames.score)
    some = swept.claimed > 0
    recall, place = np.unique(swept.recall[some], return_inverse=True)
    precision = np.zeros(len(recall))
    np.maximum.at(precision, place, swept.precision[some])
    if len(recall) > _POINTS:
        kept = np.unique(np.linspace(0, len(recall) - 1, _POINTS).astype(int))
        recall, precision = recall[kept], precision[kept]
    if recall[0] > 0:  # as the highest score has it
        recall, precision = np.append(0.0, recall), np.append(precision[0], precision)
    return np.stack([recall, precision], axis=1)


def _goal(
    frames: GoalFrames,
    grid: Grid,
    threshold: float | None,
    precision: float,
    between: tuple[float, float],
    most: int,
    per_episode: int,
) -> GoalMeasure:
    tally = grid.tally(2)
    for row, own in enumerate((~frames.label, frames.label)):
        pair = np.full((int(own.sum()), 2), np.nan, np.float32)
        pair[:, row] = frames.score[own]
        tally.add(pair)
    above = None
    if threshold is not None:
        claimed = frames.score > np.float32(threshold)
        above = (int((claimed & frames.label).sum()), int((claimed & ~frames.label).sum()))
    columns = (frames.episode, frames.step, frames.score, frames.label)
    return GoalMeasure(
        known=len(frames),
        true=int(frames.label.sum()),
        precision=precision,
        interval=between,
        true_above=tally.claimed[1],
        false_above=tally.claimed[0],
        own=above,
        histogram=tally.histogram,
        curve=_curve(frames),
        examples=known_examples(Frames(*columns), threshold, most, per_episode),
    )
