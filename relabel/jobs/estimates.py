"""What a job will take, on one machine and on many: arithmetic on a measured sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

# Seconds before the first worker begins, as a rule of thumb; `start_seconds` replaces it.
ENGINES: Final[Mapping[str, float]] = {
    "job array": 0.0,
    "Beam on Dask": 0.0,
    "Beam on Dataflow": 240.0,
}
HERE: Final = "this machine"
WORKERS: Final = 8


@dataclass(frozen=True)
class EstimateOptions:
    """What is assumed, and how much is measured."""

    workers: int = WORKERS  # elsewhere, each on a machine like this one
    price_per_hour: float | None = None  # of one worker; None: no costs are told
    start_seconds: float | None = None  # until workers elsewhere begin; None: see `ENGINES`
    sample_slices: int = 2  # at least
    needed: bool = False  # without an estimate there is nothing to tell


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
    """What a job will take. Frames, bytes that are written and hours follow from the sample."""

    source: str
    slices: int  # that are not there yet
    episodes: int  # records in them; those that hold several episodes count as these
    read_bytes: int  # of the source; of a job that reads the store alone, of its tables
    sample_slices: int  # measured, in a temporary folder that is gone
    sample_frames: int
    sample_s: float
    load_s: float  # of each worker: libraries, encoder, planning
    frames: int
    store_bytes: int  # written
    threads: int  # of the sample
    engines: tuple[EngineEstimate, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Left:
    """What a job has to do."""

    source: str
    slices: int
    records: int
    read_bytes: int


@dataclass(frozen=True)
class Sample:
    """What was measured on a few of its slices."""

    slices: int
    records: int
    episodes: int  # of these records
    frames: int
    store_bytes: int
    seconds: float


def estimated(
    left: Left, sample: Sample, load_s: float, threads: int, wanted: EstimateOptions
) -> Estimate:
    """What the sample tells of the whole.

    Args:
        left: the whole.
        sample: of it, with a frame at least.
        load_s: seconds until a process begins with its first slice.
        threads: that a slice was given.
        wanted: what is assumed.
    """
    times = left.records / sample.records
    slice_s = sample.seconds * times / left.slices
    places = {HERE: (1, 0.0)}
    for name, start in ENGINES.items():
        told = wanted.start_seconds
        places[name] = (wanted.workers, start if told is None else told)
    engines = (
        _on(name, workers, start, load_s + math.ceil(left.slices / workers) * slice_s, wanted)
        for name, (workers, start) in places.items()
    )
    return Estimate(
        source=left.source,
        slices=left.slices,
        episodes=round(sample.episodes * times),
        read_bytes=left.read_bytes,
        sample_slices=sample.slices,
        sample_frames=sample.frames,
        sample_s=sample.seconds,
        load_s=load_s,
        frames=round(sample.frames * times),
        store_bytes=round(sample.store_bytes * times),
        threads=threads,
        engines=tuple(engines),
    )


def _on(
    engine: str, workers: int, start_s: float, busy_s: float, wanted: EstimateOptions
) -> EngineEstimate:
    hours = (start_s + busy_s) / 3600
    price = wanted.price_per_hour
    cost = None if price is None else workers * hours * price
    return EngineEstimate(engine=engine, workers=workers, start_s=start_s, hours=hours, cost=cost)
