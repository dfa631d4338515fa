"""Measures rewards against the truth: average precision per goal, per family and overall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score


@dataclass(frozen=True)
class FamilyResult:
    """How well the scores of a family's goals rank the frames."""

    family: str
    average_precision: float  # mean over the goals with at least one positive; NaN if there is none
    base_rate: float  # share of positives over the same goals: the score of a blind guess
    goals: int  # goals with at least one positive
    silent_goals: int  # goals without a positive: they have no average precision
    positives: int  # positive frames, summed over goals


@dataclass(frozen=True)
class Result:
    """Average precision per family and over all goals."""

    families: tuple[FamilyResult, ...]
    macro_average_precision: float  # mean over all goals with at least one positive
    base_rate: float
    frames: int


def average_precisions(
    truth: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Returns the average precision per goal, ``(G,) float64``; NaN for a goal without a positive.

    Args:
        truth: which goals hold, ``(N, G)``, 0 or 1.
        scores: any score that is higher where the goal is likelier, ``(N, G)``, finite.

    Raises:
        ValueError: shapes differ, or a score is not finite.

    >>> average_precisions(np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.1], [0.2, 0.3]]))
    array([ 1., nan])
    """
    if truth.shape != scores.shape or truth.ndim != 2:
        raise ValueError(f"truth {truth.shape} and scores {scores.shape}: expected equal (N, G)")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are not finite")
    columns = range(truth.shape[1])
    return np.array([_average_precision(truth[:, goal], scores[:, goal]) for goal in columns])


def _average_precision(truth: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating]) -> float:
    return float(average_precision_score(truth, scores)) if truth.any() else float("nan")


def evaluate(
    truth: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating], families: Sequence[str]
) -> Result:
    """Measures scores against the truth, per family and overall.

    Args:
        truth: which goals hold, ``(N, G)``, 0 or 1.
        scores: any score that is higher where the goal is likelier, ``(N, G)``.
        families: the family of every goal, length G.

    Returns:
        Families in the order in which they first appear.
    """
    precisions, names = average_precisions(truth, scores), np.array(families)
    if len(names) != truth.shape[1]:
        raise ValueError(f"{len(names)} families for {truth.shape[1]} goals")
    per_family = tuple(
        _family(family, truth[:, names == family], precisions[names == family])
        for family in dict.fromkeys(families)
    )
    known = ~np.isnan(precisions)
    return Result(per_family, _mean(precisions[known]), _mean(truth[:, known]), len(truth))


def _family(
    family: str, truth: npt.NDArray[np.uint8], precisions: npt.NDArray[np.float64]
) -> FamilyResult:
    known = ~np.isnan(precisions)
    return FamilyResult(
        family=family,
        average_precision=_mean(precisions[known]),
        base_rate=_mean(truth[:, known]),
        goals=int(known.sum()),
        silent_goals=int((~known).sum()),
        positives=int(truth.sum()),
    )


def _mean(values: npt.NDArray[Any]) -> float:
    return float(np.mean(values)) if values.size else float("nan")
