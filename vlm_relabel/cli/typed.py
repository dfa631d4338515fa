"""The command line as tables keep it: how to make or resume them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_RECORDED: Final[ContextVar[str | None]] = ContextVar("recorded", default=None)


def command_line() -> str:
    """What was typed; while a recorded command runs again, that one."""
    return _RECORDED.get() or shlex.join(["vlm-relabel", *sys.argv[1:]])


@contextmanager
def recorded(command: str) -> Iterator[None]:
    """Runs the block as if `command` had been typed."""
    token = _RECORDED.set(command)
    try:
        yield
    finally:
        _RECORDED.reset(token)
