"""Memory and time of `calibrate` on a store of many goals and frames, whose scores are drawn.

    python -m benchmarks.calibration [--frames 1000000] [--goals 1000] [--quick] [--out FILE]

A reward set is calibrated by four labels per goal, and by the truth of every frame. Each run is a
process of its own, which tells its peak resident memory itself (`VmHWM` of Linux). The store takes
some 4 bytes of disk for each frame and goal, and each run writes as much again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import folder, options, show
from benchmarks.memory import JOB
from benchmarks.simulated import LENGTH, simulated_store
from relabel.evaluation.evidence import of_field
from schemas.labels import Labels, write_labels
from schemas.store import Store

LABELS = 4  # per goal
DRAWS = 50  # of episodes, for intervals


def labels_of(store: Store, path: Path) -> None:
    """Four of each goal's frames, spread over its ranks, answered by the truth."""
    rows = []
    for frames in of_field(store, "v1", "truth"):
        order = np.argsort(-frames.score)
        ranks = np.geomspace(1, len(order), LABELS + 1)[1:].astype(int) - 1
        for place in order[ranks].tolist():
            episode = store.slices[0].episode_id(0).rpartition("/")[0]
            rows.append(
                (
                    f"{episode}/{frames.episode[place]}",
                    int(frames.step[place]),
                    frames.goal_id,
                    bool(frames.label[place]),
                )
            )
    write_labels(Labels.of_rows(rows), str(path))


def measured(store: Path, name: str, *words: str) -> dict[str, Any]:
    """Seconds, peak and result of one run."""
    command = ("calibrate", str(store), "--name", name, "--draws", str(DRAWS), "--trust", *words)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", JOB, *command], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"error: {done.stderr}")
    lines = done.stderr.splitlines()
    return {
        "seconds": seconds,
        "gb": int(lines[-1].split()[1]) * 1024 / 1e9,
        "lines_of_progress": len(lines) - 1,
        "told": done.stdout.splitlines()[0],
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
        store = simulated_store(place / "store", chosen.frames // LENGTH, chosen.goals, {"v1": 3.0})
        made = time.perf_counter() - began
        sys.stderr.write(f"made a store in {made:.0f} s\n")
        labels_of(store, place / "labels.parquet")
        ways = {
            "four labels per goal": ("--labels", str(place / "labels.parquet")),
            "every frame labelled": ("--labels-field", "truth"),
        }
        runs = {
            way: measured(place / "store", f"calibrated-{number}", *words)
            for number, (way, words) in enumerate(ways.items())
        }
    show(
        f"calibrate, {chosen.goals:,} goals, {chosen.frames:,} frames",
        ("labels", "seconds", "peak, GB", "lines of progress"),
        [(way, r["seconds"], r["gb"], r["lines_of_progress"]) for way, r in runs.items()],
        {"runs": runs, "made_s": made, "frames": chosen.frames, "goals": chosen.goals},
        chosen.out,
    )
    sys.stderr.write(json.dumps(runs) + "\n")


if __name__ == "__main__":
    main()
