"""Engines that jobs are run on, to be compared: who carries the slices, and whom a test may kill.

A new engine is one more entry of `ENGINES`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipelines import jobs
from pipelines.local_worker import MODULE
from relabel.jobs.options import RunOptions
from relabel.jobs.work import Engine, in_this_process
from tests.pipelines import hosts, pools

ROOT = Path(__file__).parents[2]
_LOOK_S = 0.002
_WAIT_S = 60.0


@dataclass(frozen=True)
class Carrier:
    """An engine that is there."""

    run: RunOptions = field(default_factory=RunOptions)
    execute: Engine = jobs.with_beam
    # Worker processes; None: there is nobody to kill but the process that asks.
    workers: Callable[[], Sequence[psutil.Process]] | None = None
    goes_on: bool = False  # when a worker has died, without being asked again
    parts: int = 1  # of a job array, one after the other


@contextmanager
def alone() -> Iterator[Carrier]:
    """This process, without Beam."""
    yield Carrier(execute=in_this_process)


@contextmanager
def beam_in_process() -> Iterator[Carrier]:
    """Beam's FnApiRunner in this process."""
    yield Carrier()


@contextmanager
def three_parts() -> Iterator[Carrier]:
    """A job array of three parts, and `finish`, without any engine."""
    yield Carrier(execute=in_this_process, parts=3)


@contextmanager
def two_processes() -> Iterator[Carrier]:
    """Beam's FnApiRunner with two worker processes of ours."""
    yield Carrier(run=RunOptions(workers=2), workers=lambda: _children(MODULE))


@contextmanager
def dask() -> Iterator[Carrier]:
    """Beam on a Dask scheduler with two workers, each beneath a process that replaces it."""
    with ExitStack() as stack:
        scheduler = _python("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        stack.callback(_end, scheduler)
        address = _told(scheduler, "Scheduler at:")
        nannies = [
            _python("distributed.cli.dask_worker", address, "--nthreads", "1", "--name", str(name))
            for name in range(2)
        ]
        for nanny in nannies:
            stack.callback(_end, nanny)
            _told(nanny, "Registered to:")
        words = ("--runner", "dask", "--dask_client_address", address)
        yield Carrier(
            run=RunOptions(beam_args=words),
            workers=lambda: [w for nanny in nannies for w in _workers_of(nanny.pid)],
            goes_on=True,
        )


@contextmanager
def two_hosts() -> Iterator[Carrier]:
    """Beam's FnApiRunner with a worker on each of two hosts."""
    with hosts.hosts() as two:
        yield Carrier(execute=two.engine(), workers=pools.workers)


@contextmanager
def job_server() -> Iterator[Carrier]:
    """Beam's own job server, asked as those of Flink and Spark are, with a pool's worker."""
    with pools.pool(threads=False) as address:
        words = pools.job_server_words(address)
        yield Carrier(run=RunOptions(beam_args=words), workers=pools.workers)


ENGINES = {
    "in this process": alone,
    "Beam in this process": beam_in_process,
    "job array": three_parts,
    "two processes": two_processes,
    "Dask": dask,
    "two hosts": two_hosts,
    "a job server": job_server,
}


def _python(module: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *words, "--no-dashboard"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",  # nothing relative means the same here
    )


def _told(process: subprocess.Popen[str], label: str) -> str:
    """What a process of Dask logs behind a label; the rest of its log is read and dropped."""
    assert process.stderr is not None
    for line in process.stderr:
        if label in line:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return line.partition(label)[2].strip()
    raise AssertionError(f"{process.args}: ended with {process.wait()}")


def _end(process: subprocess.Popen[str]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _children(word: str, pid: int | None = None) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            if any(word in part for part in child.cmdline()):
                found.append(child)
    return found


def _workers_of(nanny: int) -> list[psutil.Process]:
    return _children("spawn_main", nanny)


class Killer:
    """Kills one worker as soon as it finds two slices of a table, with most still to come."""

    def __init__(self, carrier: Carrier, store: Path, table: str) -> None:
        self._carrier = carrier
        self._store = store
        self._table = table  # its name, or a pattern of it
        self.committed: int | None = None  # slices that were there when the worker was killed
        self._thread = threading.Thread(target=self._kill, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(_WAIT_S)

    def _slices(self) -> int:
        return len(list(self._store.glob(f"{self._table}/slice-*")))

    def _kill(self) -> None:
        assert self._carrier.workers is not None
        deadline = time.monotonic() + _WAIT_S
        while self._slices() < 2 and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        victim = self._carrier.workers()[0]
        victim.suspend()  # or it might do the rest while it is counted
        self.committed = self._slices()
        victim.kill()
