"""`FinishTables`: manifests, once every slice is committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam

from schemas.dead_letters import dead_ratio
from schemas.manifests import AnyTableManifest
from schemas.slices import Slice, TableFile
from schemas.store import Store


@dataclass(frozen=True)
class FinishJob:
    """Tables to complete, and how many dead letters they may have."""

    store: str
    tables: tuple[AnyTableManifest, ...]
    max_dead_ratio: float


class FinishTables(beam.PTransform):  # type: ignore[misc]
    """Slices in, names of the tables that are now complete out."""

    def __init__(self, job: FinishJob) -> None:
        super().__init__()
        self._job = job

    def expand(self, slices: beam.PCollection[Slice]) -> beam.PCollection[str]:
        """Gathers the small slice descriptors in one place and writes the manifests."""
        return (
            slices
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Finish" >> beam.ParDo(_Finish(self._job)).with_output_types(str)
        )


class _Finish(beam.DoFn):  # type: ignore[misc]
    def __init__(self, job: FinishJob) -> None:
        self._job = job

    def process(self, slices: list[Slice]) -> Iterator[str]:
        files = [file for piece in slices for file in piece.files]
        yield from finish_tables(self._job, files)


def finish_tables(job: FinishJob, files: Sequence[TableFile]) -> Iterator[str]:
    """Writes the manifest of every table whose dead letters are within the limit.

    Args:
        job: the tables.
        files: of all their slices, in any order.

    Yields:
        The names of the tables that are now complete.
    """
    store = Store.open(job.store)
    for table in job.tables:
        own = _files_of(table.table, files)
        letters = sum(file.rows for file in own if file.table != table.table)
        if letters and dead_ratio(store, table.table, own) > job.max_dead_ratio:
            continue
        listed = (*table.files, *own)  # a reward set brings its goals.parquet
        store.finish(table.model_copy(update={"files": listed, "dead_letters": letters}))
        yield table.table


def _files_of(table: str, files: Iterable[TableFile]) -> tuple[TableFile, ...]:
    # A retried bundle reports its files twice, with the same bytes.
    distinct = {f for f in files if f.table in (table, f"dead_letters/{table}")}
    return tuple(sorted(distinct, key=lambda f: (f.table != table, f.file)))
