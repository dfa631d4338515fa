"""A worker process of a local job: Beam's own, which leaves the terminal to its parent.

It never outlives its parent: Beam's own loop would go on to ask for an address where nobody is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

MODULE: Final = "pipelines.local_worker"
_FOLDER: Final = Path(__file__).resolve().parents[1]  # of this distribution's packages
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); import schemas, relabel, pipelines.local_worker; "
    "del sys.path[0]; pipelines.local_worker.main()"
)
_LOOK_S: Final = 0.5  # between two looks for the parent


def command() -> str:
    """For a shell: starts a worker of this process.

    The trap is there before Python is: a terminal sends Ctrl-C to every process, and what ends a
    whole group sends SIGTERM.
    """
    # -P: the working directory is not searched first, where a module may have the name of one of
    # ours. `main` searches it last, for an encoder or a reward of the user's own.
    words = [sys.executable, "-P", "-c", _START, str(_FOLDER), MODULE, str(os.getpid())]
    return f"trap '' INT TERM; exec {shlex.join(words)}"


def main() -> None:
    """Serves one job; how to reach it is in the environment, where Beam's main looks."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent ends its workers
    parent = int(sys.argv[-1])
    del sys.argv[1:]
    sys.path.append(os.getcwd())
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    # Beam logs at every level until it has read its options; the parent is told all the same.
    logging.getLogger().addHandler(logging.NullHandler())
    from apache_beam.runners.worker import sdk_worker_main

    # Beam prints what a slice raised, besides telling the parent.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        sdk_worker_main.main(sys.argv)


def _end_with(parent: int) -> None:
    """Ends this process as soon as its parent has; what it was writing has no final name yet."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    main()
