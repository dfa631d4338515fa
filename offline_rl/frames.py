"""What a policy sees: columns of a store's frames as one array, in memory or memory-mapped."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from offline_rl.run_files import writing
from schemas import fields
from schemas.errors import StoreError
from schemas.manifests import EmbeddingManifest
from schemas.slices import Slice
from schemas.store import Store, check_same_rows
from schemas.tables import matrix

Floats = NDArray[np.float32]
EMBEDDING_PREFIX: Final = "embedding:"
_READERS: Final = min(4, os.cpu_count() or 1)  # slices read at once


class FrameColumns:
    """Names of observation columns, resolved to tables of a store.

    `observation.state` names a column of the steps table, `embedding:NAME` an embedding table,
    by its whole name or any beginning of it that fits only one.

    Args:
        store: of the frames.
        names: in the order in which they are put side by side.

    Raises:
        StoreError: a name that fits nothing, or several tables; lists what there is.
    """

    def __init__(self, store: Store, names: Sequence[str]) -> None:
        if not names:
            raise StoreError("observations: expected at least one column, got none")
        self._store = store
        self.names = tuple(names)
        self._tables = [_resolve(store, name) for name in names]

    @property
    def key(self) -> str:
        """Hash of the columns and of what their tables hold."""
        tables = [
            (table, column, self._store.table_manifest(table).fingerprint)
            for table, column in self._tables
        ]
        content = json.dumps([self._store.manifest.content, tables])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def widths(self) -> tuple[int, ...]:
        """Values per frame of each column."""
        return tuple(column_width(self._store, name) for name in self.names)

    def read(self, piece: Slice, out: Floats) -> pa.Table:
        """Reads one slice in one pass; its keys.

        Args:
            piece: the slice.
            out: (T, D) float32, filled; NaN where an embedding is missing.
        """
        keys = self._store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP])
        first = 0
        for (table, column), width in zip(self._tables, self.widths, strict=True):
            wanted = [fields.EPISODE_ID, fields.STEP, column]
            content = self._store.read_slices(table, [piece], wanted)
            check_same_rows(keys, content, f"steps and {table}, {piece.name}")
            as_matrix(content.column(column), out[:, first : first + width])
            first += width
        return keys


def _resolve(store: Store, name: str) -> tuple[str, str]:
    if name.startswith(EMBEDDING_PREFIX):
        return _embedding_table(store, name.removeprefix(EMBEDDING_PREFIX)), fields.EMBEDDING
    columns = [
        f.name
        for f in store.manifest.fields
        if f.kind == "tensor" and f.dtype != "object" and None not in f.shape
    ]
    if name not in columns:
        known = ", ".join([*columns, *(EMBEDDING_PREFIX + t for t in _embedding_names(store))])
        raise StoreError(f"{store.location}: no observation column {name!r}; there are {known}")
    return "steps", name


def whole_names(store: Store, names: Sequence[str], known: Sequence[str] = ()) -> tuple[str, ...]:
    """Observation columns by names that stay right when tables are added to the store.

    Args:
        store: of the columns.
        names: embedding tables may be abbreviated.
        known: whole names that the same names stood for earlier; they still do.

    Raises:
        StoreError: as `FrameColumns`.
    """
    if len(known) == len(names) and all(map(_stands_for, names, known)):
        return tuple(known)
    return tuple(_whole_name(*_resolve(store, name)) for name in names)


def _stands_for(name: str, whole: str) -> bool:
    return name == whole or (name.startswith(EMBEDDING_PREFIX) and whole.startswith(name))


def _whole_name(table: str, column: str) -> str:
    embedding = table.removeprefix("embeddings/")
    return column if embedding == table else EMBEDDING_PREFIX + embedding


def _embedding_names(store: Store) -> list[str]:
    return [t.removeprefix("embeddings/") for t in store.tables() if t.startswith("embeddings/")]


def _embedding_table(store: Store, beginning: str) -> str:
    known = _embedding_names(store)
    fitting = [name for name in known if name == beginning]
    fitting = fitting or [name for name in known if name.startswith(beginning)]
    if len(fitting) != 1:
        problem = "fits several tables" if fitting else "fits no table"
        raise StoreError(
            f"{store.location}: {EMBEDDING_PREFIX}{beginning} {problem}; there are "
            + (", ".join(fitting or known) or "none")
        )
    table = f"embeddings/{fitting[0]}"
    if not isinstance(store.table_manifest(table), EmbeddingManifest):
        raise StoreError(f"{store.location}/{table}: its manifest is of another kind")
    return table


def as_matrix(column: pa.ChunkedArray, out: Floats | None = None) -> Floats:
    """(T, N) float32 of a scalar or fixed-size list column; `out` is filled where it is given."""
    if pa.types.is_fixed_size_list(column.type):
        if out is not None and column.type.value_type == pa.float16():
            return _widened(column, out)
        return matrix(column, out=out)
    values: Floats = column.to_numpy().astype(np.float32).reshape(-1, 1)
    if out is None:
        return values
    out[:] = values
    return out


def _widened(column: pa.ChunkedArray, out: Floats) -> Floats:
    """`matrix` of float16 into `out`; torch widens eight times as fast as NumPy."""
    row = 0
    for chunk in column.chunks:
        part, values = out[row : row + len(chunk)], chunk.flatten()
        if values.null_count:
            matrix(chunk, out=part)
        else:
            with warnings.catch_warnings():  # Arrow's memory may not be written, nor is it
                warnings.filterwarnings("ignore", "The given NumPy array is not writable")
                stored = torch.from_numpy(values.to_numpy().reshape(part.shape))
            torch.from_numpy(part).copy_(stored)
        row += len(chunk)
    return out


class FrameTable:
    """All frames of a store as one array, with the place of each episode in it.

    Memory is that of the frames once, or nothing but pages in use with a cache folder.
    """

    def __init__(self, columns: FrameColumns, store: Store, cache: Path | None = None) -> None:
        self.columns = columns.names
        self._starts: dict[str, int] = {}
        self._lengths: dict[str, int] = {}
        # (F,) whether every value of a frame is a finite number
        self.finite: NDArray[np.bool_] = np.zeros(0, bool)
        self.values = self._load(columns, store, cache)

    @property
    def width(self) -> int:
        """D, values per frame."""
        return int(self.values.shape[1])

    def starts(self, episode_ids: pa.ChunkedArray) -> NDArray[np.int64]:
        """(R,) row of the first frame of each of R episodes."""
        places = pc.index_in(episode_ids, value_set=pa.array(list(self._starts), pa.string()))
        firsts = np.fromiter(self._starts.values(), np.int64)
        rows: NDArray[np.int64] = firsts[places.to_numpy()]
        return rows

    def ends(self, episode_ids: pa.ChunkedArray) -> NDArray[np.int64]:
        """(R,) row of the last frame of each of R episodes."""
        lengths = np.array([self._lengths[i] for i in episode_ids.to_pylist()], np.int64)
        ends: NDArray[np.int64] = self.starts(episode_ids) + lengths - 1
        return ends

    def length(self, episode_id: str) -> int:
        """Frames of an episode."""
        return self._lengths[episode_id]

    def _load(self, columns: FrameColumns, store: Store, cache: Path | None) -> Floats:
        rows = store.table_manifest("steps").rows
        path = None if cache is None else cache / f"frames-{columns.key}.npy"
        if path is not None and path.exists():
            self._place_episodes(store)
            self.finite = np.load(_finite_path(path), allow_pickle=False)
            return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        if not store.slices:
            raise StoreError(f"{store.location}: the store has no slices")
        values = _allocate(path, (rows, sum(columns.widths)))
        self.finite = np.empty(rows, bool)
        counts = [store.rows("steps", piece.file) for piece in store.slices]
        starts = list(itertools.accumulate(counts, initial=0))

        def read(place: int) -> pa.Table:
            part = values[starts[place] : starts[place + 1]]
            keys = columns.read(store.slices[place], part)
            np.isfinite(part).all(axis=1, out=self.finite[starts[place] : starts[place + 1]])
            return keys

        with ThreadPoolExecutor(_READERS) as pool:  # Arrow and NumPy let go of the interpreter
            for start, keys in zip(starts, pool.map(read, range(len(counts))), strict=False):
                self._note_episodes(keys, start)
        if path is not None:
            with writing(path):
                np.save(_finite_path(path), self.finite)  # first: with the values, all is there
        return _finished(values, path)

    def _place_episodes(self, store: Store) -> None:
        row = 0
        for piece in store.slices:
            keys = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP])
            self._note_episodes(keys, row)
            row += keys.num_rows

    def _note_episodes(self, keys: pa.Table, row: int) -> None:
        steps = keys.column(fields.STEP).to_numpy()
        firsts = np.flatnonzero(steps == 0)
        ids = keys.column(fields.EPISODE_ID).take(pa.array(firsts)).to_pylist()
        lengths = np.diff(np.append(firsts, len(steps)))
        for episode_id, first, length in zip(ids, firsts, lengths, strict=True):
            self._starts[episode_id] = row + int(first)
            self._lengths[episode_id] = int(length)


def _finite_path(path: Path) -> Path:
    return path.with_suffix(".finite.npy")


def _allocate(path: Path | None, shape: tuple[int, int]) -> Floats:
    if path is None:
        return np.empty(shape, np.float32)
    temporary = path.with_suffix(".tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            values: Floats = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
            _reserve(temporary)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    return values


def _reserve(path: Path) -> None:
    """Takes the room of a sparse file: a full disk would end the process when it is written to."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _finished(values: Floats, path: Path | None) -> Floats:
    if path is None:
        return values
    values.flush()  # type: ignore[attr-defined]
    path.with_suffix(".tmp").replace(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def column_width(store: Store, name: str) -> int:
    """Values per frame of one observation column."""
    table, column = _resolve(store, name)
    manifest = store.table_manifest(table)
    if isinstance(manifest, EmbeddingManifest):
        return manifest.encoder.dim
    spec = next(f for f in store.manifest.fields if f.name == column)
    return int(np.prod([d for d in spec.shape if d is not None]))
