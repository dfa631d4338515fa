"""How soon the command line answers, and how soon a job has its first slice.

    python -m benchmarks.startup [--quick] [--repeats N] [--out FILE]

Seconds of fresh processes, in turns: Python alone, `vlm-relabel --help`, and `relabel` with the
shipped tiny encoder from its start until the rewards of its first slice, the last of that slice's
tables, are a committed file. A first turn is not counted (but for `--quick`), so the libraries'
files are in memory.

Then, of one more such job, what the time until the first slice is made of: moments noted as they
pass, in the process itself. Below it the packages whose import takes longest, each with its own
modules alone (`-X importtime`, which itself costs some time). Last, which commands load
TensorFlow: `--help`, `verify` and `score` must not.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    seconds,
    show,
)

COMMAND = str(Path(sys.executable).parent / "vlm-relabel")
POLL_S = 0.01
PACKAGES_SHOWN = 10

STAMPED = """
import functools, json, sys, time

stamps = [("process", float(sys.argv.pop(1))), ("Python", time.time())]


def stamp(name):
    stamps.append((name, time.time()))


def stamped(module, function, before=None, after=None):
    inner = getattr(module, function)

    @functools.wraps(inner)
    def outer(*args, **kwargs):
        if before:
            stamp(before)
        result = inner(*args, **kwargs)
        if after:
            stamp(after)
        return result

    setattr(module, function, outer)


import vlm_relabel.cli.main
stamp("import of the command line")
import vlm_relabel.jobs, pipelines.jobs
stamp("import of Beam, TFDS, pyarrow and more")
import relabel.encoders.open_clip
stamp("import of torch")
from relabel.encoders.open_clip_import import import_open_clip
import_open_clip()
stamp("import of open_clip")
import relabel.jobs.run, relabel.jobs.work, relabel.slices.embed_slice
stamped(relabel.jobs.run, "plan_embedding", "loading the encoder", "opening the source, planning")
stamped(relabel.jobs.run, "plan_scoring", after="goals: reading, embedding, planning")
stamped(pipelines.jobs, "run_pipeline", before="plans written")
embedding = relabel.slices.embed_slice  # whose function a worker imports when it opens
stamped(embedding, "embed_slice", "Beam: until a slice arrives", "first slice: embed")
stamped(relabel.jobs.work, "score_slice", "Beam: to the next stage", "first slice: score")
try:
    vlm_relabel.cli.main.main()
finally:
    names = [name for name, _ in stamps]
    stamps = stamps[: names.index("first slice: score") + 1]
    print(json.dumps(stamps))
"""
"""`vlm-relabel` that notes moments; arguments: when it was started, then the command's."""

LOADED = """
import sys
from vlm_relabel.cli.main import main

try:
    main()
finally:
    sys.stdout.write("\\ntensorflow" if "tensorflow" in sys.modules else "\\nnone")
"""


def finished(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A process that has ended well."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}: {done.stdout}{done.stderr}")
    return done


class Relabel:
    """The job that is started: two slices of one small source.

    Args:
        place: folder for everything.
    """

    def __init__(self, place: Path) -> None:
        self.store = place / "store"
        source = jpeg_source(place / "source", episodes=8, steps=25, size=(256, 256))
        self.goals = str(goals_file(place / "goals.yaml", 10))
        self.arguments = [
            *("relabel", "--source", str(source), "--camera", "image", "--encoder", TINY),
            *("--goals", self.goals, "--store", str(self.store), "--episodes-per-slice", "4"),
        ]

    def first_slice(self) -> float:
        """Seconds from the start of the process until the store has the rewards of a slice."""
        shutil.rmtree(self.store, ignore_errors=True)
        began = time.perf_counter()
        process = subprocess.Popen(
            [COMMAND, *self.arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not any(self.store.glob("rewards/*/slice-*.parquet")):
            if process.poll() is not None:
                raise SystemExit(f"error: relabel ended with {process.returncode}")
            time.sleep(POLL_S)
        taken = time.perf_counter() - began
        process.wait()
        return taken

    def parts(self) -> dict[str, float]:
        """Seconds of each part of the time until the first slice has its rewards."""
        shutil.rmtree(self.store, ignore_errors=True)
        command = [sys.executable, "-c", STAMPED, str(time.time()), *self.arguments, "--json"]
        stamps = json.loads(finished(command).stdout.splitlines()[-1])
        times = [moment for _, moment in stamps]
        return {name: at - last for (name, at), last in zip(stamps[1:], times, strict=False)}


def import_seconds() -> dict[str, float]:
    """Seconds that the modules of each package take by themselves, the longest first."""
    code = (
        "import vlm_relabel.jobs, pipelines.jobs, relabel.encoders.open_clip, "
        "relabel.encoders.open_clip_import as last; last.import_open_clip()"
    )
    told = finished([sys.executable, "-X", "importtime", "-c", code]).stderr
    found: Counter[str] = Counter()
    for own_us, module in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)", told, re.MULTILINE):
        found[module.partition(".")[0]] += int(own_us)
    return {package: own_us / 1e6 for package, own_us in found.most_common(PACKAGES_SHOWN)}


def loads_tensorflow(*arguments: str) -> bool:
    """Whether a command has TensorFlow loaded when it ends."""
    done = finished([sys.executable, "-c", LOADED, *arguments])
    return done.stdout.endswith("tensorflow")


def main() -> None:
    """Runs and prints everything."""
    chosen = options(__doc__).parse_args()
    repeats = 1 if chosen.quick else chosen.repeats
    with folder() as place:
        job = Relabel(place)
        cases: dict[str, Callable[[], float]] = {
            "python -c pass": partial(seconds, lambda: finished([sys.executable, "-c", "pass"])),
            "vlm-relabel --help": partial(seconds, lambda: finished([COMMAND, "--help"])),
            "relabel, first slice": job.first_slice,
        }
        for case in () if chosen.quick else cases.values():
            case()
        found = medians(interleaved(cases, repeats))
        parts = job.parts()
        imports = import_seconds()
        scoring = ("--encoder", TINY, "--goals", job.goals, "--name", "again")
        loaded = {
            "--help": loads_tensorflow("--help"),
            "verify": loads_tensorflow("verify", str(job.store)),
            "score": loads_tensorflow("score", "--store", str(job.store), *scoring),
        }
    report(found, parts, imports, loaded, chosen.out)


def report(
    found: Mapping[str, float],
    parts: Mapping[str, float],
    imports: Mapping[str, float],
    loaded: Mapping[str, bool],
    out: Path | None,
) -> None:
    """Prints everything as one table."""
    rows = [
        *found.items(),
        ("", ""),
        *((f"  {name}", taken) for name, taken in parts.items()),
        ("", ""),
        *((f"  import: {name}", taken) for name, taken in imports.items()),
        ("", ""),
        *((f"TensorFlow with {name}", "loaded" if yes else "no") for name, yes in loaded.items()),
    ]
    show(
        "Start-up",
        ("", "s"),
        [(name, v if isinstance(v, str) else f"{v:.2f}") for name, v in rows],
        {"s": found, "first_slice_s": parts, "imports_s": imports, "tensorflow": loaded},
        out,
    )


if __name__ == "__main__":
    main()
