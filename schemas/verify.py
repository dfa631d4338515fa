"""Does a store hold what its manifests say? Every file, hash, row count, join and range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.index_checks import dataset_problems, index_problems
from schemas.manifests import (
    AnyTableManifest,
    EmbeddingManifest,
    EpisodesManifest,
    GoalDatasetManifest,
    RewardManifest,
)
from schemas.slices import Slice, TableFile
from schemas.store import Store, check_same_rows, is_goals_file
from schemas.tables import Array, matrix

# A unit vector rounded to float16 keeps its norm this well; float32 far better.
_NORM_TOLERANCE: Final = {"float16": 2e-3, "float32": 1e-4}


class Problem(BaseModel):
    """One thing that is not as it should be."""

    model_config = ConfigDict(frozen=True)

    table: str
    file: str | None
    text: str


def verify_store(store: Store) -> Iterator[tuple[str, list[Problem]]]:
    """Checks table after table.

    Yields:
        The name of each table, finished or not, with its problems.
    """
    if not store.is_complete("steps"):
        for table in ("steps", "episodes"):
            if table not in store.unfinished() and not store.is_complete(table):
                yield table, [Problem(table=table, file=None, text="there is no such table")]
    for table in store.unfinished():
        yield table, [_problem(store, table)]
    for table in store.tables():
        yield table, list(_verify_table(store, table))


def _problem(store: Store, table: str) -> Problem:
    try:
        store.table_manifest(table)
    except StoreError as error:
        return Problem(table=table, file=None, text=str(error))
    return Problem(table=table, file=None, text="unfinished")


def _verify_table(store: Store, table: str) -> Iterator[Problem]:
    try:
        manifest = store.table_manifest(table)
    except StoreError as error:
        yield Problem(table=table, file=None, text=str(error))
        return
    if manifest.source_fingerprint != store.manifest.source.fingerprint:
        yield Problem(table=table, file=None, text="is of another source than the store")
    yield from _stale_embeddings(store, manifest)
    yield from _unlisted(store, manifest)
    if isinstance(manifest, GoalDatasetManifest):
        for text in dataset_problems(store, manifest):
            yield Problem(table=table, file=None, text=text)
    damaged = set()
    for file in manifest.files:
        for text in _file_problems(store, manifest, file):
            damaged.add(file.file)
            yield Problem(table=file.table, file=file.file, text=text)
    if any(map(is_goals_file, damaged)):
        return  # what the rewards would have to follow from
    for piece in store.slices:
        if piece.file not in damaged:
            for text in _content_problems(store, manifest, piece):
                yield Problem(table=table, file=piece.file, text=text)


def _unlisted(store: Store, manifest: AnyTableManifest) -> Iterator[Problem]:
    listed = {file.file for file in manifest.slice_files}
    planned = {piece.file for piece in store.slices}
    present = {n for n in store.folder.names(manifest.table) if n.startswith("slice-")}
    for name in sorted(planned - listed):
        yield Problem(table=manifest.table, file=name, text="planned but not in the manifest")
    for name in sorted(present - listed):
        yield Problem(table=manifest.table, file=name, text="there but not in the manifest")


def _file_problems(store: Store, manifest: AnyTableManifest, file: TableFile) -> Iterator[str]:
    name = f"{file.table}/{file.file}"
    if not store.folder.exists(name):
        yield "missing"
        return
    if store.folder.size(name) != file.bytes:
        yield f"expected {file.bytes} bytes, got {store.folder.size(name)}"
    elif store.folder.sha256(name) != file.sha256:
        yield "its SHA-256 is not the manifest's: the content has changed"
    elif name.endswith(".parquet") and (rows := store.rows(file.table, file.file)) != file.rows:
        yield f"expected {file.rows} rows, got {rows}"
    elif file.file.startswith("slice-"):
        yield from _fingerprint_problem(store, manifest, file)


def _fingerprint_problem(
    store: Store, manifest: AnyTableManifest, file: TableFile
) -> Iterator[str]:
    piece = next((p for p in store.slices if p.file == file.file), None)
    try:
        if piece is not None:
            store.committed(file.table, piece, manifest.fingerprint)
    except StoreError as error:
        yield str(error)


def _content_problems(store: Store, manifest: AnyTableManifest, piece: Slice) -> Iterator[str]:
    try:
        yield from _row_problems(store, manifest, piece)
    except StoreError as error:
        yield str(error)


def _row_problems(store: Store, manifest: AnyTableManifest, piece: Slice) -> Iterator[str]:
    content = store.read_slices(manifest.table, [piece])
    if isinstance(manifest, EpisodesManifest):
        yield from _episode_problems(store, content, piece)
        return
    if isinstance(manifest, GoalDatasetManifest):
        yield from index_problems(store, manifest, piece, content)
        return
    keys = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP])
    check_same_rows(keys, content, f"steps and {manifest.table}")
    if isinstance(manifest, EmbeddingManifest):
        yield from _embedding_problems(manifest, content)
    if isinstance(manifest, RewardManifest):
        yield from _reward_problems(store, manifest, content)


def _episode_problems(store: Store, episodes: pa.Table, piece: Slice) -> Iterator[str]:
    """Episodes and steps must tell the same lengths, and steps count 0, 1, 2, …"""
    keys = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP])
    ids = episodes.column(fields.EPISODE_ID)
    lengths = episodes.column(fields.LENGTH).to_numpy()
    expected_ids = ids.take(pa.array(np.repeat(np.arange(len(lengths)), lengths)))
    if expected_ids.to_pylist() != keys.column(fields.EPISODE_ID).to_pylist():
        yield "episodes and steps do not tell the same episodes and lengths"
        return
    starts = np.cumsum(lengths) - lengths
    counted = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    if not np.array_equal(counted, keys.column(fields.STEP).to_numpy()):
        yield "the steps of an episode are not 0, 1, 2, …"


def _embedding_problems(manifest: EmbeddingManifest, content: pa.Table) -> Iterator[str]:
    embeddings = matrix(content.column(fields.EMBEDDING), "float64")
    present = embeddings[~np.isnan(embeddings).any(axis=1)]
    worst = np.abs(np.linalg.norm(present, axis=1) - 1).max(initial=0.0)
    if worst > _NORM_TOLERANCE[manifest.dtype]:
        yield f"an embedding's norm is off 1 by {worst:.2g}"
    missing = len(embeddings) - len(present)
    if missing and not manifest.dead_letters:
        yield f"{missing} embeddings are missing and no dead letter says why"


def _stale_embeddings(store: Store, manifest: AnyTableManifest) -> Iterator[Problem]:
    """Rewards over embeddings that were replaced since."""
    if not isinstance(manifest, RewardManifest):
        return
    pairs = zip(manifest.embeddings, manifest.embedding_fingerprints, strict=True)
    for name, fingerprint in pairs:
        table = f"embeddings/{name}"
        if store.is_complete(table) and store.table_manifest(table).fingerprint != fingerprint:
            text = f"was scored from {table} before that was replaced; score it again --overwrite"
            yield Problem(table=manifest.table, file=None, text=text)


def _reward_problems(store: Store, manifest: RewardManifest, content: pa.Table) -> Iterator[str]:
    rewards = matrix(content.column(fields.REWARD))
    yield from _range_problems("reward", rewards, manifest.reward_range, manifest.binary)
    last = _last_frames(content)
    if manifest.timing is Timing.NEXT_FRAME and not np.isnan(rewards[last]).all():
        yield "the last frame of an episode has a reward that would look past its end"
    if not manifest.scores:
        return
    scores = matrix(content.column(fields.SCORE))
    yield from _range_problems("score", scores, manifest.score_range, binary=False)
    if manifest.binary:
        yield from _threshold_problems(store, manifest, scores, rewards, last)


def _range_problems(
    what: str, values: Array, limits: tuple[float, float], binary: bool
) -> Iterator[str]:
    present = values[~np.isnan(values)]
    low, high = limits
    if present.size and (present.min() < low - 1e-5 or present.max() > high + 1e-5):
        yield f"a {what} lies outside [{low}, {high}]: {present.min()} to {present.max()}"
    if binary and not np.isin(present, (0, 1)).all():
        yield f"a {what} is neither 0 nor 1"


def _threshold_problems(
    store: Store, manifest: RewardManifest, scores: Array, rewards: Array, last: Array
) -> Iterator[str]:
    """Every 0/1 reward must follow from the stored score, the threshold and the timing."""
    threshold = store.goals(manifest.name).column(fields.THRESHOLD).to_numpy()
    looked_at = scores
    if manifest.timing is Timing.NEXT_FRAME:
        looked_at = np.vstack([scores[1:], np.full((1, scores.shape[1]), np.nan)])[: len(scores)]
        looked_at = np.where(last[:, None], np.nan, looked_at)
    expected = np.where(np.isnan(looked_at), np.nan, looked_at > threshold.astype(np.float32))
    wrong = int((~np.isclose(rewards, expected, equal_nan=True)).sum())
    if wrong:
        yield f"{wrong} rewards do not follow from score, threshold and timing"


def _last_frames(content: pa.Table) -> Array:
    steps = content.column(fields.STEP).to_numpy()
    return np.append(steps[1:] == 0, True)[: len(steps)]
