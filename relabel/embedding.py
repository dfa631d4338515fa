"""`embed_slice`: one slice of a source becomes steps, episodes and embeddings.

    reader thread ──episodes──▶ decode pool ──frames──▶ batches ──▶ encoder ──▶ writers

Every queue is bounded, so memory does not grow with the slice. Batches of one fixed size run
across episode borders, never across slices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from relabel.frames import decode_frame
from relabel.source import Episode, Source
from relabel.streams import ordered_map, prefetch
from schemas import fields
from schemas.dead_letters import DeadLetter, dead_letter_columns
from schemas.encoders import ImageEncoder
from schemas.errors import FrameError
from schemas.manifests import EmbeddingManifest, EpisodesManifest, StepsManifest
from schemas.slices import Slice, TableFile
from schemas.store import SliceWriter, Store, check_same_rows
from schemas.tables import (
    DEAD_LETTER_SCHEMA,
    Array,
    column,
    embedding_schema,
    episodes_schema,
    key_columns,
    metadata_row,
    steps_schema,
    vectors,
)

_EPISODES_AHEAD = 4  # read while the encoder works
_BATCHES_AHEAD = 2  # decoded while the encoder works


SourceTable = StepsManifest | EpisodesManifest | EmbeddingManifest


def embed_slice(
    piece: Slice,
    *,
    source: Source,
    store: Store,
    tables: Sequence[SourceTable],
    encoder: ImageEncoder | None,
    batch_size: int,
    decode_threads: int,
) -> Slice:
    """Writes the tables of one slice that are not committed yet.

    Args:
        piece: the slice.
        source: read once, from the slice's first episode to its last.
        store: written to.
        tables: what is to be there afterwards; a steps table that is not among them must be
            complete already.
        encoder: of the frames; None if `tables` asks for no embeddings.
        batch_size: frames per forward pass.
        decode_threads: threads that turn JPEG and PNG into pixels.

    Returns:
        The slice with the files of all its tables, old and new, dead letters included.

    Raises:
        StoreError: the source's rows are not those of the steps table stored earlier.
    """
    kept = [file for table in tables for file in committed_files(store, piece, table)]
    done = {file.table for file in kept}
    missing = [table for table in tables if table.table not in done]
    if not missing:
        return piece.with_files(*kept)
    with ExitStack() as stack:
        job = _SliceJob(piece, store, missing, stack)
        pool = stack.enter_context(ThreadPoolExecutor(decode_threads))
        episodes = stack.enter_context(
            closing(prefetch(source.read(piece, job.source_columns(source)), _EPISODES_AHEAD))
        )
        rows = ordered_map(decode_row, job.rows(episodes), pool, ahead=_BATCHES_AHEAD * batch_size)
        for batch in batched(rows, batch_size):
            job.embed(batch, encoder)
        return piece.with_files(*kept, *job.commit())


def committed_files(store: Store, piece: Slice, table: SourceTable) -> list[TableFile]:
    """What is there already of one slice of one table: its file and its dead letters."""
    file = store.committed(table.table, piece, table.fingerprint)
    if file is None:
        return []
    letters = store.committed(f"dead_letters/{table.table}", piece, table.fingerprint)
    return [file] if letters is None else [letters, file]


@dataclass(frozen=True)
class Row:
    """One frame on its way: the images of every camera asked for."""

    episode_id: str
    step: int
    images: tuple[bytes, ...]  # encoded, one per camera


@dataclass(frozen=True)
class DecodedRow:
    """As `Row`; what could not be decoded is the error that says why."""

    episode_id: str
    step: int
    frames: tuple[Array | FrameError, ...]  # (H, W, 3) uint8


def decode_row(row: Row) -> DecodedRow:
    """Decodes every camera's image of one frame."""
    return DecodedRow(row.episode_id, row.step, tuple(map(_decode, row.images)))


def _decode(image: bytes) -> Array | FrameError:
    try:
        return decode_frame(image)
    except FrameError as error:
        return error


def batched(rows: Iterable[DecodedRow], size: int) -> Iterator[list[DecodedRow]]:
    """Lists of `size` rows; the last may be shorter."""
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


