"""Some frames of a store by episode and step: their embeddings, camera by camera."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from relabel.slices.score_slice import slice_embeddings
from schemas import fields
from schemas.slices import record_id
from schemas.store import Store
from schemas.tables import Array

Frame = tuple[str, int]  # episode id and step


@dataclass(frozen=True, eq=False)
class StoredEpisodes:
    """Whole episodes of one slice, E of them, of T frames in all."""

    ids: list[str]  # (T,) episode of each frame
    steps: NDArray[np.int64]  # (T,)
    lengths: NDArray[np.int64]  # (E,)
    cameras: list[Array]  # (T, D) each, as stored; NaN where a frame is missing

    @property
    def frames(self) -> list[Frame]:
        """(T,) of each row."""
        return list(zip(self.ids, self.steps.tolist(), strict=True))


def stored_episodes(
    store: Store, tables: Sequence[str], episodes: Collection[str], *, skip_blank: bool = False
) -> Iterator[StoredEpisodes]:
    """The embeddings of some episodes, those of one slice at a time.

    Args:
        store: holds them.
        tables: names of the embedding tables, one per camera.
        episodes: ids; those that the store does not have are left out.
        skip_blank: frames of one colour are missing.

    Raises:
        StoreError: a table is unfinished or damaged, or two do not have the same rows.
    """
    records = set(map(record_id, episodes))
    wanted = pa.array(sorted(set(episodes)), pa.string())
    for piece in store.slices:
        if not piece.holds_any(records):
            continue
        keys, cameras = slice_embeddings(store, piece, tables, skip_blank=skip_blank)
        own = pc.is_in(keys.column(fields.EPISODE_ID), value_set=wanted)
        rows = np.flatnonzero(own.to_numpy())
        if not len(rows):
            continue
        chosen = keys.take(pa.array(rows))
        steps = chosen.column(fields.STEP).to_numpy().astype(np.int64)
        lengths = np.diff(np.append(np.flatnonzero(steps == 0), len(steps)))
        ids = chosen.column(fields.EPISODE_ID).to_pylist()
        yield StoredEpisodes(ids, steps, lengths, [camera[rows] for camera in cameras])
