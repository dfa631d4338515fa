"""A store that is checked, on screen: a bar per table on a terminal, a line per table anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vlm_relabel.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from schemas.verify import Problem, Show


def verified(location: str, as_json: bool) -> list[tuple[str, tuple[Problem, ...]]]:
    """What `verify` finds, table by table, each shown as it comes.

    Raises:
        StoreError: there is no store.
    """
    from vlm_relabel import checks

    each = console.show_nothing if as_json else console.show_table
    with checking(as_json) as show:
        return list(checks.verify(location, show=show, each=each).tables.items())


@contextmanager
def checking(as_json: bool) -> Iterator[Show]:
    """Whom to tell of every slice that is checked; shown on a terminal only, never with JSON."""
    bars = _TableBars()
    try:
        yield bars.show if console.ERR.is_terminal and not as_json else lambda *_: None
    finally:
        bars.stop()


class _TableBars:
    """One bar on standard error at a time; it is gone before anything else is printed."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def show(self, table: str, done: int, total: int) -> None:
        """Of one table; the last slice ends its bar."""
        if self._bar is None:
            self._bar = _bar(table, total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)
        if done == total:
            self.stop()

    def stop(self) -> None:
        """Takes the bar away, if there is one."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None


def _bar(table: str, total: int) -> Bar:
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(escape(table)), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # What goes to standard output stays there: it may be a file.
    bar = Progress(*columns, console=console.ERR, transient=True, redirect_stdout=False)
    bar.add_task("", total=total)
    return bar
