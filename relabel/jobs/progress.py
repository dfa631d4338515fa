"""Progress of a job on any runner, read off the files that appear in the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from schemas.errors import StoreError
from schemas.store import Store

_POLL_S: Final = 0.5


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    slices: int  # in the plan
    slices_done: int  # committed in every table that the job writes
    slices_new: int  # of these, by this run
    frames: int  # in the slices that this run has done
    elapsed_s: float

    @property
    def frames_per_s(self) -> float:
        """Frames per second since the job began."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at the pace so far; None before the first slice."""
        if not self.slices_new:
            return None
        return self.elapsed_s * (self.slices - self.slices_done) / self.slices_new


class Watch:
    """Counts the slices that are committed in all of some tables; reads each footer once.

    Args:
        store: where they appear.
        tables: of the job, in the order in which a slice's files are committed.
        clock: seconds; injected in tests.
    """

    def __init__(
        self, store: Store, tables: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._tables = tables
        self._clock = clock
        self._rows: dict[str, int] = {}  # by file name, of the slices done by this run
        self._earlier = self._committed()
        self._began = clock()

    def _committed(self) -> set[str]:
        names = [set(self._store.folder.names(table)) for table in self._tables]
        planned = {piece.file for piece in self._store.slices}
        return planned.intersection(*names)

    def look(self) -> Progress:
        """The state of the store now."""
        for name in self._committed() - self._earlier - self._rows.keys():
            self._rows[name] = self._store.rows(self._tables[-1], name)
        return Progress(
            slices=len(self._store.slices),
            slices_done=len(self._rows) + len(self._earlier),
            slices_new=len(self._rows),
            frames=sum(self._rows.values()),
            elapsed_s=self._clock() - self._began,
        )


@contextmanager
def watched(watch: Watch, show: Callable[[Progress], None]) -> Iterator[None]:
    """Calls `show` twice a second from a thread while the block runs, and once after it."""
    stopped = threading.Event()

    def look() -> None:
        with suppress(StoreError):  # it tells nothing of the job, which looks for itself
            show(watch.look())

    def poll() -> None:
        while not stopped.wait(_POLL_S):
            look()

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        look()
