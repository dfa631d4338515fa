"""How often each goal of a reward set is reached, kept in the footers of its slices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from schemas import fields
from schemas.footers import Count, read_figures, read_summary
from schemas.goal_datasets import DatasetOptions
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import Array, matrix

_READ_VALUES: Final = 1 << 19  # at once
# What `build-goals` takes for a success unless told otherwise.
SUCCESS_ABOVE: Final = float(DatasetOptions.model_fields["success_above"].default)
_LARGEST: Final = float(np.finfo(np.float32).max)
_Score = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]


class _Stored(BaseModel):
    """The figures of one slice as a footer holds them; a null: no frame has a score."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    transitions: Count
    rewarded: list[Count]
    best: list[_Score | None]
    # The others are of rewards that are not 0 or 1; footers of earlier versions lack them.
    frames: Count | None = None
    above: list[Count] = []
    total: list[_Score] = []
    lowest: list[_Score | None] = []

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> _Stored:
        """Holds the figures against the goals and the rows of the slice."""
        context: Any = info.context
        goals, rows = context["goals"], context["rows"]
        names = ["rewarded", "best"]
        names += [] if self.frames is None else ["above", "total", "lowest"]
        for name in names:
            if (found := len(getattr(self, name))) != goals:
                raise ValueError(f"{name}: expected {goals} values, one per goal, got {found}")
        frames = 0 if self.frames is None else self.frames
        if max(self.transitions, frames) > rows:
            raise ValueError(f"expected at most {rows} frames, as many as there are rows")
        if max(self.rewarded, default=0) > self.transitions or max(self.above, default=0) > frames:
            raise ValueError("more frames of a goal than frames")
        return self


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

    @classmethod
    def of_text(cls, manifest: RewardManifest, text: str) -> RewardCounts | None:
        """What a writer told of a slice, as JSON; None if it does not hold all of the figures."""
        context = {"goals": manifest.goals, "rows": 2**53}
        stored = _Stored.model_validate_json(text, context=context)
        return cls._of(stored, dense=not manifest.binary)

    def metadata(self) -> dict[bytes, bytes]:
        """As a footer holds it."""
        return {fields.COUNTS: json.dumps(self.content(), separators=(",", ":")).encode()}

    def content(self) -> dict[str, Any]:
        """As JSON holds it."""
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
        return content

    @classmethod
    def _of(cls, stored: _Stored, *, dense: bool) -> RewardCounts | None:
        """What a footer holds; None if it was written before all of these were counted."""
        if dense and stored.frames is None:
            return None
        counts = cls.none(len(stored.rewarded), dense=dense)
        counts.transitions = stored.transitions
        counts.rewarded = np.array(stored.rewarded, np.int64)
        counts.best = _array(stored.best, -np.inf)
        if dense and stored.frames is not None:
            counts.frames = stored.frames
            counts.above = np.array(stored.above, np.int64)
            counts.total = np.array(stored.total, np.float64)
            counts.lowest = _array(stored.lowest, np.inf)
        return counts

    @classmethod
    def of_footer(cls, store: Store, manifest: RewardManifest, piece: Slice) -> RewardCounts | None:
        """The figures in a slice's footer; None if it does not hold all of them.

        Raises:
            StoreError: it holds something else in their place.
        """
        rows = store.rows(manifest.table, piece.file)
        context = {"goals": manifest.goals, "rows": rows}
        stored = read_figures(store, manifest.table, piece, fields.COUNTS, _Stored, context)
        return None if stored is None else cls._of(stored, dense=not manifest.binary)


def _finite(values: NDArray[np.float32]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _array(values: list[float | None], missing: float) -> NDArray[np.float32]:
    return np.array([missing if value is None else value for value in values], np.float32)


def read_counts(store: Store, manifest: RewardManifest) -> RewardCounts:
    """Figures of a whole reward set, from its manifest, or from its footers where they hold them.

    Raises:
        StoreError: a slice is missing or damaged.
    """
    if manifest.figures is not None:
        context = {"goals": manifest.goals, "rows": manifest.rows}
        stored = read_summary(store, manifest, _Stored, context)
        if (found := RewardCounts._of(stored, dense=not manifest.binary)) is not None:
            return found
    total = RewardCounts.none(manifest.goals, dense=not manifest.binary)
    for piece in store.slices:
        total.merge(slice_counts(store, manifest, piece))
    return total


def slice_counts(store: Store, manifest: RewardManifest, piece: Slice) -> RewardCounts:
    """Figures of one committed slice, from its footer, or counted where that holds none."""
    found = RewardCounts.of_footer(store, manifest, piece)
    if found is not None:
        return found
    counts = RewardCounts.none(manifest.goals, dense=not manifest.binary)
    rows = max(1, _READ_VALUES // manifest.goals)
    for batch in store.batches(manifest.table, piece, rows=rows):
        scores = matrix(batch.column(fields.SCORE)) if manifest.scores else None
        counts.add(scores, matrix(batch.column(fields.REWARD)))
    return counts


def count_problems(
    store: Store, manifest: RewardManifest, piece: Slice, scores: Array | None, rewards: Array
) -> Iterator[str]:
    """Where the figures of a footer do not follow from the columns.

    Args:
        store: of the slice.
        manifest: of its table.
        piece: the slice.
        scores: (n, G) of the slice; None: not stored.
        rewards: (n, G) of the slice.
    """
    found = RewardCounts.of_footer(store, manifest, piece)
    if found is None:
        return
    counted = RewardCounts.none(manifest.goals, dense=not manifest.binary)
    counted.add(scores, rewards)
    names = ["transitions", "rewarded"]
    if scores is not None:
        names += ["best", *(("frames", "above", "total", "lowest") if counted.dense else ())]
    for name in names:
        # A sum depends on its order.
        if not np.allclose(getattr(found, name), getattr(counted, name), rtol=1e-6, atol=1e-6):
            yield f"the figures in its footer ({name}) do not follow from its columns"
