"""How well scores tell what is true: ranking, thresholds, probabilities, and their intervals.

Frames of one episode are alike, so intervals come from episodes drawn with replacement, all frames
of one together (the cluster bootstrap: Field and Welsh 2007, J. R. Stat. Soc. B 69).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from relabel.evaluation.evidence import Bools, Floats

Doubles = NDArray[np.float64]

DRAWS: Final = 200  # of episodes, for an interval


@dataclass(frozen=True, eq=False)
class Sweep:
    """What each of K thresholds gives, thresholds rising; the first claims every frame."""

    threshold: Floats  # (K,) beta: a frame is claimed if its score is above
    claimed: NDArray[np.int64]  # (K,) frames
    precision: Doubles  # (K,) of the claimed frames, those that are true; 1 where none is claimed
    recall: Doubles  # (K,) of the true frames, those that are claimed; NaN without any
    f1: Doubles  # (K,) harmonic mean of both; 0 where both are

    @property
    def best(self) -> int:
        """The place of the best F1; of equals, the highest threshold."""
        return int(len(self.f1) - 1 - np.argmax(np.nan_to_num(self.f1)[::-1]))


def average_precision(
    label: Bools, score: NDArray[np.floating], weight: ArrayLike | None = None
) -> float:
    """Area under precision and recall as a sum of steps, ties together; as scikit-learn has it.

    Args:
        label: (n,) whether a frame is true.
        score: (n,) finite.
        weight: (n,) of each frame; None: 1.

    Returns:
        Between 0 and 1; NaN if no frame is true.
    """
    weights = np.ones(len(label)) if weight is None else np.asarray(weight, np.float64)
    return float(average_precisions(label, score, weights[None])[0])


def average_precisions(label: Bools, score: NDArray[np.floating], weights: Doubles) -> Doubles:
    """(B,) `average_precision` under each of (B, n) weights."""
    if not len(label):
        return np.full(len(weights), np.nan)
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    own = weights[:, order]
    claimed = np.cumsum(own, axis=1)[:, ends]
    hits = np.cumsum(own * label[order], axis=1)[:, ends]
    precision = np.divide(hits, claimed, out=np.zeros_like(hits), where=claimed > 0)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.diff(hits, axis=1, prepend=0) * precision).sum(axis=1) / hits[:, -1])


def sweep(label: Bools, score: Floats) -> Sweep:
    """Precision and recall at every threshold that makes a difference.

    A threshold lies midway between two neighbouring scores, so that it holds for frames that were
    not looked at as well.

    Args:
        label: (n,).
        score: (n,) float32, finite.
    """
    values, inverse = np.unique(np.asarray(score, np.float32), return_inverse=True)
    count = np.bincount(inverse, minlength=len(values))
    true = np.bincount(inverse, weights=label, minlength=len(values))
    claimed = np.append(np.cumsum(count[::-1])[::-1], 0)  # above: all, all but the lowest, …, none
    hits = np.append(np.cumsum(true[::-1])[::-1], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(claimed > 0, hits / claimed, 1.0)
        recall = hits / hits[0]
        f1 = np.nan_to_num(2 * hits / (claimed + hits[0]))
    return Sweep(_between(values), claimed, precision, recall, f1)


def _between(values: Floats) -> Floats:
    """(K,) thresholds that cut rising values below the first, between each two, above the last."""
    if not len(values):
        return np.zeros(1, np.float32)
    middle = (values[:-1].astype(np.float64) + values[1:]) / 2
    rounded = middle.astype(np.float32)
    inner = np.where((rounded >= values[:-1]) & (rounded < values[1:]), rounded, values[:-1])
    first = np.nextafter(values[:1], np.float32(-np.inf))
    return np.concatenate([first, inner, values[-1:]]).astype(np.float32)


def brier(
    label: Bools, probability: NDArray[np.floating], weight: ArrayLike | None = None
) -> float:
    """Mean squared difference of probability and truth (Brier 1950); NaN without frames."""
    if not len(label):
        return float("nan")
    errors = (np.asarray(probability, np.float64) - label) ** 2
    return float(np.average(errors, weights=None if weight is None else np.asarray(weight)))


def calibration_error(
    label: Bools,
    probability: NDArray[np.floating],
    bins: int = 15,
    weight: ArrayLike | None = None,
) -> float:
    """Expected calibration error with bins of equal width (Guo et al. 2017, arXiv 1706.04599).

    Args:
        label: (n,).
        probability: (n,) between 0 and 1.
        bins: number of bins; a probability on a border belongs to the upper one, 1 to the last.
        weight: (n,) of each frame; None: 1.

    Returns:
        Mean over frames of |mean probability - share of true frames| of their bin; NaN without
        frames.
    """
    if not len(label):
        return float("nan")
    weights = np.ones(len(label)) if weight is None else np.asarray(weight, np.float64)
    values = np.asarray(probability, np.float64)
    place = np.clip((values * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(place, weights * (values - label), minlength=bins)
    return float(np.abs(gaps).sum() / weights.sum())


# --- intervals --------------------------------------------------------------------------------


def episode_weights(episodes: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.uint16]:
    """(draws, episodes) how often each episode is drawn, with replacement.

    All goals and reward sets share the draws, so that differences between them are paired.

    Args:
        episodes: E, of the whole store.
        draws: B.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    even = np.full(max(episodes, 1), 1 / max(episodes, 1))
    return rng.multinomial(episodes, even, size=draws).astype(np.uint16)[:, :episodes]


def centred(values: ArrayLike, draws: Doubles, ends: tuple[float, float] = (0, 1)) -> Doubles:
    """(B, …) draws of an average precision, moved so that their mean is the value, then cut.

    A draw holds some episodes more than once, and a frame beside its copy looks better ranked than
    it is: average precision is higher in draws than in the data, the more so the fewer frames are
    true.

    Args:
        values: (…) of the data.
        draws: (B, …); NaN where a draw has none.
        ends: the range that draws are cut to.
    """
    there = np.isfinite(draws)
    total = np.where(there, draws, 0).sum(axis=0)
    return np.asarray(
        np.clip(draws + (np.asarray(values) - total / np.maximum(there.sum(axis=0), 1)), *ends)
    )


def mean_of_draws(draws: Doubles, values: Doubles, ends: tuple[float, float] = (0, 1)) -> Doubles:
    """(B,) means over goals of (B, G) draws, moved so that their mean is that of the (G,) values.

    A goal that is true of few episodes has no value in many draws, and is often among the worst:
    the others' mean is higher. NaN where no goal has a value.
    """
    there = np.isfinite(draws)
    with np.errstate(invalid="ignore"):
        means = np.where(there, draws, 0).sum(axis=1) / there.sum(axis=1)
    return centred(values.mean(), means, ends)


def interval(values: Doubles, level: float = 0.95) -> tuple[float, float]:
    """The middle share `level` of (B,) values of draws, NaN left out; (NaN, NaN) without any."""
    known = np.asarray(values)[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
