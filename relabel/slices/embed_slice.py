"""`embed_slice`: one slice of a source becomes steps, episodes and embeddings.

    reader thread ──episodes──▶ pool: decode, resize ──chunks──▶ batches ──▶ encoder ──▶ writers

Every queue is bounded, so memory does not grow with the slice. Batches of one fixed size run
across episode borders, never across slices; a chunk is a part of a batch, small enough that the
threads of the pool share even the first one (see `relabel.slices.frame_batches`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pyarrow as pa

from relabel.encoders.protocol import StagedEncoder
from relabel.frames.blank_cameras import Blanks
from relabel.frames.camera_frames import kept_files
from relabel.slices.frame_batches import (
    Chunk,
    Row,
    blanks,
    chunked,
    embed_prepared,
    joined_errors,
    prepare,
    rebatched,
)
from relabel.slices.profile import Profile
from relabel.slices.short_episodes import ShortEpisodes
from relabel.slices.streams import ordered_map, prefetch
from relabel.source.oddities import Oddities
from relabel.source.reasons import told
from relabel.source.source import Episode, Source
from schemas import fields
from schemas.dead_letters import DeadLetter, dead_letter_columns
from schemas.enums import CameraForm
from schemas.errors import EpisodeError, EpisodeFramesError, FrameError, StoreError
from schemas.manifests import EmbeddingManifest, EpisodesManifest, StepsManifest
from schemas.slice_writer import SliceWriter
from schemas.slices import Slice, TableFile
from schemas.store import Store, check_same_rows
from schemas.tables import (
    DEAD_LETTER_SCHEMA,
    FieldSpec,
    column,
    embedding_schema,
    episodes_schema,
    key_columns,
    metadata_row,
    steps_schema,
    vectors,
)
from schemas.text_fields import text_fields

_EPISODES_AHEAD = 4  # read while the encoder works
_BATCHES_AHEAD = 2  # decoded while the encoder works
_CHUNK_FRAMES = 16


SourceTable = StepsManifest | EpisodesManifest | EmbeddingManifest


def embed_slice(
    piece: Slice,
    *,
    source: Source,
    store: Store,
    tables: Sequence[SourceTable],
    encoder: StagedEncoder | None,
    batch_size: int,
    decode_threads: int,
    profile: Profile | None = None,
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
        decode_threads: threads that turn JPEG and PNG into the encoder's input.
        profile: told where the time goes.

    Returns:
        The slice with the files of all its tables, old and new, dead letters included.

    Raises:
        StoreError: the source's rows are not those of the steps table stored earlier.
    """
    kept = [file for table in tables for file in store.committed(table, piece)]
    done = {file.table for file in kept}
    missing = [table for table in tables if table.table not in done]
    if not missing:
        return piece.with_files(*kept)
    profile = Profile() if profile is None else profile
    with profile.stage("other"), ExitStack() as stack:
        job = _SliceJob(piece, store, missing, encoder, profile, stack)
        pool = stack.enter_context(ThreadPoolExecutor(decode_threads))
        read = profile.each("read", source.read(piece, job.source_columns(), job.cameras()))
        episodes = stack.enter_context(closing(prefetch(read, _EPISODES_AHEAD)))
        chunks = chunked(job.rows(episodes), batch_size, _CHUNK_FRAMES)
        ahead = _BATCHES_AHEAD * math.ceil(batch_size / _CHUNK_FRAMES) + decode_threads
        prepared = ordered_map(job.prepare, chunks, pool, ahead=ahead)
        for batch in profile.each("wait for frames", rebatched(prepared, batch_size)):
            job.embed(batch)
        with profile.stage("commit"):
            return piece.with_files(*kept, *job.commit())


