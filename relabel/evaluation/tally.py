"""Labels counted: per fold, goal and bin of z, how many say yes and how many say no.

All that is fitted is fitted to these counts, so that 1,000 goals of a million labelled frames take
no more memory than the counts do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.distribution import BINS, Distribution
from relabel.evaluation.evidence import Evidence
from relabel.evaluation.folds import FITTED, Folds

Doubles = NDArray[np.float64]
Drawn = Literal["by-score", "by-answer"]

_STRATA: Final = 10  # of scores, at most
_PER_STRATUM: Final = 8  # labels, at least


@dataclass(frozen=True, eq=False)
class Tally:
    """Labels of G goals in B bins."""

    yes: Doubles  # (G, B)
    no: Doubles  # (G, B)

    @property
    def all(self) -> Doubles:
        """(G, B) labels of either kind."""
        return self.yes + self.no

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(G,) labels of each goal."""
        return np.asarray(self.all.sum(axis=1).round().astype(np.int64))

    @cached_property
    def positives(self) -> NDArray[np.int64]:
        """(G,) of these, those that say yes."""
        return np.asarray(self.yes.sum(axis=1).round().astype(np.int64))

    def weighed(self, weight: tuple[Doubles, Doubles]) -> Tally:
        """Each label as many times as it stands for.

        Args:
            weight: of those that say yes and of those that say no: (B,) or (G, 1).
        """
        return Tally(self.yes * weight[0], self.no * weight[1])


@dataclass(frozen=True, eq=False)
class Tallies:
    """Counts of labels, fold by fold."""

    counts: NDArray[np.int32]  # (1 + K, 2, G, B) of the frames that are not judged, then by fold

    @classmethod
    def of(cls, evidence: Evidence, folds: Folds, distribution: Distribution) -> Tallies:
        """Goes through the evidence once."""
        goals = len(evidence.goal_ids)
        counts = np.zeros((1 + folds.count, 2, goals, BINS), np.int32)
        for frames in evidence:
            places = distribution.bins(distribution.scale.z(frames.score, frames.goal))
            flat = ((folds.of(frames) - FITTED) * 2 + frames.label) * BINS + places
            own = np.bincount(flat, minlength=counts.shape[0] * 2 * BINS)
            counts[:, :, frames.goal] += own.reshape(-1, 2, BINS)
        return cls(counts)

    def within(self, folds: Sequence[int]) -> Tally:
        """The labels of some folds together."""
        chosen = self.counts[[fold - FITTED for fold in folds]].sum(axis=0, dtype=np.float64)
        return Tally(yes=chosen[1], no=chosen[0])


def weights(tally: Tally, distribution: Distribution) -> tuple[Doubles, Doubles]:
    """(1, B) twice: how many frames a label of a bin stands for, relative to the average label.

    Labels that were chosen by their scores are not spread as the frames are. Labels of all goals
    are cut into strata of scores, and those of a stratum stand for the frames of it: the
    post-stratified estimate (Särndal, Swensson and Wretman 1992, section 7.6). Only goals that have
    labels count.
    """
    known = tally.labels > 0
    labels = tally.all[known].sum(axis=0)
    frames = distribution.frames[known].sum(axis=0).astype(np.float64)
    stratum = _strata(labels)
    of_labels = np.bincount(stratum, labels)
    of_frames = np.bincount(stratum, frames, len(of_labels))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = of_frames / max(frames.sum(), 1) / (of_labels / max(labels.sum(), 1))
    found = np.where(of_labels > 0, share, 0.0)[stratum][None]
    return found, found


def _strata(labels: Doubles) -> NDArray[np.int64]:
    """(B,) the stratum of every bin; each has about equally many labels."""
    total = labels.sum()
    count = int(np.clip(total // _PER_STRATUM, 1, _STRATA))
    before = np.cumsum(labels) - labels / 2
    return np.asarray(np.clip(before * count / max(total, 1), 0, count - 1), np.int64)
