"""How often each goal of a reward set is reached, kept in the footers of its slices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import fields
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import Array, matrix

_READ_VALUES: Final = 1 << 19  # at once


@dataclass
class RewardCounts:
    """Figures of some frames, goal by goal."""

    transitions: int  # whose reward is known for every goal
    rewarded: NDArray[np.int64]  # (G,) of these, with a reward above 0
    best: NDArray[np.float32]  # (G,) highest score of a frame; -inf: none

    @classmethod
    def none(cls, goals: int) -> RewardCounts:
        """Of no frame."""
        return cls(0, np.zeros(goals, np.int64), np.full(goals, -np.inf, np.float32))

    def add(self, scores: Array | None, rewards: Array) -> None:
        """Counts some more frames.

        Args:
            scores: (n, G), NaN where there is none; None: not known.
            rewards: (n, G), NaN where there is none.
        """
        missing = np.asarray(np.isnan(rewards).any(axis=1))
        self.transitions += len(rewards) - int(missing.sum())
        self.rewarded += ((rewards > 0) & ~missing[:, None]).sum(axis=0)
        if scores is not None:
            self.best = np.fmax(self.best, np.fmax.reduce(scores, axis=0, initial=-np.inf))

    def merge(self, other: RewardCounts) -> None:
        """Counts the frames of another."""
        self.transitions += other.transitions
        self.rewarded += other.rewarded
        self.best = np.maximum(self.best, other.best)

    def metadata(self) -> dict[bytes, bytes]:
        """As a footer holds it."""
        content = {
            "transitions": self.transitions,
            "rewarded": self.rewarded.tolist(),
            "best": [float(best) if np.isfinite(best) else None for best in self.best],
        }
        return {fields.COUNTS: json.dumps(content, separators=(",", ":")).encode()}


def read_counts(store: Store, manifest: RewardManifest) -> RewardCounts:
    """Figures of a whole reward set, from its footers alone where they hold them.

    Raises:
        StoreError: a slice is missing or damaged.
    """
    total = RewardCounts.none(manifest.goals)
    for piece in store.slices:
        total.merge(_counts_of(store, manifest, piece))
    return total


def _counts_of(store: Store, manifest: RewardManifest, piece: Slice) -> RewardCounts:
    counts = RewardCounts.none(manifest.goals)
    stored = store.metadata(manifest.table, piece).get(fields.COUNTS)
    if stored is not None:
        content = json.loads(stored)
        best = [-np.inf if value is None else value for value in content["best"]]
        return RewardCounts(
            content["transitions"],
            np.array(content["rewarded"], np.int64),
            np.array(best, np.float32),
        )
    rows = max(1, _READ_VALUES // manifest.goals)  # written before there were counts
    for batch in store.batches(manifest.table, piece, rows=rows):
        scores = matrix(batch.column(fields.SCORE)) if manifest.scores else None
        counts.add(scores, matrix(batch.column(fields.REWARD)))
    return counts
