"""Runs every benchmark, one after the other, each in a process of its own.

python -m benchmarks            # quick: shows that all run; the figures mean little
python -m benchmarks --full     # as recorded in benchmarks/README.md; give it a quiet machine
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from schemas.locations import path_argument

RUNS = (
    ("reading",),
    ("digests",),
    ("relabel",),
    ("relabel", "--height", "480", "--width", "640"),
    ("relabel", "--encoder", "tiny"),
    ("run_inference",),
    ("run_inference", "--encoder", "tiny"),
    ("goals",),
    ("goals", "--encoder", "tiny"),
    ("memory",),
    ("workers",),
    ("startup",),
    ("table_size",),
    ("first_batch",),
    ("replay",),
    ("precision",),
    ("integrity",),
    ("long_run",),
    ("verifying",),
    ("many_slices",),
    ("million",),
    ("levers",),
    ("rewards",),
    ("calibration",),
    ("comparison",),
)


def main() -> None:
    """Runs them; exit code 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="full sizes and repeats")
    parser.add_argument(
        "--out", type=path_argument, default=Path("demo/bench"), help="folder of JSON files"
    )
    parser.add_argument("--only", nargs="*", help="names of benchmarks")
    options = parser.parse_args()
    failed = []
    for name, *words in RUNS:
        if options.only and name not in options.only:
            continue
        out = options.out / ("-".join([name, *(w.strip("-") for w in words)]) + ".json")
        size = [] if options.full else ["--quick"]
        command = [sys.executable, "-m", f"benchmarks.{name}", *words, *size, "--out", str(out)]
        sys.stdout.write(f"$ python {' '.join(command[1:])}\n")
        sys.stdout.flush()
        if subprocess.run(command, check=False).returncode:
            failed.append(" ".join([name, *words]))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
