"""How many scores lie above each of some thresholds, goal by goal, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.rewards.base import PROBABILITIES

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

BINS: Final = 40  # of a histogram
_EVEN: Final = 101  # thresholds at equal distances
_QUANTILES: Final = 100  # thresholds at shares of the scores
_OWN: Final = 64  # thresholds of goals themselves, at most
_DIGITS: Final = 6  # of a threshold, so that what is shown is what was counted


@dataclass(frozen=True, eq=False)
class Grid:
    """Thresholds that a slider stops at, and the bins of histograms; of one reward set."""

    thresholds: Floats  # (K,) rising
    low: float  # of the histogram
    high: float

    @classmethod
    def of(
        cls, sample: Floats, score_range: tuple[float, float], own: Sequence[float] = ()
    ) -> Grid:
        """A grid that fits some scores.

        Args:
            sample: (n,) finite scores.
            score_range: of the reward function; probabilities are shown from 0 to 1.
            own: thresholds of goals, some of which the slider stops at.
        """
        if tuple(score_range) == PROBABILITIES or not len(sample):
            low, high = score_range
        else:
            low, high = float(sample.min()), float(sample.max())
        if not low < high:
            low, high = low - 0.5, low + 0.5
        stops = [*np.linspace(low, high, _EVEN), *sorted(set(own))[:_OWN]]
        if len(sample):
            even = np.linspace(0, 1, _QUANTILES // 2)
            top = 1 - 10.0 ** np.linspace(-4, 0, _QUANTILES // 2)  # where most claims are decided
            stops += np.quantile(sample, np.append(even, top)).tolist()
            stops.append(np.ceil(float(sample.max()) * 10**_DIGITS) / 10**_DIGITS)
        rounded = np.unique(np.round(np.asarray(stops, np.float64), _DIGITS).astype(np.float32))
        return cls(rounded, low, high)

    def tally(self, goals: int) -> ScoreCounts:
        """Counts of no score."""
        shape = (goals, len(self.thresholds) + 1)
        return ScoreCounts(self, np.zeros(shape, np.int64), np.zeros((goals, BINS), np.int64))


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """Counts of the scores of G goals."""

    grid: Grid
    between: Ints  # (G, K + 1) scores with so many thresholds below them
    histogram: Ints  # (G, BINS)

    def add(self, scores: Floats) -> None:
        """Counts some more scores.

        Args:
            scores: (n, G), NaN where there is none.
        """
        known = np.isfinite(scores)
        goals = len(self.between)
        goal = np.broadcast_to(np.arange(goals), scores.shape)[known]
        values = scores[known]
        self._count(self.between, goal, np.searchsorted(self.grid.thresholds, values, "left"))
        width = self.grid.high - self.grid.low
        bins = ((values.astype(np.float64) - self.grid.low) / width * BINS).astype(np.int64)
        self._count(self.histogram, goal, np.clip(bins, 0, BINS - 1))

    @staticmethod
    def _count(out: Ints, goal: Ints, place: Ints) -> None:
        flat = np.bincount(goal * out.shape[1] + place, minlength=out.size)
        out += flat.reshape(out.shape)

    @property
    def claimed(self) -> Ints:
        """(G, K) scores above each threshold."""
        return np.asarray(np.cumsum(self.between[:, ::-1], axis=1)[:, ::-1][:, 1:])

    @property
    def count(self) -> Ints:
        """(G,) scores."""
        return np.asarray(self.between.sum(axis=1))
