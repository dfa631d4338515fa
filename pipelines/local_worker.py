"""A worker process of a local job: Beam's own, which leaves the terminal to its parent."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from typing import Final

# For a shell. The trap is there before Python is: a terminal sends Ctrl-C to every process.
COMMAND: Final = f"trap '' INT; exec {shlex.quote(sys.executable)} -m pipelines.local_worker"


def main() -> None:
    """Serves one job; how to reach it is in the environment, where Beam's main looks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    # Beam logs at every level until it has read its options; the parent is told all the same.
    logging.getLogger().addHandler(logging.NullHandler())
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
