"""`finish`: completes the tables whose slices are all there, whoever made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from relabel.jobs.collecting import CollectingRarely
from relabel.jobs.finish import FinishWork, finish_tables
from relabel.jobs.leases import leased
from relabel.jobs.parts import OPTION
from relabel.jobs.progress import Progress
from relabel.jobs.refusals import refuse_unfinished
from relabel.jobs.report import JobReport, report
from schemas.commits import commits
from schemas.dead_letters import EMPTY_IMAGE
from schemas.errors import StoreError
from schemas.manifests import AnyTableManifest
from schemas.store import Store

# Tables come after those that they are made of.
_ORDER: Final = ("steps", "episodes", "embeddings", "rewards", "goal_datasets")


@dataclass(frozen=True)
class FinishOptions:
    """What `finish` is asked for."""

    store: str
    max_dead_ratio: float = 0.0  # share of records that may be dead letters
    accept_empty: bool = False  # empty images do not count among them
    trust: bool = False  # of files that were touched, compare the sizes only
    command: str | None = None  # who holds the tables meanwhile


@CollectingRarely()
def finish(options: FinishOptions) -> JobReport:
    """Writes the manifest of every unfinished table whose slices are all there.

    Returns:
        The report on these tables; on all, if none was unfinished.

    Raises:
        StoreError: slices are missing; says which, and the command for them. Tables that lack
            none are complete all the same. Or those of complete tables are missing or of other
            sizes.
        DeadLetterError: more records were lost than is accepted.
    """
    store = Store.open(options.store, trust=options.trust)
    tables = [t for t in map(store.recorded, store.unfinished()) if t is not None]
    tables.sort(key=lambda table: (_ORDER.index(table.kind), table.table))
    with leased(store.folder, [table.table for table in tables], options.command):
        missing = [text for table in tables for text in _finish(table, store, options)]
    every = tables or [store.table_manifest(name) for name in store.tables()]
    nothing = Progress(len(store.slices), 0, 0, 0, 0.0)
    if missing:
        raise StoreError(f"{options.store}: slices are missing:\n  " + "\n  ".join(missing))
    done = report(store, every, nothing, [table.table for table in tables])
    refuse_unfinished(done, options.max_dead_ratio)
    return done


def _finish(table: AnyTableManifest, store: Store, options: FinishOptions) -> Iterator[str]:
    """Completes one table, or tells what it lacks."""
    found = list(commits(store, table, store.slices))
    whole = {files[-1].file for files in found}
    missing = [piece.file for piece in store.slices if piece.file not in whole]
    goals = store.beside(table)
    if missing or goals is None:
        lacks = f"{len(missing)} of {len(store.slices)}, such as {missing[0]}" if missing else ""
        command = table.command or "the program that began it"
        how = f"run, all at once or in parts with {OPTION} I/N"
        yield f"{table.table}: {lacks or 'its goals'}; {how}:\n    {command}"
        return
    work = FinishWork(
        options.store,
        (table.model_copy(update={"files": goals}),),
        options.max_dead_ratio,
        accepted=EMPTY_IMAGE if options.accept_empty else None,
        trust=options.trust,
    )
    list(finish_tables(work, [file for files in found for file in files]))
