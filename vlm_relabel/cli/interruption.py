"""Ctrl-C and SIGTERM: one line, exit code 130 or 143, at once.

Whatever runs, in whichever thread, is dropped where it stands: tables appear whole or not at
all, so the same command goes on from what is there. Unwinding instead would wait for threads and
worker processes, and would print what each of them has to say about it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, Final

# By signal: the exit code, and what is said. A shell takes 128 + the signal's number for it.
_HEEDED: Final = {
    signal.SIGINT: (130, "interrupted", "Interrupted"),
    signal.SIGTERM: (143, "terminated", "Terminated"),
}
_RESUMED: Final = ("relabel", "embed", "score", "build-goals", "train", "repair")
_MOST_BYTES: Final = 1 << 16  # of a list of children
_SHOW_CURSOR: Final = "\r\x1b[K\x1b[?25h"  # clears the line of a progress bar, which hides it


def listen() -> None:
    """Heeds both from now on; to be called by the main thread of a process of one command."""
    for number in _HEEDED:
        signal.signal(number, _leave)


def ignore() -> None:
    """Leaves both unheeded: the command is done, and the interpreter is about to end."""
    for number in _HEEDED:
        signal.signal(number, signal.SIG_IGN)


def message(words: list[str], what: str = "interrupted") -> str:
    """How to go on after an interruption.

    Args:
        words: of the command line, without the program's name.
        what: has happened.
    """
    if any(word in _RESUMED for word in words[:1]):
        return f"{what}; the same command resumes where it stopped"
    return f"{what}; nothing is half done, type the same command to start again"


def _leave(number: int, frame: Any) -> None:
    code, what, name = _HEEDED[signal.Signals(number)]
    words = sys.argv[1:]
    told = message(words, what)
    threading.excepthook = _unheard  # of Beam's threads, which lose their workers
    _end_workers()
    # Last of all, so that a progress bar is not drawn again below it.
    if "--json" in words:
        _write(1, json.dumps({"error": name, "message": told}) + "\n")
    _write(2, (_SHOW_CURSOR if os.isatty(2) else "") + told + "\n")
    os._exit(code)


def _unheard(problem: threading.ExceptHookArgs) -> None:
    """Says nothing of what ends a thread."""


def _write(descriptor: int, text: str) -> None:
    """Past Python's streams, whose locks another thread may hold."""
    try:
        os.write(descriptor, text.encode())
    except OSError:
        return  # nobody listens any more


def _end_workers() -> None:
    """Kills the worker processes, which would go on until they miss their parent."""
    try:
        processes = _descendants(os.getpid())
    except OSError:  # not Linux
        processes = _descendants_elsewhere()
    for process in processes:
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _descendants(process: int) -> list[int]:
    """Processes below one, by Linux's own lists.

    psutil would look at every process of the machine. Each call of the system gives other threads
    of this process their turn: where those are busy, a thousand calls take minutes.
    """
    found = []
    for task in os.listdir(f"/proc/{process}/task"):
        try:
            descriptor = os.open(f"/proc/{process}/task/{task}/children", os.O_RDONLY)
        except FileNotFoundError:
            if task == str(process):
                raise  # a kernel without these lists; any other task may have ended meanwhile
            continue
        try:
            children = [int(child) for child in os.read(descriptor, _MOST_BYTES).split()]
        finally:
            os.close(descriptor)
        for child in children:
            found.append(child)
            with suppress(OSError):  # it has ended meanwhile
                found += _descendants(child)
    return found


def _descendants_elsewhere() -> list[int]:
    try:
        import psutil

        return [child.pid for child in psutil.Process().children(recursive=True)]
    except Exception:  # what an import that was interrupted half-way raises; no worker runs yet
        return []
