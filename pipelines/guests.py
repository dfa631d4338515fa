"""Stages in processes that others have started, such as the workers of a Dask cluster.

Such a process sets a stage up for every task, serves one job after the other, may run several tasks
in threads, and may run on a machine that does not see what the submitter saw.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from relabel.jobs.work import EmbedWork, Stage, Worker
from schemas.errors import WorkerError
from schemas.locations import is_url, without_scheme
from schemas.store import Store

_KEPT_S: Final = 600.0  # that a stage stays open after its last task, if another one is opened

# The bytes of a slice depend on the threads it is given, whatever else the process is asked to do.
one_at_a_time: Final = threading.Lock()


@dataclass
class _Opened:
    worker: Worker
    used: float  # when, by time.monotonic


_OPENED: Final[dict[tuple[str, str], _Opened]] = {}  # by job and kind of stage
_OPENING: Final = threading.Lock()


@dataclass(frozen=True)
class Guest:
    """One job in the processes of others. A stage is opened once in each, for all of its tasks."""

    job: str = field(default_factory=lambda: uuid4().hex)

    def opened(self, stage: Stage) -> Worker:
        """The stage, opened by this process for this job.

        Raises:
            WorkerError: the process does not see what the stage works on.
        """
        key = (self.job, stage.counter)
        with _OPENING:
            now = time.monotonic()
            if key not in _OPENED:
                _forget(now)
                check_seen(stage)
                _OPENED[key] = _Opened(stage.open(), now)
            _OPENED[key].used = now
            return _OPENED[key].worker


def _forget(now: float) -> None:
    """Lets go of stages that were not used for long; one that is in use all the same lives on."""
    for key in [key for key, opened in _OPENED.items() if now - opened.used > _KEPT_S]:
        del _OPENED[key]


def check_seen(stage: Stage) -> None:
    """Refuses a stage whose files this process does not see, before it begins.

    Raises:
        WorkerError: a path is relative, or there is nothing; or the store there is another one.
    """
    who = f"the worker process {os.getpid()} on {socket.gethostname()}"
    for option, location in _places(stage):
        if is_url(location) and without_scheme(location) == location:
            continue
        path = Path(without_scheme(location))
        if not path.is_absolute():
            raise WorkerError(
                f"{option} {location}: expected an absolute path or a URL, got a relative path, "
                f"which means something else to {who}"
            )
        if not path.exists():
            raise WorkerError(
                f"{option} {location}: {who} sees nothing there; every worker needs it at the same "
                "path, as on a disk that they share, or at a URL such as s3://"
            )
    store = Store.open(stage.store)
    if unknown := [table for table in stage.written if store.recorded(table) is None]:
        raise WorkerError(
            f"--store {stage.store}: {who} sees another store there, without {unknown[0]}; every "
            "worker needs it at the same path, as on a disk that they share, or at a URL such as "
            "s3://"
        )


def _places(stage: Stage) -> Iterator[tuple[str, str]]:
    yield "--store", stage.store
    if isinstance(stage, EmbedWork):
        yield "--source", stage.source
        if stage.encoder is not None and (path := stage.encoder.path) is not None:
            yield "--encoder", path
