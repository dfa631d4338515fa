"""The scores of a reward set as blocks of whole episodes, and of controls that know nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from relabel.evaluation.evidence import Bools, Floats, Ints, Tell, scored
from relabel.slices.score_slice import episode_blocks
from schemas import fields
from schemas.slices import Slice
from schemas.store import Store, check_same_rows
from schemas.tables import flags, matrix

Control = Literal["ramp", "random"]
CONTROLS: Final[tuple[Control, ...]] = ("ramp", "random")
_BLOCK_VALUES: Final = 1 << 22  # scores held at once


@dataclass(frozen=True, eq=False)
class Block:
    """Frames of e whole episodes, n in all."""

    row: int  # of the store, that it begins at
    episode: Ints  # (e,) places of the episodes in the store
    length: Ints  # (e,)
    step: Ints  # (n,)
    looked_at: Bools  # (n,) frames that count
    scores: Floats  # (n, G)

    @property
    def starts(self) -> Ints:
        """(e,) row of each episode's first frame."""
        return np.cumsum(self.length) - self.length

    @property
    def counted(self) -> Bools:
        """(n, G) frames that count and have a score."""
        return self.looked_at[:, None] & np.isfinite(self.scores)


Blocks = Callable[[], Iterator[Block]]


def score_blocks(
    store: Store, rewards: str, where: str | None = None, tell: Tell | None = None
) -> Iterator[Block]:
    """Reads a reward set once. Memory is that of one block, or of the longest episode.

    Args:
        store: holds the reward set.
        rewards: its name.
        where: column of flags; frames where it is false do not count.
        tell: told of slices.

    Raises:
        StoreError: no such reward set, unfinished, or without scores.
    """
    manifest = scored(store, rewards)
    ids = store.read("episodes", [fields.EPISODE_ID]).column(fields.EPISODE_ID).to_pylist()
    place = {episode_id: i for i, episode_id in enumerate(ids)}
    size, row = max(1, _BLOCK_VALUES // manifest.goals), 0
    for done, piece in enumerate(store.slices):
        keys = store.read_slices(manifest.table, [piece], [fields.EPISODE_ID, fields.STEP])
        looked_at = _looked_at(store, manifest.table, piece, keys, where)
        rows = _Rows(store, manifest.table, piece, size)
        for start, lengths in episode_blocks(keys, size):
            own = slice(start, start + int(lengths.sum()))
            firsts = start + np.cumsum(lengths) - lengths
            named = keys.column(fields.EPISODE_ID).take(pa.array(firsts)).to_pylist()
            yield Block(
                row + start,
                np.array([place[episode_id] for episode_id in named], np.int64),
                lengths.astype(np.int64),
                keys.column(fields.STEP).to_numpy()[own].astype(np.int64),
                looked_at[own],
                rows.take(own.stop - own.start),
            )
        row += keys.num_rows
        if tell is not None:
            tell(done + 1, len(store.slices))


def _looked_at(store: Store, table: str, piece: Slice, keys: pa.Table, where: str | None) -> Bools:
    if where is None:
        return np.ones(keys.num_rows, bool)
    steps = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP, where])
    check_same_rows(steps, keys, f"steps and {table}, {piece.name}")
    return flags(steps.column(where))


class _Rows:
    """The scores of a slice, as many rows as are asked for at a time."""

    def __init__(self, store: Store, table: str, piece: Slice, size: int) -> None:
        self._batches = store.batches(table, piece, [fields.SCORE], rows=size)
        self._rest: pa.RecordBatch | None = None

    def take(self, count: int) -> Floats:
        """(count, G)."""
        parts = []
        while count:
            batch = next(self._batches) if self._rest is None else self._rest
            own = batch.slice(0, count)
            self._rest = batch.slice(len(own)) if len(own) < len(batch) else None
            count -= len(own)
            parts.append(matrix(own.column(0)))
        return np.concatenate(parts)


# --- controls ---------------------------------------------------------------------------------


def control_blocks(blocks: Iterator[Block], control: Control, seed: int) -> Iterator[Block]:
    """The same frames with the scores of a control; a missing score stays missing."""
    for block in blocks:
        ages = np.repeat(np.maximum(block.length - 1, 1), block.length)
        missing = np.isnan(block.scores)
        scores = control_scores(control, block.step / ages, block.scores.shape, (seed, block.row))
        scores[missing] = np.nan
        yield replace(block, scores=scores)


def control_scores(
    control: Control, share: Floats, shape: tuple[int, ...], seed: tuple[int, ...]
) -> Floats:
    """Scores that know nothing of what a frame shows.

    Args:
        control: `ramp` rises from 0 at an episode's first frame to 1 at its last; `random` is
            drawn evenly.
        share: (n,) of each frame: how far along its episode it is.
        shape: (n,) or (n, G).
        seed: of the draw.
    """
    if control == "random":
        return np.random.default_rng(seed).random(shape, np.float32)
    ramp = np.asarray(share, np.float32).reshape(-1, *([1] * (len(shape) - 1)))
    return np.array(np.broadcast_to(ramp, shape))
