"""`inspect` and `verify`: what a source is, and whether a store is what it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from schemas.extras import named_extras
from schemas.store import Store
from schemas.verify import Problem, Show, verify_store
from vlm_relabel.keywords import Location, several

if TYPE_CHECKING:
    from relabel.inspection.inspection import SourceReport


@named_extras("inspect")
def inspect(
    source: Location, *, exclude: str | Sequence[str] | None = None, keep_merged: bool = False
) -> SourceReport:
    """Looks at a source: splits, cameras, actions, texts, and what is unusual.

    Args:
        source: TFDS directory in RLDS form.
        exclude: patterns of features to leave out.
        keep_merged: keep a record of several episodes as one.

    Returns:
        What was found; `error` is set if it cannot be relabelled as it is.

    Raises:
        RelabelError: there is no such source.
    """
    from relabel.inspection.inspection import inspect_source  # TFDS, which `verify` does without

    return inspect_source(os.fspath(source), exclude=several(exclude), keep_merged=keep_merged)


class VerifyReport(BaseModel):
    """What is wrong with a store."""

    model_config = ConfigDict(frozen=True)

    store: str
    tables: dict[str, tuple[Problem, ...]]  # finished or not; (): all well

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of all tables."""
        return tuple(problem for found in self.tables.values() for problem in found)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def _silent(table: str, problems: Sequence[Problem]) -> None:
    """Shows nothing."""


def verify(
    store: Location,
    *,
    show: Show | None = None,
    each: Callable[[str, Sequence[Problem]], None] = _silent,
) -> VerifyReport:
    """Checks every manifest, checksum, row count, join, range and figure; changes nothing.

    Args:
        store: folder or URL.
        show: told of every slice that has been checked.
        each: told of every table that has been checked.

    Raises:
        StoreError: there is no store, or its own manifest cannot be read.
    """
    from relabel.jobs.figures import figure_problems

    location, found = os.fspath(store), {}
    opened = Store.open(location, trust=True)  # files are hashed before they are read for figures
    for table, problems in verify_store(opened, show):
        if not problems and opened.is_complete(table):
            texts = figure_problems(opened, opened.table_manifest(table))
            problems = [Problem(table=table, file=None, text=text) for text in texts]
        each(table, problems)
        found[table] = tuple(problems)
    return VerifyReport(store=location, tables=found)
