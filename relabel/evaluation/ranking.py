"""The frames of one goal in the order of their scores: average precision, its curve, its draws.

    score     .9  .8  .7  .7  .6  .5  .4 | .3  .2  …     frames below the last true one
    true       1   0   1   0   0   1   1 |  0   0  …     change nothing, and are cut off

`precision_draws` gives `metrics.average_precision` under the weights of every draw, for many
frames: counts stay integers, and precision is taken at true frames alone. Beyond `MOST` frames it
weighs a sample of them, and says so by `is_sampled`; the value and the curve are always exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import Bools, Floats, GoalFrames, Ints

Doubles = NDArray[np.float64]

MOST: Final = 10_000  # true frames, and others, that intervals are computed from
RECALLS: Final = 101  # of a curve: 0, 0.01, … 1
_CELLS: Final = 1 << 23  # of weights held at once


@dataclass(frozen=True, eq=False)
class Ranking:
    """The frames of one goal, n of them; m of these are kept for draws."""

    precision: Doubles  # (P,) at the score of each true frame, highest first, ties together
    frames: int  # n
    label: Bools  # (m,) highest score first
    episode: Ints  # (m,) places of episodes
    last: Ints  # (m,) place of the last frame of the same score
    false_weight: float  # how many false frames one of the m stands for, by how many true ones
    is_sampled: bool  # the m are a sample

    @classmethod
    def of(cls, frames: GoalFrames, score: Floats | None = None, seed: int = 0) -> Ranking:
        """Ranks frames by their scores, or by others in their place.

        Args:
            frames: of one goal.
            score: (n,) in place of theirs.
            seed: of the sample, if there is one.
        """
        values = frames.score if score is None else score
        true = np.flatnonzero(frames.label)
        lowest = values[true].min() if len(true) else np.inf
        false = np.flatnonzero(~frames.label & (values >= lowest))
        rng = np.random.default_rng(seed)
        kept = [_some(true, rng), _some(false, rng)]
        rows = np.concatenate(kept)
        rows = rows[np.argsort(-values[rows], kind="stable")]
        ordered = values[rows]
        ends = np.flatnonzero(np.append(np.diff(ordered) != 0, [True] * (len(rows) > 0)))
        each = [len(all_) / max(len(own), 1) for all_, own in zip((true, false), kept, strict=True)]
        return cls(
            _precision(values[true], values[false]),
            len(values),
            frames.label[rows],
            frames.episode[rows],
            np.repeat(ends, np.diff(ends, prepend=-1)),
            each[1] / each[0] if each[0] and each[1] else 1.0,
            len(rows) < len(true) + len(false),
        )

    @property
    def positives(self) -> int:
        """P."""
        return len(self.precision)

    @property
    def base_rate(self) -> float:
        """Share of the frames that are true: with many, the average precision of a random score."""
        return self.positives / self.frames if self.frames else float("nan")

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

    def precision_draws(self, weights: NDArray[np.uint16]) -> Doubles:
        """(B,) average precision in every draw of episodes; NaN where none of them is true.

        Of a sample, moved by what the sample itself is off by.

        Args:
            weights: (B, E) from `metrics.episode_weights`.
        """
        if not self.positives:
            return np.full(len(weights), np.nan)
        found = self._draws(weights)
        if not self.is_sampled:
            return found
        off = self.average_precision - self._draws(np.ones((1, weights.shape[1]), np.uint16))
        return np.asarray(np.clip(found + off, 0, 1))

    def _draws(self, weights: NDArray[np.uint16]) -> Doubles:
        true = np.flatnonzero(self.label)
        last = self.last[true]
        hit = np.searchsorted(true, last, "right") - 1  # the last true frame of the same score
        size = max(1, _CELLS // len(self.label))
        found = []
        for start in range(0, len(weights), size):
            drawn = weights[start : start + size, self.episode]
            own = drawn[:, true]
            hits = np.cumsum(own, axis=1, dtype=np.int32)[:, hit]
            claimed = np.cumsum(drawn, axis=1, dtype=np.int32)[:, last]
            precision = hits / np.maximum(hits + self.false_weight * (claimed - hits), 1e-9)
            with np.errstate(invalid="ignore"):
                found.append((own * precision).sum(axis=1) / own.sum(axis=1))
        return np.concatenate([np.empty(0), *found])


def _some(rows: Ints, rng: np.random.Generator) -> Ints:
    return rows if len(rows) <= MOST else rng.choice(rows, MOST, replace=False, shuffle=False)


def _precision(true: Floats, false: Floats) -> Doubles:
    """(P,) of the scores of true frames, highest first, among those of false ones."""
    own, others = np.sort(-true), np.sort(-false)
    hits = np.searchsorted(own, own, "right")
    return np.asarray(hits / (hits + np.searchsorted(others, own, "right")), np.float64)
