"""Progress of a job on any runner, read off the files that appear in the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from schemas.commits import slice_rows
from schemas.errors import StoreError
from schemas.slices import Slice
from schemas.store import Store

_POLL_S: Final = 0.5  # between two looks, at least
_LOOKS: Final = 0.05  # share of the time that looking may take
_FEW: Final = 8  # slices that are looked up one by one, without a listing
_READ: Final = 64  # footers that a look reads at most


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    slices: int  # in the plan
    slices_done: int  # committed in every table that the job writes
    slices_new: int  # of these, by this run
    frames: int  # in the slices that this run has done; estimated while many appear at once
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
        slices: of the job; None: all of the store.
    """

    def __init__(
        self,
        store: Store,
        tables: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        slices: Sequence[Slice] | None = None,
    ) -> None:
        self._store = store
        self._tables = tables
        self._clock = clock
        planned = {piece.file for piece in (store.slices if slices is None else slices)}
        there = planned.intersection(*(store.folder.names(table) for table in tables))
        self._slices = len(planned)
        self._earlier = len(there)
        self._awaited = planned - there  # file names of the slices that are not done
        self._unread: list[str] = []  # of those that are done, without their rows
        self._new = 0
        self._frames = 0  # of those that were read
        self._began = clock()

    def look(self) -> Progress:
        """The state of the store now.

        Costs a listing of each table where many slices are awaited, and the footers of some that
        are new since; of the others the frames are estimated until a later look.
        """
        self._notice()
        self._read(_READ)
        return self._progress()

    def end(self) -> Progress:
        """As `look`, with the frames of every slice."""
        self._notice()
        self._read(len(self._unread))
        return self._progress()

    def _notice(self) -> None:
        appeared = self._appeared()
        self._unread += sorted(appeared)
        self._new += len(appeared)
        self._awaited -= appeared

    def _read(self, most: int) -> None:
        names, self._unread = self._unread[:most], self._unread[most:]
        if names:
            rows = slice_rows(self._store, self._tables[-1], names)
            self._frames += sum(rows[name] for name in names)

    def _progress(self) -> Progress:
        read = self._new - len(self._unread)
        return Progress(
            slices=self._slices,
            slices_done=self._earlier + self._new,
            slices_new=self._new,
            frames=round(self._frames * self._new / read) if read else 0,
            elapsed_s=self._clock() - self._began,
        )

    def _appeared(self) -> set[str]:
        """Slices that are committed in every table now."""
        names = set(self._awaited)
        for table in self._tables:
            names = self._among(names, table)
        return names

    def _among(self, names: set[str], table: str) -> set[str]:
        folder = self._store.folder
        if len(names) <= _FEW:
            return {name for name in names if folder.exists(f"{table}/{name}")}
        return names.intersection(folder.names(table))


@contextmanager
def watched(
    watch: Watch,
    show: Callable[[Progress], None],
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
) -> Iterator[None]:
    """Calls `show` now and then from a thread while the block runs, and once after it.

    Twice a second, or less often where a look takes long, as one at many slices or at an object
    store does: looking takes a twentieth of the time at most.

    Args:
        watch: looks.
        show: is told what it sees.
        clock: seconds; injected in tests.
        wait: for an event, so many seconds at most; injected in tests.
    """
    stopped = threading.Event()

    def look() -> None:
        with suppress(StoreError):  # it tells nothing of the job, which looks for itself
            show(watch.look())

    def poll() -> None:
        pause = _POLL_S
        while not wait(stopped, pause):
            began = clock()
            look()
            pause = max(_POLL_S, (clock() - began) / _LOOKS)

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        look()
