"""What the program `vlm-relabel` starts with: Ctrl-C is heeded before anything else is loaded."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from vlm_relabel import PROBLEM
from vlm_relabel.cli import interruption


def main() -> None:
    """Entry point of `vlm-relabel`."""
    if PROBLEM is not None:  # nothing else of ours can be trusted to load
        sys.exit(_show(PROBLEM))
    interruption.listen()
    from vlm_relabel.cli.main import main as program

    try:
        program()
    except SystemExit as end:
        _leave(end.code)
    _leave(0)


def _leave(code: str | int | None) -> NoReturn:
    """Ends the process as Python does, but for threads of libraries that run on by themselves.

    Python ends such a thread in the middle of its C++ code when it next wants to run Python code;
    that now and then aborts a command that has done its work ("terminate called without an active
    exception", seen on a busy machine). So they are not waited for, nor ended one by one.
    """
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined]  # waits for those that are to be waited for
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone, or it is closed
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _show(problem: str) -> int:
    """Says why nothing can be done, as any error; the exit code."""
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": "ImportError", "message": problem}) + "\n")
    sys.stderr.write(f"error: {problem}\n")
    return 2


if __name__ == "__main__":
    main()
