"""`FinishTables`: manifests, once every slice is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam

from schemas.dead_letters import dead_ratio
from schemas.manifests import AnyTableManifest, RewardManifest
from schemas.slices import Slice, TableFile
from schemas.store import Store


def unchanged(store: Store, manifest: AnyTableManifest) -> AnyTableManifest:
    """For tables whose manifest says nothing that only their whole content tells."""
    return manifest


@dataclass(frozen=True)
class FinishJob:
    """Tables to complete, and how many dead letters they may have."""

    store: str
    tables: tuple[AnyTableManifest, ...]
    max_dead_ratio: float
    # Picklable; completes a manifest that lists its files.
    fill: Callable[[Store, AnyTableManifest], AnyTableManifest] = unchanged
    accepted: str | None = None  # reason of dead letters that do not count
    trust: bool = False  # what is read is not hashed


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

    Tables come after those that they are made of.

    Args:
        job: the tables.
        files: of all their slices, in any order.

    Yields:
        The names of the tables that are now complete.
    """
    store = Store.open(job.store, trust=job.trust)
    for table in job.tables:
        own = _files_of(table, files)
        letters = sum(file.rows for file in own if file.table == f"dead_letters/{table.table}")
        if letters and dead_ratio(store, table.table, own, job.accepted) > job.max_dead_ratio:
            continue
        if not _is_made_of_complete(table, store):
            continue
        listed = (*table.files, *own)  # a reward set brings its goals.parquet
        whole = table.model_copy(update={"files": listed, "dead_letters": letters})
        store.finish(job.fill(store, whole))
        yield table.table


def _is_made_of_complete(table: AnyTableManifest, store: Store) -> bool:
    """Rewards of embeddings that were refused are refused with them."""
    used = table.embeddings if isinstance(table, RewardManifest) else ()
    return all(store.is_complete(f"embeddings/{name}") for name in used)


def _files_of(table: AnyTableManifest, files: Iterable[TableFile]) -> tuple[TableFile, ...]:
    # A retried bundle reports its files twice, with the same bytes.
    distinct = {f for f in files if f.table in table.folders}
    return tuple(sorted(distinct, key=lambda f: (f.table != table.table, f.table, f.file)))
