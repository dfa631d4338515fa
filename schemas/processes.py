"""Which process wrote something, and whether it still runs."""

from __future__ import annotations

import hashlib
import os
import platform
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict

_PID_NAMESPACE: Final = "/proc/self/ns/pid"  # containers count their processes for themselves
_SAME_START_S: Final = 5.0  # the clock may have been set meanwhile


class ProcessName(BaseModel):
    """One process of one machine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    pid: int
    started: float  # seconds since 1970; a number may be given to another process later

    @classmethod
    def own(cls) -> ProcessName:
        """This process."""
        pid = os.getpid()
        return cls(host=host_name(), pid=pid, started=psutil.Process(pid).create_time())

    @property
    def runs(self) -> bool | None:
        """Whether it does; None: it is on another machine."""
        if self.host != host_name():
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def host_name() -> str:
    """Of this machine, and of the container on it."""
    try:
        container = os.stat(_PID_NAMESPACE).st_ino
    except OSError:
        return platform.node()
    return f"{platform.node()}-{container}"


def host_mark() -> str:
    """8 hexadecimal digits of `host_name`."""
    return hashlib.sha256(host_name().encode()).hexdigest()[:8]


def pid_runs(pid: int) -> bool:
    """Whether a process of this machine has this number and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
