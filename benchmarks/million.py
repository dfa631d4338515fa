"""A million frames, a thousand goals: how long `score` takes, whole, and with how much memory.

    python -m benchmarks.million [--frames 1000000] [--goals 1000] [--threads 2] [--quick]

The store holds random unit embeddings of 512 values, float16, in slices of 20,000 frames. One job
takes the goals' embeddings from the store, as `score --no-embed` does; it writes a score and a
reward per frame and goal. A second one writes the rewards alone. Each runs in a process of its own;
the load of the machine before each is told beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from benchmarks.goals import stored_embeddings
from benchmarks.relabel import job
from relabel.encoders.stored_texts import StoredTexts
from relabel.jobs import run
from relabel.jobs.options import JobOptions, ScoreOptions
from relabel.testing import PixelMeanEncoder
from schemas.store import Store

DIM: Final = 512


class WideEncoder(PixelMeanEncoder):
    """Random unit embeddings of 512 values, the same for the same text."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = self.spec.model_copy(update={"dim": DIM, "name": "wide", "slug": "wide"})

    def embed(self, parts: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.float32]:
        """(n, 512), whatever the frames show."""
        frames = sum(map(len, parts))
        return _unit(np.random.default_rng(0).normal(size=(frames, DIM)))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, 512)."""
        seeds = [list(text.encode()) for text in texts]
        return _unit(np.stack([np.random.default_rng(seed).normal(size=DIM) for seed in seeds]))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def score(
    store: str, goals: str, name: str, scores: bool, threads: int
) -> tuple[float, float, int]:
    """Seconds of the whole job, processor seconds of all its threads, and bytes that it wrote."""
    what = ScoreOptions(StoredTexts("wide", "auto"), goals, name=name, scores=scores)
    began, busy = time.perf_counter(), time.process_time()
    done = run.score(JobOptions(store, threads=threads), what)
    took = time.perf_counter() - began
    return took, time.process_time() - busy, done.tables[-1].bytes


def prepared(folder: Path, frames: int, goals: int) -> tuple[str, str]:
    """A store of random embeddings that knows the texts of the goals."""
    source = common.jpeg_source(folder / "1.0.0", episodes=1, steps=4, size=(32, 32))
    file = common.goals_file(folder / "goals.yaml", goals)
    job(source, folder / "first", WideEncoder, file)
    stored_embeddings(folder / "store", Store.open(str(folder / "first")), frames)
    (folder / "first" / "text_embeddings").rename(folder / "store" / "text_embeddings")
    return str(folder / "store"), str(file)


def main() -> None:
    """Runs and prints."""
    parser = common.options(__doc__, repeats=1)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--goals", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    frames = 20_000 if options.quick else options.frames
    goals = 50 if options.quick else options.goals
    rows = []
    with common.folder() as folder:
        store, file = prepared(folder, frames, goals)
        for turn in range(options.repeats):
            for name, scores in (("scores and rewards", True), ("rewards alone", False)):
                load = os.getloadavg()[0]
                inputs = (store, file, f"r{turn}-{scores}", scores, options.threads)
                (took, busy, size), memory = common.measured(score, *inputs)
                rows.append((name, took, busy, frames / took, memory, size / 1e6, load))
    common.show(
        f"score of {frames:,} frames, {DIM} values, {goals:,} goals, {options.threads} threads",
        ("job", "seconds", "processor s", "frames/s", "MB added", "MB written", "load before"),
        rows,
        {"frames": frames, "goals": goals, "rows": rows},
        options.out,
    )


if __name__ == "__main__":
    main()