class _SliceJob:
    """The open writers of one slice, and what came by so far."""

    def __init__(
        self,
        piece: Slice,
        store: Store,
        missing: Sequence[SourceTable],
        encoder: StagedEncoder | None,
        profile: Profile,
        stack: ExitStack,
    ) -> None:
        self._piece = piece
        self._store = store
        self._encoder = encoder
        self._profile = profile
        self._missing = missing
        self._embeddings = [t for t in missing if isinstance(t, EmbeddingManifest)]
        self._letters: dict[str, list[DeadLetter]] = {t.table: [] for t in missing}
        self._blanks: dict[str, list[pa.Array]] = {t.table: [] for t in self._embeddings}
        self._ids: list[str] = []  # of the episodes seen
        self._lengths: list[int] = []
        self._oddities = Oddities()
        self._texts = [field.name for field in text_fields(store.manifest)]
        self._writers: dict[str, SliceWriter] = {
            t.table: stack.enter_context(
                store.writer(t.table, piece, _schema(t, store), fingerprint=t.fingerprint)
            )
            for t in missing
        }

    def source_columns(self) -> list[str]:
        """Step features to parse: those that the store keeps, and the cameras needed."""
        manifest = self._store.manifest
        kept = (field.name for field in manifest.fields)
        return list(dict.fromkeys([*kept, *manifest.language_fields, *self.cameras()]))

    def cameras(self) -> dict[str, CameraForm]:
        """Features that are read as frames, and how they are stored."""
        manifest = self._store.manifest
        kept = (field.name for field in manifest.fields if field.kind == "image")
        return {
            **{name: manifest.camera_forms.get(name, CameraForm.IMAGE) for name in kept},
            **{table.camera: table.form for table in self._embeddings},
        }

    def rows(self, episodes: Iterable[Episode | DeadLetter]) -> Iterator[Row]:
        """Writes steps and episodes as they pass, and yields their frames."""
        for item in episodes:
            with self._profile.stage("write steps"):
                written = self._write_low_dimensional(item)
            if isinstance(written, DeadLetter):
                for letters in self._letters.values():
                    letters.append(written)
                continue
            cameras = [written.steps[e.camera] for e in self._embeddings]
            if cameras:
                for step, values in enumerate(zip(*cameras, strict=True)):
                    yield Row(written.id, step, values)

    def _write_low_dimensional(self, item: Episode | DeadLetter) -> Episode | DeadLetter:
        """Writes an episode whole, or not at all: then the dead letter says why.

        Whichever tables are to be written, so that all of them have the same episodes.
        """
        if isinstance(item, DeadLetter):
            return item
        try:
            columns = {"steps": self._steps_columns(item), "episodes": self._episode_columns(item)}
            Oddities().add(item, self._texts)
        except Exception as error:  # of one episode: no other is lost with it
            return DeadLetter(item.id, told(error))
        self._ids.append(item.id)
        self._lengths.append(item.length)
        self._oddities.add(item, self._texts)
        for table in columns.keys() & self._writers.keys():
            self._writers[table].write(columns[table])
        return item

    def _steps_columns(self, episode: Episode) -> list[pa.Array]:
        columns = [
            _converted(spec.name, partial(self._column, spec, episode.steps[spec.name]))
            for spec in self._store.manifest.fields
            if spec.kind != "image" or "steps" in self._writers
        ]
        return [*key_columns([episode.id], [episode.length]), *columns]

    def _episode_columns(self, episode: Episode) -> list[pa.Array]:
        manifest = self._store.manifest
        metadata = metadata_row(episode.metadata, manifest.metadata)
        language = episode.language(manifest.language_fields)
        row = [episode.id, episode.length, language, *metadata.values()]
        schema = episodes_schema(manifest.metadata)
        return [
            _converted(field.name, partial(pa.array, [value], field.type))
            for value, field in zip(row, schema, strict=True)
        ]

    def _column(self, spec: FieldSpec, values: Any) -> pa.Array:
        if spec.kind == "image":
            form = self._store.manifest.camera_forms.get(spec.name, CameraForm.IMAGE)
            values = kept_files(values, form)
        return column(spec, values)

    def prepare(self, rows: Sequence[Row]) -> Chunk:
        """Decodes and resizes every camera's images of some rows; called by the pool."""
        cameras = enumerate(self._embeddings)
        prepared = (
            prepare([row.values[i] for row in rows], t.form, self._image_encoder, self._profile)
            for i, t in cameras
        )
        return Chunk(rows, tuple(prepared))

    @property
    def _image_encoder(self) -> StagedEncoder:
        if self._encoder is None:
            raise ValueError("embeddings were asked for without an encoder")
        return self._encoder

    def embed(self, batch: Sequence[Chunk]) -> None:
        """Embeds one batch of every camera and writes it."""
        rows = [row for chunk in batch for row in chunk.rows]
        keys = [
            pa.array([row.episode_id for row in rows], pa.string()),
            pa.array([row.step for row in rows], pa.int32()),
        ]
        for position, table in enumerate(self._embeddings):
            parts = [chunk.cameras[position] for chunk in batch]
            errors = joined_errors(parts)
            letters = self._letters[table.table]
            for i, error in errors.items():
                letter = _dead_letter(rows[i], error, table.camera)
                if letter not in letters[-1:]:  # one for all steps of an episode
                    letters.append(letter)
            with self._profile.stage("embed"):
                embeddings = embed_prepared(parts, self._image_encoder)
            with self._profile.stage("write embeddings"):
                writer = self._writers[table.table]
                value_type = writer.schema.field(fields.EMBEDDING).type.value_type
                self._blanks[table.table].append(blanks(parts))
                seen = self._blanks[table.table][-1]
                writer.write([*keys, vectors(embeddings, value_type), seen])

    def commit(self) -> list[TableFile]:
        """Commits every table of the slice, its dead letters before the table itself."""
        self._check_rows()
        files: list[TableFile] = []
        for table in self._missing:
            name = table.table
            own = write_dead_letters(
                self._store, self._piece, name, self._letters[name], table.fingerprint
            )
            footer = self._oddities.metadata() if name == "steps" else None
            own.append(self._writers[name].commit(footer, figures=self._figures(table)))
            self._store.record(name, self._piece, own)
            files += own
        return files

    def _figures(self, table: SourceTable) -> str:
        """What the slice tells of a table."""
        if isinstance(table, EmbeddingManifest):
            seen = pa.chunked_array(self._blanks[table.table], pa.bool_())
            steps = key_columns(self._ids, self._lengths)[1]
            return Blanks.of(pa.table([steps, seen], [fields.STEP, fields.BLANK])).model_dump_json()
        if isinstance(table, StepsManifest):
            return self._oddities.model_dump_json()
        return ShortEpisodes.of(self._ids, self._lengths).model_dump_json()

    def _check_rows(self) -> None:
        """New tables beside an older steps table must have its rows."""
        if "steps" in self._writers:
            return
        names = [fields.EPISODE_ID, fields.STEP]
        stored = self._store.read_slices("steps", [self._piece], names)
        keys = pa.table(key_columns(self._ids, self._lengths), names=names)
        try:
            check_same_rows(stored, keys, f"steps and the source, {self._piece.name}")
        except StoreError as error:
            raise StoreError(
                f"{error}; records that could not be read when steps were made may be readable "
                "now: --retry-dead-letters makes such slices again"
            ) from error


