"""What the program `vlm-relabel` starts with: Ctrl-C is heeded before anything else is loaded."""

from __future__ import annotations

import json
import sys

from vlm_relabel import PROBLEM
from vlm_relabel.cli import interruption


def main() -> None:
    """Entry point of `vlm-relabel`."""
    if PROBLEM is not None:  # nothing else of ours can be trusted to load
        sys.exit(_show(PROBLEM))
    interruption.listen()
    from vlm_relabel.cli.main import main as program

    program()


def _show(problem: str) -> int:
    """Says why nothing can be done, as any error; the exit code."""
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": "ImportError", "message": problem}) + "\n")
    sys.stderr.write(f"error: {problem}\n")
    return 2


if __name__ == "__main__":
    main()
