"""The frames of one goal in the order of their scores: average precision, its curve, its draws.

    score     .9  .8  .7  .7  .6  .5  .4 | .3  .2  …     frames below the last true one
    true       1   0   1   0   0   1   1 |  0   0  …     change nothing, and are cut off

`precision_draws` gives what `metrics.resampled` gives for `metrics.average_precision`, for many
frames: counts stay integers, and precision is taken at true frames alone. Beyond `MOST` frames it
weighs a sample of them, and says so by `is_sampled`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import Bools, Floats, GoalFrames, Ints

Doubles = NDArray[np.float64]

MOST: Final = 20_000  # true frames, and others, that intervals are computed from
RECALLS: Final = 101  # of a curve: 0, 0.01, … 1
_CELLS: Final = 1 << 23  # of weights held at once


@dataclass(frozen=True, eq=False)
class Ranking:
    """The m frames of one goal that are ranked at least as high as its last true one."""

    label: Bools  # (m,) highest score first
    episode: Ints  # (m,) places of episodes
    last: Ints  # (m,) place of the last frame of the same score
    frames: int  # n, with those that are cut off
    positives: int  # P

    @classmethod
    def of(cls, frames: GoalFrames, score: Floats | None = None) -> Ranking:
        """Ranks frames by their scores, or by others in their place."""
        values = frames.score if score is None else score
        order = np.argsort(-values, kind="stable")
        label = frames.label[order]
        ordered = values[order]
        stop = 0
        if label.any():
            lowest = ordered[np.flatnonzero(label)[-1]]
            stop = int(np.searchsorted(-ordered, -lowest, "right"))
        ends = np.flatnonzero(np.append(np.diff(ordered[:stop]) != 0, [True] * (stop > 0)))
        sizes = np.diff(ends, prepend=-1)
        return cls(
            label[:stop],
            frames.episode[order[:stop]],
            np.repeat(ends, sizes),
            len(values),
            int(label.sum()),
        )

    @property
    def base_rate(self) -> float:
        """Share of the frames that are true: what a random score's average precision comes to."""
        return self.positives / self.frames if self.frames else float("nan")

    @cached_property
    def _true(self) -> Ints:
        """(P,) places of the true frames."""
        return np.flatnonzero(self.label)

    @cached_property
    def precision(self) -> Doubles:
        """(P,) at the score of each true frame, ties together."""
        last = self.last[self._true]
        hits = np.cumsum(self.label)[last]
        return np.asarray(hits / (last + 1), np.float64)

    @property
    def average_precision(self) -> float:
        """As scikit-learn has it; NaN if no frame is true."""
        return float(self.precision.mean()) if self.positives else float("nan")

    def curve(self, recalls: int = RECALLS) -> Doubles:
        """(R,) precision at the highest score whose recall is at least 0, …, 1; NaN without truth.

        Its mean over recalls comes near to the average precision: the curve is that step function.
        """
        if not self.positives:
            return np.full(recalls, np.nan)
        wanted = np.linspace(0, 1, recalls) * self.positives
        place = np.clip(np.ceil(wanted - 1e-9).astype(np.int64) - 1, 0, self.positives - 1)
        return np.asarray(self.precision[place])

    @property
    def is_sampled(self) -> bool:
        """Whether draws weigh a sample of the frames."""
        return max(self.positives, len(self.label) - self.positives) > MOST

    def precision_draws(self, weights: NDArray[np.uint16], seed: int = 0) -> Doubles:
        """(B,) average precision in every draw of episodes; NaN where none of them is true.

        Args:
            weights: (B, E) from `metrics.episode_weights`.
            seed: of the sample, if there is one.
        """
        if not self.positives:
            return np.full(len(weights), np.nan)
        if self.is_sampled:
            return self._sampled_draws(weights, seed)
        return self._draws(weights, np.arange(len(self.label)), 1.0)

    def _sampled_draws(self, weights: NDArray[np.uint16], seed: int) -> Doubles:
        """Of a sample, moved by what the sample itself is off by."""
        rng = np.random.default_rng(seed)
        false = np.flatnonzero(~self.label)
        true, others = (
            np.sort(rng.choice(rows, MOST, replace=False)) if len(rows) > MOST else rows
            for rows in (self._true, false)
        )
        rows = np.sort(np.concatenate([true, others]))
        stands_for = (len(false) / len(others) if len(others) else 1.0) / (
            len(self._true) / len(true)
        )
        whole = np.ones((1, weights.shape[1]), np.uint16)
        off = self.average_precision - self._draws(whole, rows, stands_for)[0]
        return np.asarray(np.clip(self._draws(weights, rows, stands_for) + off, 0, 1))

    def _draws(self, weights: NDArray[np.uint16], rows: Ints, false_weight: float) -> Doubles:
        """(B,) of some of the frames, of which a false one counts `false_weight` times."""
        label, episode = self.label[rows], self.episode[rows]
        ends = np.searchsorted(rows, self.last[rows], "right") - 1
        true = np.flatnonzero(label)
        last = ends[true]
        hit = np.searchsorted(true, last, "right") - 1  # the last true frame of the same score
        size = max(1, _CELLS // len(rows))
        found = []
        for start in range(0, len(weights), size):
            drawn = weights[start : start + size, episode]
            own = drawn[:, true]
            hits = np.cumsum(own, axis=1, dtype=np.int32)[:, hit]
            claimed = np.cumsum(drawn, axis=1, dtype=np.int32)[:, last]
            precision = hits / np.maximum(hits + false_weight * (claimed - hits), 1e-9)
            with np.errstate(invalid="ignore"):
                found.append((own * precision).sum(axis=1) / own.sum(axis=1))
        return np.concatenate([np.empty(0), *found])
