"""Kills commands at random moments and looks whether anything is lost.

    python -m tests.torture [--kills 100] [--seed 0] [--json OUT] [--commands embed train]

Each kill is a SIGKILL: of the whole job, of one of two worker processes, or of their parent. A
fifth of them comes while the command starts, the others while it works. After up to three of them
the same command has to finish with the bytes of an undisturbed run, leave no file and no process
behind, and `verify` has to find all well. Exit code 1 if anything is lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.torture.commands import COMMANDS
from tests.torture.trials import Tally, Torture, as_json


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [command.name for command in COMMANDS]
    parser.add_argument("--kills", type=int, default=100, help="default: 100")
    parser.add_argument("--seed", type=int, default=0, help="of moments and victims")
    parser.add_argument("--json", type=Path, help="file to write as well")
    parser.add_argument("--commands", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    chosen = [command for command in COMMANDS if command.name in options.commands]
    with tempfile.TemporaryDirectory(prefix="vlm-relabel-torture-") as folder:
        torture = Torture(Path(folder), options.seed, _say)
        tallies = torture.run(options.kills, chosen)
    _show(tallies)
    for loss in torture.losses:
        _say(f"lost: {loss}")
    if options.json is not None:
        told = {"seed": options.seed, "kills": as_json(tallies), "losses": torture.losses}
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    if torture.losses:
        raise SystemExit(1)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _show(tallies: Sequence[Tally]) -> None:
    table = Table()
    for column in ("command", "killed", "tried", "survived", "lost"):
        table.add_column(column, justify="left" if column in ("command", "killed") else "right")
    for tally in tallies:
        counts = (tally.tried, tally.survived, tally.lost)
        table.add_row(tally.command, tally.target, *map(str, counts))
    sums = (sum(getattr(t, key) for t in tallies) for key in ("tried", "survived", "lost"))
    table.add_row("all", "", *map(str, sums))
    Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
