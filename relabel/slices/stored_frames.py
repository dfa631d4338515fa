"""Some frames of a store by episode and step: their embeddings, camera by camera."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from relabel.goals.prompts import frame_text
from schemas import fields
from schemas.errors import GoalError
from schemas.goals import Frame, GoalSet
from schemas.slices import Slice, record_id
from schemas.store import Store, check_same_rows
from schemas.tables import Array, matrix, numpy_dtype


def slice_embeddings(
    store: Store, piece: Slice, names: Sequence[str], *, skip_blank: bool = False
) -> tuple[pa.Table, list[Array]]:
    """Keys and (T, D) embeddings of one slice, one array per embedding table.

    Args:
        store: holds them.
        piece: the slice.
        names: of the tables.
        skip_blank: frames of one colour are missing.

    Raises:
        StoreError: embeddings are missing, or two tables do not have the same rows.
    """
    tables = [store.read_slices(f"embeddings/{name}", [piece]) for name in names]
    keys = tables[0].select([fields.EPISODE_ID, fields.STEP])
    for name, table in zip(names[1:], tables[1:], strict=True):
        check_same_rows(keys, table, f"embeddings {names[0]} and {name}, {piece.name}")
    cameras = [_as_stored(table.column(fields.EMBEDDING)) for table in tables]
    if skip_blank:
        for camera, table in zip(cameras, tables, strict=True):
            camera[table.column(fields.BLANK).fill_null(False).to_numpy()] = np.nan
    return keys, cameras


def _as_stored(column: pa.ChunkedArray) -> Array:
    """(T, D) in the stored type: the scorer widens what it is about to multiply."""
    return matrix(column, numpy_dtype(column.type.value_type).name)


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


def example_frames(
    store: Store, tables: Sequence[str], goals: GoalSet
) -> dict[Frame, NDArray[np.float64]]:
    """What an encoder makes of the frames that goals have for examples.

    Of several cameras it is the mean of those that have the frame, of unit norm.

    Args:
        store: has the frames.
        tables: names of the embedding tables of the encoder, one per camera.
        goals: of any kind.

    Returns:
        (D,) of unit norm per frame; empty if no goal has examples, and then nothing is read.

    Raises:
        GoalError: a frame that the store does not have, or that has no embedding.
        StoreError: a table is unfinished or damaged.
    """
    owner = {e.frame: goal.id for goal in reversed(goals.goals) for e in goal.examples}
    if not owner:
        return {}
    found: dict[Frame, NDArray[np.float64]] = {}
    lengths: dict[str, int] = {}
    for part in stored_episodes(store, tables, {episode for episode, _ in owner}):
        lengths |= {episode: step + 1 for episode, step in part.frames}
        for row, frame in enumerate(part.frames):
            if frame in owner:
                found[frame] = _mean([camera[row] for camera in part.cameras])
    for frame, goal_id in owner.items():
        if frame not in found or not np.isfinite(found[frame]).all():
            why = _why_not(frame, lengths)
            raise GoalError(f"goal {goal_id}: its example {frame_text(frame)}: {why}")
    return found


def _mean(cameras: Sequence[Array]) -> NDArray[np.float64]:
    """(D,) of unit norm; NaN if no camera has the frame."""
    there = [camera.astype(np.float64) for camera in cameras if np.isfinite(camera).all()]
    if not there:
        return np.full(cameras[0].shape, np.nan)
    mean = np.mean([vector / np.linalg.norm(vector) for vector in there], axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def _why_not(frame: Frame, lengths: dict[str, int]) -> str:
    episode, step = frame
    if episode not in lengths:
        return "the store has no such episode; ids look like train/0/3, and episodes() lists them"
    if step >= lengths[episode]:
        return f"the episode has the steps 0 to {lengths[episode] - 1}"
    return "the frame could not be decoded, so that it has no embedding; take another one"
