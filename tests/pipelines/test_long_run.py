"""Jobs of very many slices: what a slice leaves behind, and what it costs more than the first.

One episode of two frames a slice, all in one shard. The encoder looks at its process: what there is
at one slice is compared with what there was at an earlier one.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from benchmarks.long_run import relabel, tiny_source
from relabel.source import records
from relabel.testing import PixelMeanEncoder
from schemas import store as stores
from schemas.files import Folder

ALONE: Final = "LONG_JOB_ALONE"  # set in the environment of a process for one test
SLICES: Final = 302
POINTS: Final = (100, 200, 300)  # slices at which the process is looked at
WINDOW: Final = 20  # slices before each: what comes and goes is not there at all of them
MOST_BYTES: Final = 4000  # that a slice may leave behind: four files listed, some marks
ROOT: Final = Path(__file__).parents[2]
# Memory of ours. That of Beam, and of servers of other tests in the same process, is not.
OWN: Final = (
    tracemalloc.Filter(True, str(ROOT / "*")),
    tracemalloc.Filter(False, str(ROOT / ".venv" / "*")),
)
BY_TIME: Final = ("progress", "leases")  # threads that work by the clock, not by the slice

alone = pytest.mark.skipif(ALONE not in os.environ, reason="run by test_a_long_job_stays_as_it_is")


@dataclass(frozen=True)
class Sample:
    """The process, when a slice reached the encoder."""

    handles: int
    threads: int
    allocated: int  # bytes by code of ours, since tracing began
    calls: Counter[str]  # so far


class Probe(PixelMeanEncoder):
    """Looks at its process at and before some slices; traces memory from the first of them on."""

    def __init__(self, points: Sequence[int], calls: Counter[str]) -> None:
        super().__init__()
        self.samples: dict[int, Sample] = {}
        self._points = points
        self._counted = calls

    def encode_images(self, frames: Sequence[Any]) -> Any:
        """As ever, and one sample more."""
        number = len(self.calls) + 1
        if number == self._points[0]:
            gc.collect()
            tracemalloc.start()
        if any(0 <= point - number < WINDOW for point in self._points):
            self.samples[number] = self._sample(whole=number in self._points)
        return super().encode_images(frames)

    def _sample(self, whole: bool) -> Sample:
        process = psutil.Process()
        allocated = 0
        if whole:
            gc.collect()
            taken = tracemalloc.take_snapshot().filter_traces(OWN)
            allocated = sum(trace.size for trace in taken.traces)
        return Sample(process.num_fds(), process.num_threads(), allocated, self._counted.copy())

    def least(self, point: int, name: str) -> int:
        """Of a quantity, in the window before a point."""
        window = range(max(1, point - WINDOW + 1), point + 1)
        return min(int(getattr(self.samples[number], name)) for number in window)


class Leaky(Probe):
    """Keeps a handle, a thread, and more memory than is allowed, of every slice."""

    def __init__(self, points: Sequence[int], calls: Counter[str]) -> None:
        super().__init__(points, calls)
        self.kept: list[Any] = []

    def encode_images(self, frames: Sequence[Any]) -> Any:
        """As ever, and leaks."""
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        self.kept += [os.open(os.devnull, os.O_RDONLY), bytearray(MOST_BYTES)]
        return super().encode_images(frames)


def leaks(probe: Probe, first: int, last: int) -> set[str]:
    """What there is more of at the last slice than at the first."""
    grown = {n for n in ("handles", "threads") if probe.least(last, n) > probe.least(first, n)}
    more = probe.samples[last].allocated - probe.samples[first].allocated
    return grown | ({"memory"} if more > MOST_BYTES * (last - first) else set())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is listed, read and parsed from now on, by threads that work by the slice."""
    counted: Counter[str] = Counter()

    def counting(place: Any, name: str) -> None:
        real = getattr(place, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread().name not in BY_TIME:
                counted[name] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(place, name, call)

    for name in ("names", "read", "sha256", "crc32c", "checksums"):
        counting(Folder, name)
    for name in ("parse_manifest", "parse_store_manifest"):
        counting(stores, name)
    counting(records, "read_length")
    return counted


@pytest.mark.slow
def test_a_long_job_stays_as_it_is() -> None:
    """In a process of its own: what other tests left behind is none of its memory.

    Nor may any of their threads run when tracing ends: Python 3.11 can crash then
    (https://github.com/python/cpython/issues/128679). So it is not ended before the process.
    """
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*words, "-k", "alone", __file__],
        cwd=ROOT,
        env={**os.environ, ALONE: "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@alone
def test_alone_nothing_of_a_long_job_grows(tmp_path: Path, calls: Counter[str]) -> None:
    source = tiny_source(tmp_path / "1.0.0", SLICES, per_shard=SLICES)
    probe = Probe(POINTS, calls)
    relabel(source, tmp_path / "store", probe)
    first, middle, last = POINTS
    assert leaks(probe, first, last) == set()
    early, late = (
        probe.samples[b].calls - probe.samples[a].calls
        for a, b in ((first, middle), (middle, last))
    )
    headers = [counts.pop("read_length") for counts in (early, late)]
    assert sum(headers) <= (last - first) + SLICES  # its own of every slice, and a walk in all
    assert early == late
    assert not late.keys() & {"names", "parse_manifest", "parse_store_manifest"}


@alone
def test_alone_leaks_are_found(tmp_path: Path, calls: Counter[str]) -> None:
    points = (22, 42)
    probe = Leaky(points, calls)
    relabel(tiny_source(tmp_path / "1.0.0", 44, per_shard=44), tmp_path / "store", probe)
    assert leaks(probe, *points) == {"handles", "threads", "memory"}
