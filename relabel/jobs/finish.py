"""Manifests, once every slice is committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from relabel.goal_datasets.statistics import with_statistics
from relabel.jobs.figures import with_figures
from relabel.jobs.sent import as_planned
from schemas.commits import commits
from schemas.dead_letters import dead_ratio
from schemas.goal_datasets import GoalDatasetManifest
from schemas.manifests import AnyTableManifest, RewardManifest
from schemas.slices import TableFile
from schemas.store import Store


@dataclass(frozen=True)
class FinishWork:
    """Tables to complete, and how many dead letters they may have."""

    store: str
    tables: tuple[AnyTableManifest, ...]  # as `to_send` makes them, or whole
    max_dead_ratio: float
    accepted: str | None = None  # reason of dead letters that do not count
    trust: bool = False  # what is read is not hashed


def finish_tables(work: FinishWork, files: Sequence[TableFile]) -> Iterator[str]:
    """Writes the manifest of every table whose dead letters are within the limit.

    Tables come after those that they are made of.

    Args:
        work: the tables.
        files: of their slices, in any order; receipts tell those of the others.

    Yields:
        The names of the tables that are now complete.
    """
    store = Store.open(work.store, trust=work.trust)
    for table in (as_planned(store, sent) for sent in work.tables):
        whole = with_files(table, _with_earlier(store, table, files))
        own = whole.files[len(table.files) :]
        accepted = work.max_dead_ratio
        if whole.dead_letters and dead_ratio(store, table.table, own, work.accepted) > accepted:
            continue
        if not _is_made_of_complete(table, store):
            continue
        store.finish(_with_content(store, whole))
        yield table.table


def _with_earlier(
    store: Store, table: AnyTableManifest, files: Iterable[TableFile]
) -> list[TableFile]:
    """The files of all slices of a table: those given, and those that were committed before."""
    own = _files_of(table, files)
    known = {file.file for file in own if file.table == table.table}
    others = [piece for piece in store.slices if piece.file not in known]
    earlier = commits(store, table, others) if others else ()
    return [*own, *(file for slice_files in earlier for file in slice_files)]


def with_files(table: AnyTableManifest, files: Iterable[TableFile]) -> AnyTableManifest:
    """The manifest of a table, with those of some files that are its own."""
    own = _files_of(table, files)
    letters = sum(file.rows for file in own if file.table == f"dead_letters/{table.table}")
    listed = (*table.files, *own)  # a reward set brings its goals.parquet
    return table.model_copy(update={"files": listed, "dead_letters": letters})


def _with_content(store: Store, manifest: AnyTableManifest) -> AnyTableManifest:
    """The manifest with what only the whole table tells: counts, statistics of a dataset."""
    if isinstance(manifest, GoalDatasetManifest):
        return with_statistics(store, manifest)
    return with_figures(store, manifest)


def _is_made_of_complete(table: AnyTableManifest, store: Store) -> bool:
    """Rewards of embeddings that were refused are refused with them."""
    used = table.embeddings if isinstance(table, RewardManifest) else ()
    return all(store.is_complete(f"embeddings/{name}") for name in used)


def _files_of(table: AnyTableManifest, files: Iterable[TableFile]) -> tuple[TableFile, ...]:
    # A retried bundle reports its files twice, with the same bytes.
    distinct = {f for f in files if f.table in table.folders}
    return tuple(sorted(distinct, key=lambda f: (f.table != table.table, f.table, f.file)))
