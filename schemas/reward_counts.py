"""How often each goal of a reward set is reached, kept in the footers of its slices."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas import fields
from schemas.goal_datasets import IndexOptions
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import Array, matrix

_READ_VALUES: Final = 1 << 19  # at once
# What `build-goals` takes for a success unless told otherwise.
SUCCESS_ABOVE: Final = float(IndexOptions.model_fields["success_above"].default)


@dataclass
class RewardCounts:
    """Figures of some frames, goal by goal; more of scores where rewards are not 0 or 1."""

    transitions: int  # whose reward is known for every goal
    rewarded: NDArray[np.int64]  # (G,) of these, with a reward above 0
    best: NDArray[np.float32]  # (G,) highest score of a frame; -inf: none
    dense: bool = False  # whether the following are counted
    frames: int = 0  # whose score is known for every goal
    above: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    # (G,) of these, with a score above SUCCESS_ABOVE
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # (G,) their sum
    lowest: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))  # (G,)

    @classmethod
    def none(cls, goals: int, *, dense: bool = False) -> RewardCounts:
        """Of no frame."""
        own = goals if dense else 0
        return cls(
            transitions=0,
            rewarded=np.zeros(goals, np.int64),
            best=np.full(goals, -np.inf, np.float32),
            dense=dense,
            above=np.zeros(own, np.int64),
            total=np.zeros(own),
            lowest=np.full(own, np.inf, np.float32),
        )

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
            if self.dense:
                self._add_scores(scores)

    def _add_scores(self, scores: Array) -> None:
        known = ~np.isnan(scores).any(axis=1)
        own = scores if known.all() else scores[known]
        self.frames += len(own)
        self.above += (own > SUCCESS_ABOVE).sum(axis=0)
        self.total += own.sum(axis=0, dtype=np.float64)
        self.lowest = np.minimum(self.lowest, own.min(axis=0, initial=np.inf))

    def merge(self, other: RewardCounts) -> None:
        """Counts the frames of another."""
        self.transitions += other.transitions
        self.rewarded += other.rewarded
        self.best = np.maximum(self.best, other.best)
        self.frames += other.frames
        self.above += other.above
        self.total += other.total
        self.lowest = np.minimum(self.lowest, other.lowest)

    def metadata(self) -> dict[bytes, bytes]:
        """As a footer holds it."""
        content: dict[str, Any] = {
            "transitions": self.transitions,
            "rewarded": self.rewarded.tolist(),
            "best": _finite(self.best),
        }
        if self.dense:
            content["frames"] = self.frames
            content["above"] = self.above.tolist()
            content["total"] = self.total.tolist()
            content["lowest"] = _finite(self.lowest)
        return {fields.COUNTS: json.dumps(content, separators=(",", ":")).encode()}

    @classmethod
    def parse(cls, stored: bytes, goals: int, *, dense: bool) -> RewardCounts | None:
        """What a footer holds; None if it was written before all of these were counted."""
        content = json.loads(stored)
        if dense and "frames" not in content:
            return None
        counts = cls.none(goals, dense=dense)
        counts.transitions = content["transitions"]
        counts.rewarded = np.array(content["rewarded"], np.int64)
        counts.best = _array(content["best"], -np.inf)
        if dense:
            counts.frames = content["frames"]
            counts.above = np.array(content["above"], np.int64)
            counts.total = np.array(content["total"], np.float64)
            counts.lowest = _array(content["lowest"], np.inf)
        return counts


def _finite(values: NDArray[np.float32]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _array(values: list[float | None], missing: float) -> NDArray[np.float32]:
    return np.array([missing if value is None else value for value in values], np.float32)


def read_counts(store: Store, manifest: RewardManifest) -> RewardCounts:
    """Figures of a whole reward set, from its footers alone where they hold them.

    Raises:
        StoreError: a slice is missing or damaged.
    """
    total = RewardCounts.none(manifest.goals, dense=not manifest.binary)
    for piece in store.slices:
        total.merge(_counts_of(store, manifest, piece))
    return total


def _counts_of(store: Store, manifest: RewardManifest, piece: Slice) -> RewardCounts:
    dense = not manifest.binary
    stored = store.metadata(manifest.table, piece).get(fields.COUNTS)
    found = None if stored is None else RewardCounts.parse(stored, manifest.goals, dense=dense)
    if found is not None:
        return found
    counts = RewardCounts.none(manifest.goals, dense=dense)
    rows = max(1, _READ_VALUES // manifest.goals)
    for batch in store.batches(manifest.table, piece, rows=rows):
        scores = matrix(batch.column(fields.SCORE)) if manifest.scores else None
        counts.add(scores, matrix(batch.column(fields.REWARD)))
    return counts
