"""What a job has to do of a store's slices, and who does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from relabel.jobs.finish import finish_tables
from relabel.jobs.options import JobOptions
from relabel.jobs.parts import OPTION, Part
from relabel.jobs.work import Engine, Work
from schemas.commits import uncommitted
from schemas.errors import RelabelError
from schemas.manifests import AnyTableManifest
from schemas.slices import Slice
from schemas.store import Store


def slices_of(store: Store, options: JobOptions) -> tuple[Slice, ...]:
    """The slices that a job is given, whether they are there or not."""
    return tuple(store.slices) if options.part is None else options.part.of(store.slices)


def slices_left(
    store: Store,
    tables: Sequence[AnyTableManifest],
    options: JobOptions,
    again: Sequence[Slice] = (),
) -> tuple[Slice, ...]:
    """Those of its slices that a job would do, by the names of the files that are there.

    Args:
        store: of the tables; it may not be there yet.
        tables: that are not complete.
        options: of the job.
        again: slices that are there and are to be made again.
    """
    if not tables:
        return ()
    there = set.intersection(*(_kept(store, table, options) for table in tables))
    there -= {piece.file for piece in again}
    return tuple(piece for piece in slices_of(store, options) if piece.file not in there)


def _kept(store: Store, table: AnyTableManifest, options: JobOptions) -> set[str]:
    """Names of the files of a table that the job leaves there."""
    is_replaced = options.overwrite and store.differences(table)
    return set() if is_replaced else set(store.folder.names(table.table))


def carry(
    work: Work,
    store: Store,
    pending: Sequence[AnyTableManifest],
    options: JobOptions,
    execute: Engine,
) -> Mapping[str, float]:
    """Does what is not committed yet; a part of a job leaves it to `finish` to end the tables.

    Args:
        work: of all slices that the job is given.
        store: of the tables.
        pending: tables that are not complete.
        options: of the job.
        execute: does it.

    Returns:
        As the engine does; {} if every slice was there.
    """
    left = uncommitted(store, pending, work.slices)
    finish = work.finish if options.part is None else replace(work.finish, tables=())
    if left:
        return execute(replace(work, slices=tuple(left), finish=finish), options.run)
    list(finish_tables(finish, ()))
    return {}


def check_passes(part: Part | None, needs_frames: bool) -> None:
    """Refuses a part of a `relabel` that can score no slice before all of them are embedded.

    Raises:
        RelabelError: goals are mined from the source, or made of frames.
    """
    if part is not None and needs_frames:
        raise RelabelError(
            f"{OPTION} {part}: goals of field:…, examples and heads are made when every slice has "
            f"been embedded; run `embed` with {OPTION}, then `finish`, then `score` with {OPTION}"
        )
