"""`plan`: what a job will take, by a measured sample of its slices, on one machine and on many."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import BaseModel, ConfigDict

from relabel.jobs import run
from relabel.jobs.options import EmbedOptions, JobOptions, RunOptions, ScoreOptions
from relabel.jobs.parts import Part
from relabel.jobs.plans import needs_frames
from relabel.jobs.report import JobReport
from relabel.jobs.work import Engine, Work, in_this_process
from schemas.errors import DeadLetterError
from schemas.slices import Slice

# Seconds before the first worker begins, as a rule of thumb; `start_seconds` replaces it.
ENGINES: Final[Mapping[str, float]] = {
    "job array": 0.0,
    "Beam on Dask": 0.0,
    "Beam on Dataflow": 240.0,
}
HERE: Final = "this machine"


@dataclass(frozen=True)
class EstimateOptions:
    """What is assumed, and how much is measured."""

    workers: int = 8  # elsewhere, each on a machine like this one
    price_per_hour: float | None = None  # of one worker; None: no costs are told
    start_seconds: float | None = None  # until workers elsewhere begin; None: see `ENGINES`
    sample_slices: int = 2


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineEstimate(_Model):
    """The job on one engine."""

    engine: str
    workers: int
    start_s: float  # assumed to pass before the first worker begins
    hours: float
    cost: float | None  # of all workers; None: no price was given


class Estimate(_Model):
    """What a job will take. All but the first five figures follow from the sample."""

    source: str
    slices: int
    episodes: int
    sample_slices: int  # measured, in a temporary folder that is gone
    sample_frames: int
    sample_s: float
    load_s: float  # of each worker: libraries, encoder, planning
    frames: int
    store_bytes: int
    threads: int  # of the sample
    engines: tuple[EngineEstimate, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Sample:
    """An engine that does a few slices and leaves the tables unfinished."""

    most: int
    slices: Sequence[Slice] = ()
    began: float = 0.0
    seconds: float = 0.0
    clock_started: float = field(default_factory=time.perf_counter)

    def execute(self, work: Work, options: RunOptions) -> Mapping[str, float]:
        self.slices = spread(work.slices, self.most)
        self.began = time.perf_counter()
        unfinished = replace(work.finish, tables=())
        in_this_process(replace(work, slices=tuple(self.slices), finish=unfinished), options)
        self.seconds = time.perf_counter() - self.began
        return {}


def spread(slices: Sequence[Slice], most: int) -> tuple[Slice, ...]:
    """So many slices at most, from all over the source.

    Example:
        >>> spread("abcdefgh", 2)
        ('c', 'g')
    """
    count = min(most, len(slices))
    return tuple(slices[(2 * place + 1) * len(slices) // (2 * count)] for place in range(count))


def estimate(
    embedding: EmbedOptions,
    scoring: ScoreOptions | None,
    wanted: EstimateOptions,
    threads: int | None = None,
) -> Estimate:
    """Plans a job over the whole source, and does a few slices of it in a temporary folder.

    Args:
        embedding: source, cameras and encoder.
        scoring: goals; None: frames are only embedded.
        wanted: what is assumed.
        threads: native ones of a worker; None: all cores.

    Raises:
        RelabelError: as the job itself.
        DeadLetterError: no frame of the sample can be read.
    """
    notes = []
    if scoring is not None and needs_frames(scoring):
        notes.append("goals of field:…, examples and heads need all frames: scoring is left out")
        scoring = None
    sample = _Sample(wanted.sample_slices)
    with tempfile.TemporaryDirectory(prefix="vlm-relabel-plan-") as folder:
        job = JobOptions(os.path.join(folder, "store"), threads=threads, part=Part(1, 1))
        engine = Engine("a sample", sample.execute)
        if scoring is None:
            done = run.embed(job, embedding, engine)
        else:
            done = run.relabel(job, embedding, scoring, engine)
    return _estimated(done, sample, wanted, job.worker_threads, notes)


def _estimated(
    done: JobReport,
    sample: _Sample,
    wanted: EstimateOptions,
    threads: int,
    notes: Sequence[str],
) -> Estimate:
    frames = done.frames_new
    if not frames:
        raise DeadLetterError(
            f"{done.source}: none of the frames of {len(sample.slices)} sampled slices can be "
            "read; look at them with `vlm-relabel inspect`, or give more --sample-slices"
        )
    seen = sum(piece.stop - piece.start for piece in sample.slices)
    times = done.episodes / seen
    load_s = sample.began - sample.clock_started
    slice_s = sample.seconds / seen * done.episodes / done.slices
    places = {HERE: (1, 0.0)}
    for name, start in ENGINES.items():
        places[name] = (
            wanted.workers,
            start if wanted.start_seconds is None else wanted.start_seconds,
        )
    engines = (
        _on(name, workers, start, load_s + math.ceil(done.slices / workers) * slice_s, wanted)
        for name, (workers, start) in places.items()
    )
    return Estimate(
        source=done.source,
        slices=done.slices,
        episodes=done.episodes,
        sample_slices=len(sample.slices),
        sample_frames=frames,
        sample_s=sample.seconds,
        load_s=load_s,
        frames=round(frames * times),
        store_bytes=round(sum(table.bytes for table in done.tables) * times),
        threads=threads,
        engines=tuple(engines),
        notes=tuple(notes),
    )


def _on(
    engine: str, workers: int, start_s: float, busy_s: float, wanted: EstimateOptions
) -> EngineEstimate:
    hours = (start_s + busy_s) / 3600
    price = wanted.price_per_hour
    cost = None if price is None else workers * hours * price
    return EngineEstimate(engine=engine, workers=workers, start_s=start_s, hours=hours, cost=cost)
