"""Fuzzes a parser with atheris: inputs that reach new code are kept and changed further.

    python -m tests.fuzz TARGET [--runs 20000] [--seed 1] [--seconds 60]

What is found is written to `crash-…` in the present folder. Memory is bounded to 2 GB, one input
to 25 seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["schemas", "relabel", "offline_rl"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Runs; a finding ends it with an exit code that is not 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=20_000, help="inputs; default: 20,000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=60, help="at most; default: 60")
    options = parser.parse_args()
    target = TARGETS[options.target]
    with tempfile.TemporaryDirectory(prefix="vlm-relabel-corpus-") as folder:
        for place, seed in enumerate(target.seeds()):
            (Path(folder) / f"seed-{place}").write_bytes(seed)
        words = {
            "runs": options.runs,
            "seed": options.seed,
            "max_total_time": options.seconds,
            "max_len": 1 << 14,
            "rss_limit_mb": 2048,
            "timeout": 25,
        }
        flags = [f"-{key}={value}" for key, value in words.items()]
        atheris.Setup([sys.argv[0], *flags, folder], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
