"""How a file of a store is written and committed: one slice of one table, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import fields
from schemas.checksums import checksums_of
from schemas.files import Folder
from schemas.slices import Slice, TableFile

ROW_GROUP_ROWS: Final = 4096
_ROW_GROUP_VALUES: Final = 1 << 20  # of vectors; wide rows come in fewer, so memory is bounded
_BATCH_VALUES: Final = 1 << 16  # encoded at a time; Arrow's 1,024 take a fifth to a third longer

_MOST_FIGURES: Final = 1024  # bytes of figures that travel with each of maybe 100,000 slices


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """How columns are written: the fastest that is not larger (benchmarks/table_size.py)."""
    # Vectors seldom repeat a value, and nobody skips row groups by their least component.
    scalars = [f.name for f in schema if not pa.types.is_fixed_size_list(f.type)]
    # Of a float the leading bytes are alike from row to row, the trailing ones noise.
    split = {"score.list.element": "BYTE_STREAM_SPLIT"} if fields.SCORE in schema.names else None
    return {
        # Random-looking bits of unit vectors do not shrink; all else does.
        "compression": "none" if fields.EMBEDDING in schema.names else "zstd",
        "write_batch_size": _BATCH_VALUES,
        "use_dictionary": scalars,
        "write_statistics": scalars,
        "column_encoding": split,
    }


def _row_group_rows(schema: pa.Schema) -> int:
    width = sum(int(f.type.list_size) for f in schema if pa.types.is_fixed_size_list(f.type))
    return max(1, min(ROW_GROUP_ROWS, _ROW_GROUP_VALUES // max(width, 1)))


class SliceWriter:
    """Writes one slice of one table in row groups of fixed length; commits it when whole.

    Leaving the block with an error, or without `commit`, leaves nothing behind. The rows may
    come in pieces of any length: the file's bytes depend on the rows alone.
    """

    def __init__(
        self, folder: Folder, table: str, piece: Slice, schema: pa.Schema, fingerprint: str
    ) -> None:
        self.rows = 0
        self.schema = schema
        self._folder = folder
        self._table = table
        self._piece = piece
        self._schema = schema.with_metadata({fields.FINGERPRINT: fingerprint.encode()})
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._group_rows = _row_group_rows(schema)

    def __enter__(self) -> Self:
        self._staged = self._folder.stage(f"{self._table}/{self._piece.file}")
        with self._writing():
            encoding = _encoding(self._schema)
            self._file = pq.ParquetWriter(self._staged.path, self._schema, **encoding)
        return self

    def _writing(self) -> AbstractContextManager[None]:
        name = f"{self._table}/{self._piece.file}"
        return self._folder.reaching(self._folder.join(name), "the disk fails")

    def write(self, columns: Sequence[pa.Array]) -> None:
        """Appends rows.

        Args:
            columns: arrays of equal length, in the order of the schema.
        """
        batch = pa.RecordBatch.from_arrays(list(columns), schema=self._schema)
        self.rows += batch.num_rows
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        while self._pending_rows >= self._group_rows:
            self._flush(self._group_rows)

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._pending, self._schema)
        with self._writing():
            self._file.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows or 1)
        self._pending = table.slice(rows).to_batches()
        self._pending_rows -= rows

    def commit(
        self, metadata: Mapping[bytes, bytes] | None = None, figures: bytes | str | None = None
    ) -> TableFile:
        """Gives the file its final name; nothing can be written afterwards.

        Args:
            metadata: for the footer, beside the fingerprint.
            figures: what it tells of the table, as JSON; left out if that is long.
        """
        text = figures.decode() if isinstance(figures, bytes) else figures
        short = text if text is not None and len(text) <= _MOST_FIGURES else None
        if self._pending_rows:
            self._flush(self._pending_rows)
        if metadata:
            self._file.add_key_value_metadata(dict(metadata))
        with self._writing():
            self._file.close()
            with self._staged.path.open("rb") as stream:
                sums = checksums_of(stream)
            size = self._staged.path.stat().st_size
        self._staged.commit()
        return TableFile(
            table=self._table,
            file=self._piece.file,
            rows=self.rows,
            bytes=size,
            sha256=sums.sha256,
            crc32c=sums.crc32c,
            figures=short,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            # What was written is dropped; a full disk refuses its end as it refused the rest.
            with suppress(OSError, pa.ArrowException):
                self._file.close()
        finally:
            self._staged.discard()
