"""Peak memory of `relabel` and `score`: ten times the episodes, ten times the goals.

    python -m benchmarks.memory [--quick] [--repeats N] [--out FILE]

Every job is a process of its own with one worker, and tells its peak resident memory itself
(`VmHWM` of Linux: of this program, not of the process that started it). The slices of both
sources have equally many episodes of equal length; they are longer than the blocks of 4,096 rows
that are scored and written at once, but for `--quick`. The smaller source already has several.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.common import (
    TINY,
    folder,
    goals_file,
    interleaved,
    jpeg_source,
    medians,
    options,
    paired_ratio,
    show,
)

SIZE = (48, 48)  # of a frame; the larger source has many
PER_SLICE = 8  # episodes; as many as a shard of the source has
SLICES = 3  # of the smaller source
GOALS = 100  # of the smaller goal set
MORE = 10  # times the episodes, times the goals
CASES = {"": (1, 1), f", {MORE}x episodes": (MORE, 1), f", {MORE}x goals": (1, MORE)}

JOB = """
import sys
from vlm_relabel.cli.main import main

try:
    main()
finally:
    lines = open("/proc/self/status").read().splitlines()
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    sys.stderr.write(f"peak {peak}\\n")
"""
"""`vlm-relabel`; the last line on standard error is the peak in KiB."""


class Jobs:
    """Jobs over two sources and two goal sets; both come in the sizes 1 and MORE.

    Args:
        place: folder for everything.
        steps: frames per episode.
    """

    def __init__(self, place: Path, steps: int) -> None:
        self._place = place
        self._names = map("again-{}".format, itertools.count())
        self.frames = {size: SLICES * PER_SLICE * size * steps for size in (1, MORE)}
        for size, frames in self.frames.items():
            source = place / f"source-{size}"
            jpeg_source(source, episodes=frames // steps, steps=steps, size=SIZE, distinct=2048)
            goals_file(place / f"goals-{size}.yaml", GOALS * size)

    def relabel(self, episodes: int, goals: int) -> float:
        """Peak of `relabel` in GB, into a new store."""
        store = self._place / f"store-{episodes}-{goals}"
        shutil.rmtree(store, ignore_errors=True)
        source = ("--source", str(self._place / f"source-{episodes}"), "--camera", "image")
        sliced = ("--episodes-per-slice", str(PER_SLICE))
        return self._peak_gb("relabel", episodes, goals, *source, *sliced)

    def score(self, episodes: int, goals: int) -> float:
        """Peak of `score` in GB, of the embeddings that `relabel` left."""
        return self._peak_gb("score", episodes, goals, "--name", next(self._names))

    def _peak_gb(self, job: str, episodes: int, goals: int, *more: str) -> float:
        told = ("--store", str(self._place / f"store-{episodes}-{goals}"), "--encoder", TINY)
        given = ("--goals", str(self._place / f"goals-{goals}.yaml"), "--threads", "1", "--json")
        command = [sys.executable, "-c", JOB, job, *told, *given, *more]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"error: {job}: {done.stdout}{done.stderr}")
        frames = json.loads(done.stdout)["frames_new"]
        if frames != self.frames[episodes]:
            raise SystemExit(f"error: {job}: {frames} frames, expected {self.frames[episodes]}")
        return int(done.stderr.splitlines()[-1].split()[1]) * 1024 / 1e9


def main() -> None:
    """Runs and prints the comparison."""
    chosen = options(__doc__, repeats=2).parse_args()
    repeats = 1 if chosen.quick else chosen.repeats
    with folder() as place:
        jobs = Jobs(place, steps=10 if chosen.quick else 520)
        kinds = {"relabel": jobs.relabel, "score": jobs.score}
        if chosen.quick:
            del kinds["score"]
        found = interleaved(
            {
                job + of: partial(run, *sizes)
                for job, run in kinds.items()
                for of, sizes in CASES.items()
            },
            repeats,
        )
    ratios = {name: paired_ratio(found, name, name.partition(",")[0]) for name in found}
    peaks = medians(found)
    show(
        f"Peak memory; {jobs.frames[1]:,} frames and {GOALS} goals, unless told",
        ("job", "GB", "ratio"),
        [(name, f"{gb:.3f}", f"{ratios[name]:.3f}") for name, gb in peaks.items()],
        {"gb": peaks, "ratios": ratios, "frames": jobs.frames},
        chosen.out,
    )


if __name__ == "__main__":
    main()
