"""Why a job fails though it has come to its end: tables that it could not complete."""

from __future__ import annotations

import shlex
from typing import Final

from relabel.jobs.report import JobReport
from schemas.errors import DeadLetterError, StoreError

_SHOWN: Final = 3  # examples


def refuse_unfinished(done: JobReport, accepted: float) -> None:
    """Refuses a job that has left tables unfinished.

    Args:
        done: what it did.
        accepted: share of records that may be dead letters.

    Raises:
        StoreError: as `refuse_damaged`; a table waits for one that is not there.
        DeadLetterError: too much of a table is missing; says how much, with examples.
    """
    refuse_damaged(done)
    _refuse_dead_letters(done, accepted)
    if done.unfinished:
        names = ", ".join(table.table for table in done.unfinished)
        raise StoreError(
            f"{done.store}: cannot be completed: {names}; expected whole tables that they are made "
            f"of, got none; {_repair(done)} makes again what is missing"
        )


def refuse_damaged(done: JobReport) -> None:
    """Refuses complete tables whose slices are not what their manifests list.

    Raises:
        StoreError: names the tables and slices.
    """
    lines = []
    for table in done.tables:
        lines += [f"{table.table}/{damage}" for damage in table.damages[:_SHOWN]]
        if (more := len(table.damages) - _SHOWN) > 0:
            lines.append(f"{table.table}: {more} more")
    if lines:
        raise StoreError(
            f"{done.store}: slices of complete tables are missing or damaged:\n  "
            + "\n  ".join(lines)
            + f"\n{_repair(done)} makes them again"
        )


def _refuse_dead_letters(done: JobReport, accepted: float) -> None:
    refused = [table for table in done.unfinished if table.dead_letters]  # others wait for these
    if not refused:
        return
    lines = [
        f"{table.table}: {table.dead_letters} dead letter{'s' * (table.dead_letters != 1)} "
        f"beside {table.rows} rows"
        for table in refused
    ]
    examples = dict.fromkeys(example for table in refused for example in table.examples)
    raise DeadLetterError(
        "more records could not be processed than --max-dead-ratio "
        f"{accepted:g} accepts:\n  "
        + "\n  ".join([*lines, "such as", *list(examples)[:_SHOWN]])
        + f"\nall of them are in {done.store}/dead_letters; once the source is mended, the "
        "same command reads them again; to accept them, run it with a higher --max-dead-ratio: "
        "nothing is computed twice"
    )


def _repair(done: JobReport) -> str:
    return f"`{shlex.join(['vlm-relabel', 'repair', done.store])}`"