class _SliceJob:
    """The open writers of one slice, and what came by so far."""

    def __init__(
        self, piece: Slice, store: Store, missing: Sequence[SourceTable], stack: ExitStack
    ) -> None:
        self._piece = piece
        self._store = store
        self._missing = missing
        self._embeddings = [t for t in missing if isinstance(t, EmbeddingManifest)]
        self._letters: dict[str, list[DeadLetter]] = {t.table: [] for t in missing}
        self._ids: list[str] = []  # of the episodes seen
        self._lengths: list[int] = []
        self._writers: dict[str, SliceWriter] = {
            t.table: stack.enter_context(
                store.writer(t.table, piece, _schema(t, store), fingerprint=t.fingerprint)
            )
            for t in missing
        }

    def source_columns(self, source: Source) -> list[str]:
        """Step features to parse: all low-dimensional ones, and the images needed."""
        low = [leaf.spec.name for leaf in source.columns]
        kept = [f.name for f in self._store.manifest.fields if f.kind == "image"]
        return [*low, *dict.fromkeys([*(e.camera for e in self._embeddings), *kept])]

    def rows(self, episodes: Iterable[Episode | DeadLetter]) -> Iterator[Row]:
        """Writes steps and episodes as they pass, and yields their frames."""
        for item in episodes:
            if isinstance(item, DeadLetter):
                for letters in self._letters.values():
                    letters.append(item)
                continue
            self._write_low_dimensional(item)
            images = [item.steps[e.camera] for e in self._embeddings]
            if images:
                for step, encoded in enumerate(zip(*images, strict=True)):
                    yield Row(item.id, step, encoded)

    def _write_low_dimensional(self, episode: Episode) -> None:
        manifest = self._store.manifest
        self._ids.append(episode.id)
        self._lengths.append(episode.length)
        if writer := self._writers.get("steps"):
            values = [column(spec, episode.steps[spec.name]) for spec in manifest.fields]
            writer.write([*key_columns([episode.id], [episode.length]), *values])
        if writer := self._writers.get("episodes"):
            metadata = metadata_row(episode.metadata, manifest.metadata)
            language = episode.language(manifest.language_fields)
            row = [episode.id, episode.length, language, *metadata.values()]
            writer.write([pa.array([v], f.type) for v, f in zip(row, writer.schema, strict=True)])

    def embed(self, batch: Sequence[DecodedRow], encoder: ImageEncoder | None) -> None:
        """Embeds one batch of every camera and writes it."""
        if encoder is None:
            raise ValueError("embeddings were asked for without an encoder")
        keys = [
            pa.array([row.episode_id for row in batch], pa.string()),
            pa.array([row.step for row in batch], pa.int32()),
        ]
        for position, table in enumerate(self._embeddings):
            frames = [row.frames[position] for row in batch]
            self._note_undecodable(table.table, table.camera, batch, frames)
            embeddings = embed_frames(frames, encoder)
            writer = self._writers[table.table]
            value_type = writer.schema.field(fields.EMBEDDING).type.value_type
            writer.write([*keys, vectors(embeddings, value_type)])

    def _note_undecodable(
        self,
        table: str,
        camera: str,
        batch: Sequence[DecodedRow],
        frames: Sequence[Array | FrameError],
    ) -> None:
        self._letters[table].extend(
            DeadLetter(row.episode_id, str(frame), row.step, camera)
            for row, frame in zip(batch, frames, strict=True)
            if isinstance(frame, FrameError)
        )

    def commit(self) -> list[TableFile]:
        """Commits every table of the slice, its dead letters before the table itself."""
        self._check_rows()
        files: list[TableFile] = []
        for table in self._missing:
            name = table.table
            files += write_dead_letters(
                self._store, self._piece, name, self._letters[name], table.fingerprint
            )
            files.append(self._writers[name].commit())
        return files

    def _check_rows(self) -> None:
        """New tables beside an older steps table must have its rows."""
        if "steps" in self._writers:
            return
        names = [fields.EPISODE_ID, fields.STEP]
        stored = self._store.read_slices("steps", [self._piece], names)
        keys = pa.table(key_columns(self._ids, self._lengths), names=names)
        check_same_rows(stored, keys, f"steps and the source, {self._piece.name}")


def _schema(table: SourceTable, store: Store) -> pa.Schema:
    if isinstance(table, EmbeddingManifest):
        return embedding_schema(table.encoder.dim, table.dtype)
    if isinstance(table, StepsManifest):
        return steps_schema(store.manifest.fields)
    return episodes_schema(store.manifest.metadata)


def embed_frames(frames: Sequence[Array | FrameError], encoder: ImageEncoder) -> Array:
    """Embeddings of the decodable frames, NaN in place of the others.

    Args:
        frames: (H, W, 3) uint8 each, or the error of one that could not be decoded.
        encoder: called once, with the decodable ones.

    Returns:
        (N, D) float32.
    """
    decoded = [frame for frame in frames if not isinstance(frame, FrameError)]
    embeddings = np.full((len(frames), encoder.spec.dim), np.nan, np.float32)
    if decoded:
        intact = [not isinstance(frame, FrameError) for frame in frames]
        embeddings[intact] = encoder.encode_images(decoded)
    return embeddings


def write_dead_letters(
    store: Store, piece: Slice, stage: str, letters: Sequence[DeadLetter], fingerprint: str
) -> list[TableFile]:
    """Commits the dead letters of one slice of one table; no file if there are none."""
    if not letters:
        return []
    table = f"dead_letters/{stage}"
    with store.writer(table, piece, DEAD_LETTER_SCHEMA, fingerprint=fingerprint) as writer:
        writer.write(dead_letter_columns(letters, piece, stage))
        return [writer.commit()]
