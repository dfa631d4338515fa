"""Two workers against one, on a job whose time goes into reading and decoding.

    python -m benchmarks.workers [--quick] [--repeats N] [--out FILE]

`vlm-relabel embed` with the shipped tiny encoder on 640x480 JPEG frames, each worker with one
native thread and one decoding thread. Two sizes of the same job are timed, in turns, from the
start of the process to its end. The second ratio is that of the differences between the sizes:
what happens once per job (imports, loading, starting workers) is taken off.

A worker is more than one thread: reading, embedding and writing go on beside its decoding. How
many cores one worker keeps busy limits what a second one can gain where cores are few, so it is
told as well, of the differences too.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.common import (
    TINY,
    folder,
    interleaved,
    jpeg_source,
    medians,
    options,
    paired_ratio,
    seconds,
    show,
)

SIZE = (480, 640)
STEPS = 40  # frames per episode
PER_SLICE = 4  # episodes; the smaller job has two slices for each of two workers
SMALL, LARGE, MORE = "small job", "large job", "difference"
WORKERS = {1: "1 worker", 2: "2 workers"}


def job(source: Path, workers: int) -> None:
    """Embeds a source into a store that is thrown away."""
    with folder() as place:
        command = [
            *(sys.executable, "-m", "vlm_relabel.cli.main", "embed", "--encoder", TINY, "--json"),
            *("--source", str(source), "--camera", "image", "--store", str(place / "store")),
            *("--episodes-per-slice", str(PER_SLICE), "--workers", str(workers)),
            *("--threads", "1", "--decode-threads", "1"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"error: {done.stdout}{done.stderr}")


class Processor:
    """Runs one job at a time, and remembers the processor time of each."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def job(self, name: str, source: Path, workers: int) -> float:
        """Wall time of a job."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken = seconds(partial(job, source, workers))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.seconds.setdefault(name, []).append(used)
        return taken


def differences(found: Mapping[str, Sequence[float]], workers: str) -> list[float]:
    """What the large job takes more than the small one, repeat by repeat."""
    pairs = zip(found[f"{workers}, {LARGE}"], found[f"{workers}, {SMALL}"], strict=True)
    return [large - small for large, small in pairs]


def main() -> None:
    """Runs and prints the comparison."""
    chosen = options(__doc__, repeats=3).parse_args()
    repeats = 1 if chosen.quick else chosen.repeats
    episodes = {SMALL: 16} if chosen.quick else {SMALL: 16, LARGE: 64}
    processor = Processor()
    with folder() as place:
        cases = {}
        for size, count in episodes.items():
            source = jpeg_source(place / size, episodes=count, steps=STEPS, size=SIZE)
            for workers, told in WORKERS.items():
                name = f"{told}, {size}"
                cases[name] = partial(processor.job, name, source, workers)
        found = interleaved(cases, repeats)
    report(found, processor.seconds, {size: n * STEPS for size, n in episodes.items()}, chosen.out)


def report(
    wall: Mapping[str, Sequence[float]],
    processor: Mapping[str, Sequence[float]],
    frames: Mapping[str, int],
    out: Path | None,
) -> None:
    """Prints times and ratios; those of the differences, unless there was one size only."""
    one, two = WORKERS.values()
    times, counts, busy = dict(wall), dict(frames), None
    if LARGE in frames:
        counts[MORE] = frames[LARGE] - frames[SMALL]
        used = differences(processor, one)
        times |= {f"{told}, {MORE}": differences(wall, told) for told in (one, two)}
        busy = paired_ratio({"used": used, "wall": times[f"{one}, {MORE}"]}, "used", "wall")
    found = medians(times)
    ratios = {size: paired_ratio(times, f"{one}, {size}", f"{two}, {size}") for size in counts}
    rows = [
        (
            f"{size}: {count:,} frames",
            *(f"{found[f'{told}, {size}']:.1f}" for told in (one, two)),
            *(f"{count / found[f'{told}, {size}']:.0f}" for told in (one, two)),
            f"{ratios[size]:.2f}",
        )
        for size, count in counts.items()
    ]
    if busy is not None:
        rows.append(("cores that one worker keeps busy", f"{busy:.2f}", "", "", "", ""))
    show(
        "Two workers against one: seconds, and frames per second",
        ("", f"{one} s", f"{two} s", "frames/s", "frames/s", "ratio"),
        rows,
        {"s": found, "ratios": ratios, "frames": counts, "cores_busy": busy},
        out,
    )


if __name__ == "__main__":
    main()
