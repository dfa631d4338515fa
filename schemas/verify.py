"""Does a store hold what its manifests say? Every file, hash, row count, join and range."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.goal_dataset_checks import dataset_problems, trajectory_problems
from schemas.manifests import (
    AnyTableManifest,
    EmbeddingManifest,
    EpisodesManifest,
    GoalDatasetManifest,
    RewardManifest,
)
from schemas.reward_counts import count_problems
from schemas.seals import file_problem
from schemas.slices import Slice, TableFile
from schemas.store import Store, check_same_rows, fingerprint_of
from schemas.tables import Array, matrix
from schemas.text_embeddings import text_problems

_MOST_THREADS: Final = 8
# A unit vector rounded to float16 keeps its norm this well; float32 far better.
_NORM_TOLERANCE: Final = {"float16": 2e-3, "float32": 1e-4}


class Problem(BaseModel):
    """One thing that is not as it should be."""

    model_config = ConfigDict(frozen=True)

    table: str
    file: str | None
    text: str


Show = Callable[[str, int, int], None]  # told the table, its slices that are done, and all


def verify_store(store: Store, show: Show | None = None) -> Iterator[tuple[str, list[Problem]]]:
    """Checks table after table, several slices at once.

    Args:
        store: to check; nothing in it is changed.
        show: told of every slice that is done.

    Yields:
        The name of each table, finished or not, with its problems.
    """
    # Hashes are compared here, for each file once; reading need not do so again.
    store = Store(store.location, store.folder, store.manifest, trust=True)
    tables, unfinished = store.tables(), store.unfinished()
    expected = dict.fromkeys(("steps", "episodes", *store.abandoned()))
    for table in (table for table in expected if table not in (*tables, *unfinished)):
        yield table, [Problem(table=table, file=None, text=_absent(store, table))]
    for table in unfinished:
        yield table, [_problem(store, table)]
    with ThreadPoolExecutor(min(_MOST_THREADS, 2 * (os.cpu_count() or 1))) as pool:
        for table in tables:
            yield table, list(_verify_table(store, table, pool, show))
    yield from _verify_texts(store)


def _verify_texts(store: Store) -> Iterator[tuple[str, list[Problem]]]:
    """Embeddings of texts are no table: only damaged ones are told."""
    found: dict[str, list[Problem]] = {}
    for folder, file, text in text_problems(store):
        found.setdefault(folder, []).append(Problem(table=folder, file=file, text=text))
    yield from found.items()


def _absent(store: Store, table: str) -> str:
    if table in store.abandoned():
        return (
            "its slices are there and its manifest is gone; put back a copy of that, or run the "
            "command that made the table again with --overwrite"
        )
    return "there is no such table"


def _problem(store: Store, table: str) -> Problem:
    try:
        store.table_manifest(table)
    except StoreError as error:
        return Problem(table=table, file=None, text=str(error))
    return Problem(table=table, file=None, text="unfinished")


def _verify_table(
    store: Store, table: str, pool: ThreadPoolExecutor, show: Show | None
) -> Iterator[Problem]:
    try:
        manifest = store.table_manifest(table)
    except StoreError as error:
        yield Problem(table=table, file=None, text=str(error))
        return
    if manifest.source_fingerprint != store.manifest.source.fingerprint:
        yield Problem(table=table, file=None, text="belongs to another source than the store")
    yield from _stale_embeddings(store, manifest)
    yield from _unlisted(store, manifest)
    if isinstance(manifest, GoalDatasetManifest):
        for text in dataset_problems(store, manifest):
            yield Problem(table=table, file=None, text=text)
    check = _TableCheck(store, manifest)
    beside = [file for file in manifest.files if not file.file.startswith("slice-")]
    damaged = False
    for file in beside:
        for text in check.file_problems(file):
            damaged = True
            yield Problem(table=file.table, file=file.file, text=text)
    check.compares_rewards = not damaged  # with goals, which the rewards have to follow from
    for done, found in enumerate(pool.map(check.slice_problems, store.slices), start=1):
        yield from found
        if show is not None:
            show(table, done, len(store.slices))


def _unlisted(store: Store, manifest: AnyTableManifest) -> Iterator[Problem]:
    listed = {file.file for file in manifest.slice_files}
    planned = {piece.file for piece in store.slices}
    present = {n for n in store.folder.names(manifest.table) if n.startswith("slice-")}
    for name in sorted(planned - listed):
        yield Problem(table=manifest.table, file=name, text="planned but not in the manifest")
    for name in sorted(present - listed):
        yield Problem(table=manifest.table, file=name, text="there but not in the manifest")


class _TableCheck:
    """One complete table, and what all its slices share; slices are checked by several threads."""

    def __init__(self, store: Store, manifest: AnyTableManifest) -> None:
        self._store = store
        self._manifest = manifest
        self._fingerprint = manifest.fingerprint
        self.compares_rewards = True
        self._files: dict[str, list[TableFile]] = {}  # of every slice
        for file in manifest.files:
            self._files.setdefault(file.file, []).append(file)

    def slice_problems(self, piece: Slice) -> list[Problem]:
        """Everything that is wrong with one slice and what belongs to it."""
        problems = [
            Problem(table=file.table, file=file.file, text=text)
            for file in self._files.get(piece.file, ())
            for text in self.file_problems(file)
        ]
        if problems or piece.file not in self._files:
            return problems
        table = self._manifest.table
        return [Problem(table=table, file=piece.file, text=text) for text in self._content(piece)]

    def file_problems(self, file: TableFile) -> Iterator[str]:
        """What is wrong with a file as such: its size, its hash, its footer."""
        if problem := file_problem(self._store.folder, file, anew=True):
            yield problem
            return
        if not file.file.endswith(".parquet"):
            return
        try:
            footer = self._store.footer(file.table, file.file)
        except StoreError as error:
            yield str(error)
            return
        if footer.num_rows != file.rows:
            yield f"expected {file.rows} rows, got {footer.num_rows}"
        found = fingerprint_of(footer)
        if file.file.startswith("slice-") and found != self._fingerprint:
            yield (
                f"belongs to another table (fingerprint {found[:8] or 'none'}, expected "
                f"{self._fingerprint[:8]}); --overwrite replaces it"
            )

    def _content(self, piece: Slice) -> Iterator[str]:
        try:
            yield from self._row_problems(piece)
        except StoreError as error:
            yield str(error)

    def _row_problems(self, piece: Slice) -> Iterator[str]:
        store, manifest = self._store, self._manifest
        content = store.read_slices(manifest.table, [piece])
        if isinstance(manifest, EpisodesManifest):
            yield from _episode_problems(store, content, piece)
            return
        if isinstance(manifest, GoalDatasetManifest):
            yield from trajectory_problems(store, manifest, piece, content)
            return
        keys = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP])
        check_same_rows(keys, content, f"steps and {manifest.table}")
        if isinstance(manifest, EmbeddingManifest):
            yield from _embedding_problems(manifest, content)
        if isinstance(manifest, RewardManifest) and self.compares_rewards:
            threshold = self._threshold if manifest.binary and manifest.scores else None
            yield from _reward_problems(manifest, content, threshold)
        if isinstance(manifest, RewardManifest):
            scores = matrix(content.column(fields.SCORE)) if manifest.scores else None
            rewards = matrix(content.column(fields.REWARD))
            yield from count_problems(store, manifest, piece, scores, rewards)

    @cached_property
    def _threshold(self) -> Array:
        """(G,) of a reward set."""
        name = self._manifest.table.removeprefix("rewards/")
        threshold: Array = self._store.goals(name).column(fields.THRESHOLD).to_numpy()
        return threshold


def _episode_problems(store: Store, episodes: pa.Table, piece: Slice) -> Iterator[str]:
    """Episodes and steps must tell the same lengths, and steps count 0, 1, 2, …"""
    keys = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP])
    ids = episodes.column(fields.EPISODE_ID)
    lengths = episodes.column(fields.LENGTH).to_numpy()
    expected_ids = ids.take(pa.array(np.repeat(np.arange(len(lengths)), lengths)))
    if expected_ids.to_pylist() != keys.column(fields.EPISODE_ID).to_pylist():
        yield "episodes and steps list different episodes or lengths"
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
        yield f"an embedding's norm differs from 1 by {worst:.2g}"
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


def _reward_problems(
    manifest: RewardManifest, content: pa.Table, threshold: Array | None
) -> Iterator[str]:
    rewards = matrix(content.column(fields.REWARD))
    yield from _range_problems("reward", rewards, manifest.reward_range, manifest.binary)
    last = _last_frames(content)
    if manifest.timing is Timing.NEXT_FRAME and not np.isnan(rewards[last]).all():
        yield "the last frame of an episode has a reward that would look past its end"
    if not manifest.scores:
        return
    scores = matrix(content.column(fields.SCORE))
    yield from _range_problems("score", scores, manifest.score_range, binary=False)
    if threshold is not None:
        yield from _threshold_problems(manifest, threshold, scores, rewards, last)


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
    manifest: RewardManifest, threshold: Array, scores: Array, rewards: Array, last: Array
) -> Iterator[str]:
    """Every 0/1 reward must follow from the stored score, the threshold and the timing."""
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
