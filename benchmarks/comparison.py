"""Memory and time of `compare` on a store of many goals and frames, whose scores are drawn.

    python -m benchmarks.comparison [--frames 1000000] [--goals 1000] [--quick] [--out FILE]

Two reward sets and a truth of all frames, simulated. The command runs in a process of its own,
which tells its peak resident memory itself (`VmHWM` of Linux). The store takes some 8 bytes of disk
for each frame and goal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import folder, options, show
from benchmarks.memory import JOB
from benchmarks.simulated import LENGTH, simulated_store

SKILLS = {"weak": 1.0, "strong": 2.0}


def measured(store: Path) -> dict[str, Any]:
    """Seconds, peak and result of one run."""
    words = ("compare", str(store), "--rewards", *SKILLS, "--labels-field", "truth", "--trust")
    began = time.perf_counter()
    command = [sys.executable, "-c", JOB, *words, "--out", str(store.parent / "out")]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    lines = done.stderr.splitlines()
    if done.returncode:
        raise SystemExit(f"error: {done.stderr}")
    found = json.loads((store.parent / "out" / "comparison.json").read_text())
    return {
        "seconds": seconds,
        "gb": int(lines[-1].split()[1]) * 1024 / 1e9,
        "lines_of_progress": len(lines) - 1,
        "average_precision": {
            f["rewards"]: f["value"] for f in found["average_precision"] if f["scope"] == "all"
        },
        "change": next(d for d in found["precision_differences"] if d["scope"] == "all"),
        "notes": found["notes"],
    }


def main() -> None:
    """Runs and prints."""
    parser = options(__doc__, repeats=1)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--goals", type=int, default=1000)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.frames, chosen.goals = 5000, 20
    with folder() as place:
        began = time.perf_counter()
        simulated_store(place / "store", chosen.frames // LENGTH, chosen.goals, SKILLS)
        made = time.perf_counter() - began
        sys.stderr.write(f"made a store in {made:.0f} s\n")
        runs = [measured(place / "store") for _ in range(chosen.repeats)]
    best = min(runs, key=lambda run: run["seconds"])
    show(
        f"compare, {len(SKILLS)} sets of {chosen.goals:,} goals, {chosen.frames:,} frames",
        ("seconds", "peak, GB", *best["average_precision"]),
        [(best["seconds"], best["gb"], *best["average_precision"].values())],
        {"runs": runs, "made_s": made, "frames": chosen.frames, "goals": chosen.goals},
        chosen.out,
    )


if __name__ == "__main__":
    main()
