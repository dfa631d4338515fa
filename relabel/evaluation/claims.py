"""Which frames a goal claims: those whose score is above the goal's bound.

    rewards of 0 and 1    bound: the goal's threshold
    probabilities         bound: 0.5
    any other             bound: the score that 5% of the store's frames are above, goal by goal,
                          since such scores say which frames show a goal better, and not which do

Without stored scores, what the reward of the action before a frame says is taken in their place;
the first frame of an episode then says nothing, if rewards look at the next frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from relabel.evaluation.evidence import Bools, Floats, Ints, Tell
from relabel.rewards.base import PROBABILITIES
from relabel.slices.score_slice import episode_blocks
from schemas import fields
from schemas.enums import Timing
from schemas.goal_datasets import effective_timing, is_difference
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import matrix

HALF: Final = 0.5
HIGHEST: Final = 0.05  # share of the frames that a goal without a threshold claims
_SAMPLED: Final = 1 << 14  # frames that such a bound is read off
_BLOCK_VALUES: Final = 1 << 22  # held at once


@dataclass(frozen=True, eq=False)
class Bounds:
    """What each of G goals claims a frame above."""

    above: Floats  # (G,)
    how: str  # what they are, for people


@dataclass(frozen=True, eq=False)
class ClaimBlock:
    """Frames of e whole episodes, n in all, in the order of the store."""

    slice: int  # place of the slice that they are of
    first: int  # place of its first episode among those of the store that have a frame
    row: int  # of its first frame among all frames
    lengths: Ints  # (e,) frames of each
    values: Floats  # (n, G) scores, or what stands in their place; NaN: unknown
    claimed: Bools  # (n, G) frames above the bound

    @property
    def known(self) -> Bools:
        """(n, G) frames that have a score."""
        return np.isfinite(self.values)

    @property
    def starts(self) -> Ints:
        """(e,) row of each episode's first frame, in the block."""
        return np.cumsum(self.lengths) - self.lengths


def bounds_of(store: Store, rewards: str, above: float | None = None) -> Bounds:
    """What the goals of a reward set claim frames above.

    Args:
        store: holds it.
        rewards: its name.
        above: of all goals; None: as the head of this file says.

    Raises:
        StoreError: no such reward set, or it is unfinished or damaged.
    """
    manifest = store.rewards(rewards)
    if above is not None:
        return Bounds(np.full(manifest.goals, above, np.float32), f"scores above {above:g}")
    thresholds = _thresholds(store, manifest)
    if manifest.binary and thresholds is not None:
        return Bounds(thresholds, "scores above each goal's threshold")
    if manifest.binary or tuple(manifest.score_range) == PROBABILITIES:
        how = "a reward of 1" if manifest.binary else f"probabilities above {HALF}"
        return Bounds(np.full(manifest.goals, HALF, np.float32), how)
    how = f"scores among each goal's highest {HIGHEST:.0%}, as it has no threshold"
    return Bounds(_highest(store, manifest), how)


def _thresholds(store: Store, manifest: RewardManifest) -> Floats | None:
    goals = store.goals(manifest.name)
    if not manifest.scores or fields.THRESHOLD not in goals.column_names:
        return None
    column = goals.column(fields.THRESHOLD)
    if column.null_count:
        return None
    return np.asarray(column.to_numpy(), np.float32)


def _highest(store: Store, manifest: RewardManifest) -> Floats:
    """(G,) from frames at equal distances; NaN for a goal without any score."""
    frames = sum(file.rows for file in manifest.files if file.table == manifest.table)
    stride = max(1, frames // _SAMPLED)
    sampled, row = [], 0
    for piece in store.slices:
        for values, _ in _values(store, manifest, piece):
            sampled.append(values[-row % stride :: stride])
            row += len(values)
    if not sampled:
        return np.full(manifest.goals, np.nan, np.float32)
    values = np.concatenate(sampled)
    bounds = np.full(manifest.goals, np.nan, np.float32)
    there = np.isfinite(values).any(axis=0)
    bounds[there] = np.nanquantile(values[:, there], 1 - HIGHEST, axis=0, method="lower")
    return bounds


def claim_blocks(
    store: Store, rewards: str, bounds: Bounds, tell: Tell | None = None
) -> Iterator[ClaimBlock]:
    """Reads a reward set once, some whole episodes at a time.

    Args:
        store: holds it.
        rewards: its name.
        bounds: of `bounds_of`.
        tell: told how many slices were read.
    """
    manifest = store.rewards(rewards)
    first = row = 0
    for done, piece in enumerate(store.slices):
        for values, lengths in _values(store, manifest, piece):
            with np.errstate(invalid="ignore"):
                claimed = values > bounds.above
            yield ClaimBlock(done, first, row, lengths, values, claimed)
            first, row = first + len(lengths), row + len(values)
        if tell is not None:
            tell(done + 1, len(store.slices))


def places_with_frames(store: Store) -> Ints:
    """Places in the store of the episodes that have a frame, in order."""
    lengths = store.read("episodes", [fields.LENGTH]).column(fields.LENGTH).to_numpy()
    return np.flatnonzero(lengths > 0)


def _values(store: Store, manifest: RewardManifest, piece: Slice) -> Iterator[tuple[Floats, Ints]]:
    """Scores (n, G) of whole episodes, or what stands in their place; lengths of the episodes."""
    keys = store.read_slices(manifest.table, [piece], [fields.EPISODE_ID, fields.STEP])
    column = fields.SCORE if manifest.scores else fields.REWARD
    size = max(1, _BLOCK_VALUES // manifest.goals)
    rows = RowReader(store, manifest.table, piece, column, size)
    for _, lengths in episode_blocks(keys, size):
        values = rows.take(int(lengths.sum()))
        yield values if manifest.scores else _of_frames(values, lengths, manifest), lengths


def _of_frames(values: Floats, lengths: Ints, manifest: RewardManifest) -> Floats:
    """Rewards of actions as values of the frames that they look at."""
    timing = effective_timing(manifest.function, manifest.timing)
    if timing is not Timing.NEXT_FRAME and not is_difference(manifest.function):
        return values
    shifted = np.full_like(values, np.nan)
    shifted[1:] = values[:-1]
    shifted[np.cumsum(lengths) - lengths] = np.nan
    return shifted


class RowReader:
    """A column of vectors of one slice, as many rows as are asked for at a time."""

    def __init__(self, store: Store, table: str, piece: Slice, column: str, rows: int) -> None:
        self._batches = store.batches(table, piece, [column], rows=rows)
        self._rest: list[Floats] = []

    def take(self, count: int) -> Floats:
        """The next `count` rows, at least one, as (count, width); a null is NaN."""
        while sum(map(len, self._rest)) < count:
            self._rest.append(matrix(next(self._batches).column(0)))
        rows = np.concatenate(self._rest)
        self._rest = [rows[count:]]
        return rows[:count]