def _dead_letter(row: Row, error: FrameError, camera: str) -> DeadLetter:
    step = None if isinstance(error, EpisodeFramesError) else row.step
    return DeadLetter(row.episode_id, str(error), step, camera)


def _converted(name: str, convert: Callable[[], pa.Array]) -> pa.Array:
    """A column, or the error that names it."""
    try:
        return convert()
    except Exception as error:  # whatever Arrow refuses
        raise EpisodeError(f"feature {name!r}: {told(error)}") from error


def _schema(table: SourceTable, store: Store) -> pa.Schema:
    if isinstance(table, EmbeddingManifest):
        return embedding_schema(table.encoder.dim, table.dtype)
    if isinstance(table, StepsManifest):
        return steps_schema(store.manifest.fields)
    return episodes_schema(store.manifest.metadata)


def write_dead_letters(
    store: Store, piece: Slice, stage: str, letters: Sequence[DeadLetter], fingerprint: str
) -> list[TableFile]:
    """Commits the dead letters of one slice of one table; no file if there are none."""
    table = f"dead_letters/{stage}"
    if not letters:
        store.discard(table, piece)  # of a source that was worse before
        return []
    with store.writer(table, piece, DEAD_LETTER_SCHEMA, fingerprint=fingerprint) as writer:
        writer.write(dead_letter_columns(letters, piece, stage))
        return [writer.commit()]
