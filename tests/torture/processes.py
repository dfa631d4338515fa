"""A command as processes: started, watched, killed, and looked for afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from pipelines import local_worker
from tests.torture.commands import Target

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 120.0  # s; what takes longer hangs
_MARK: Final = "TORTURE_FAMILY"  # in the environment of a command and of all that it starts
_POLL: Final = 0.01  # s


@dataclass(frozen=True)
class Moment:
    """When to strike: at some part of the time until the first sign of work, or after that."""

    part: float  # in [0, 1)
    at_work: bool  # False: while the command starts


@dataclass
class Run:
    """One command under way, in its own session; its output goes to a file."""

    folder: Path
    words: list[str]
    log: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    worked_after: float | None = None  # s from the start to the first sign of work

    def __post_init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), _MARK: self.mark}
        self._seen = changes(self.folder)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.words,
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started = time.monotonic()

    def finish(self) -> int:
        """Waits for the end; the exit code.

        Raises:
            TimeoutError: it hangs.
        """
        try:
            while self.process.poll() is None:
                self._look()
                if self.elapsed > PATIENCE:
                    raise TimeoutError(f"ran for {PATIENCE:g} s; {self.told()}")
                time.sleep(_POLL)
        finally:
            if self.process.poll() is None:
                self.kill("job", random.Random(0))
        self._look()
        return self.process.returncode

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def wait_for(self, moment: Moment, start_s: float, work_s: float) -> bool:
        """Waits until it is time; False if the command has ended by then.

        Args:
            moment: to wait for.
            start_s: that the command takes until its first sign of work, undisturbed.
            work_s: from there to its end.
        """
        while self.process.poll() is None:
            self._look()
            began = self.worked_after if moment.at_work else 0.0
            if began is not None:
                length = work_s if moment.at_work else start_s
                if self.elapsed >= began + moment.part * length:
                    return True
            time.sleep(_POLL)
        return False

    def _look(self) -> None:
        if self.worked_after is None and changes(self.folder) != self._seen:
            self.worked_after = self.elapsed

    def kill(self, target: Target, rng: random.Random) -> bool:
        """SIGKILL; False if there was nothing to be killed any more."""
        if target == "parent":
            killed = [psutil.Process(self.process.pid)]
        elif target == "job":
            killed = self.family()
        else:
            killed = self._one_worker(rng)
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        return bool(killed)

    def _one_worker(self, rng: random.Random) -> list[psutil.Process]:
        """One of the worker processes, as soon as there is one."""
        while self.process.poll() is None:
            workers = [p for p in self.family() if local_worker.MODULE in _words(p)]
            if workers:
                return [rng.choice(workers)]
            time.sleep(_POLL)
        return []

    def family(self) -> list[psutil.Process]:
        """The command and everything that it started, its orphans too."""
        return [p for p in psutil.process_iter() if self._is_own(p)]

    def _is_own(self, process: psutil.Process) -> bool:
        try:
            own = process.environ().get(_MARK) == self.mark
            return own and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def survivors(self, patience_s: float) -> list[str]:
        """Processes that are there after so many seconds; they are killed then."""
        deadline = time.monotonic() + patience_s
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.1)
        told = [" ".join(_words(process))[:80] for process in left]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return told

    def told(self) -> str:
        """The end of what the command said."""
        return self.log.read_text(errors="replace")[-2000:]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def changes(folder: Path) -> dict[str, int]:
    """Every file below a folder, with the time of its last change."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # temporary files come and go
            if not path.is_dir():
                found[str(path)] = path.stat().st_mtime_ns
    return found
