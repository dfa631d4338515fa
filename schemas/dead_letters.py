"""Dead letters: what could not be processed, where it came from and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas import fields
from schemas.slices import Slice, TableFile
from schemas.store import Store
from schemas.tables import DEAD_LETTER_SCHEMA

EMPTY_IMAGE: Final = (
    "image: expected a JPEG, PNG or WebP, got 0 bytes: the source has no image here; "
    "--skip-blank-cameras accepts it and scores the frame by its other cameras"
)
"""The reason of a frame that its camera does not have; no damage, if the user says so."""


@dataclass(frozen=True)
class DeadLetter:
    """One record that a table misses."""

    episode_id: str
    reason: str
    step: int | None = None  # None: the whole episode, or every frame of one camera in it
    camera: str | None = None


def dead_letter_columns(letters: Sequence[DeadLetter], piece: Slice, stage: str) -> list[pa.Array]:
    """Columns of the dead letter table, in the order of its schema."""
    return [
        pa.array(values, field.type)
        for values, field in zip(
            (
                [letter.episode_id for letter in letters],
                [letter.step for letter in letters],
                [piece.name] * len(letters),
                [stage] * len(letters),
                [letter.camera for letter in letters],
                [letter.reason for letter in letters],
            ),
            DEAD_LETTER_SCHEMA,
            strict=True,
        )
    ]


def dead_ratio(
    store: Store, table: str, files: Sequence[TableFile], accepted: str | None = None
) -> float:
    """Share of a table's records that could not be processed.

    Args:
        store: holds the dead letters.
        table: whose they are.
        files: of the table and of its dead letters.
        accepted: a reason that does not count.

    Returns:
        Lost episodes over stored episodes, or undecodable frames over frames, whichever is
        more; in [0, 1].
    """
    letters = read_dead_letters(store, table, files)
    if accepted is not None:
        letters = letters.filter(pc.not_equal(letters.column(fields.REASON), accepted))
    whole = letters.column(fields.STEP).null_count
    episodes = sum(store.manifest.source.shard_lengths)
    frames = sum(file.rows for file in files if file.table == table)
    lost = letters.num_rows - whole
    return float(max(whole / max(episodes, 1), lost / max(frames, 1)))


def read_dead_letters(store: Store, table: str, files: Sequence[TableFile]) -> pa.Table:
    """All dead letters of one table."""
    names = {file.file for file in files if file.table == f"dead_letters/{table}"}
    slices = [piece for piece in store.slices if piece.file in names]
    if not slices:
        return DEAD_LETTER_SCHEMA.empty_table()
    return store.read_slices(f"dead_letters/{table}", slices)
