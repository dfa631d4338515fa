"""A long job of many small slices: are memory, open files, threads and time per slice flat?

    python -m benchmarks.long_run [--slices 3000] [--quick] [--out FILE]

`relabel` in this process: one episode of two frames a slice, an encoder that takes no time. Each
slice is looked at when its frames reach the encoder; of every quantity the medians of the first
and of the last third of the slices are compared. The first tenth is left out: libraries are still
being loaded then. Exit code 1 if anything but the time grows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import tensorflow_datasets as tfds

from benchmarks import common
from pipelines import jobs
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from relabel.testing import PixelMeanEncoder, encoded_image, write_rlds

STEPS: Final = 2  # frames of an episode
PER_SHARD: Final = 50  # episodes
GOALS: Final = ("a red room", "a green room", "a blue room")
WARM: Final = 0.1  # share of the slices that come before anything is compared
MOST_KB_PER_SLICE: Final = 16.0  # growth that no slice may leave behind


@dataclass(frozen=True)
class Sample:
    """The process, as it was when a slice reached the encoder."""

    seconds: float
    memory_kb: float  # resident
    handles: float  # open files, sockets and the like
    threads: float


class ProbingEncoder(PixelMeanEncoder):
    """Looks at its process whenever it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[Sample] = []
        self._process = psutil.Process()

    def encode_images(self, frames: Sequence[Any]) -> Any:
        """As ever, and one sample more."""
        process = self._process
        with process.oneshot():
            memory = process.memory_info().rss / 1024
            threads = process.num_threads()
        sample = Sample(time.perf_counter(), memory, process.num_fds(), threads)
        self.samples.append(sample)
        return super().encode_images(frames)


def tiny_source(directory: Path, episodes: int, per_shard: int = PER_SHARD) -> Path:
    """Episodes of two frames of a few pixels."""
    features = tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(
                {
                    "image": tfds.features.Image(shape=(8, 8, 3)),
                    "action": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                    "is_first": np.bool_,
                    "is_last": np.bool_,
                }
            )
        }
    )
    rng = np.random.default_rng(0)
    images = [encoded_image(rng.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(64)]

    def episode(index: int) -> dict[str, Any]:
        return {
            "steps": [
                {
                    "image": images[(STEPS * index + step) % len(images)],
                    "action": np.zeros(2, np.float32),
                    "is_first": step == 0,
                    "is_last": step == STEPS - 1,
                }
                for step in range(STEPS)
            ]
        }

    whole, rest = divmod(episodes, per_shard)
    lengths = [per_shard] * whole + ([rest] if rest else [])
    made = (episode(index) for index in range(episodes))
    return write_rlds(directory, features, made, shard_lengths=lengths, name="tiny")


def relabel(source: Path, store: Path, encoder: PixelMeanEncoder, split: str = "train") -> None:
    """A slice per episode, in this process."""
    jobs.relabel(
        JobOptions(str(store), threads=1),
        EmbedOptions(
            str(source),
            split,
            cameras=("image",),
            encoder=lambda: encoder,
            episodes_per_slice=1,
            decode_threads=1,
        ),
        ScoreOptions(lambda: encoder, GOALS),
    )


@dataclass(frozen=True)
class Growth:
    """One quantity, in the first and in the last third."""

    name: str
    first: float
    last: float
    slices: int  # between the middles of the thirds

    @property
    def per_slice(self) -> float:
        """Growth that a slice leaves behind."""
        return (self.last - self.first) / self.slices


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Medians of the first and of the last third, time as seconds between two samples."""
    steady = samples[int(WARM * len(samples)) :]
    third = len(steady) // 3
    columns = dict(
        zip([f.name for f in fields(Sample)], zip(*map(astuple, steady), strict=True), strict=True)
    )
    columns["seconds"] = tuple(after - before for before, after in pairwise(columns["seconds"]))
    return [
        Growth(
            name, statistics.median(values[:third]), statistics.median(values[-third:]), 2 * third
        )
        for name, values in columns.items()
    ]


def problems(found: Sequence[Growth]) -> list[str]:
    """What grows and should not. Not the time: machines are noisy."""
    limits = {"memory_kb": MOST_KB_PER_SLICE, "handles": 0.01, "threads": 0.01}
    return [
        f"{growth.name} grows from {growth.first:g} to {growth.last:g}"
        for growth in found
        if growth.per_slice > limits.get(growth.name, float("inf"))
    ]


def main() -> None:
    """Runs and prints."""
    parser = common.options(__doc__, repeats=1)
    parser.add_argument("--slices", type=int, default=3000)
    options = parser.parse_args()
    slices = 60 if options.quick else options.slices
    encoder = ProbingEncoder()
    with common.folder() as folder:
        source = tiny_source(folder / "1.0.0", slices)
        relabel(source, folder / "store", encoder)
    found = growths(encoder.samples)
    common.show(
        f"{len(encoder.samples):,} slices, first and last third",
        ("median of", "first", "last", "ratio"),
        [(g.name, g.first, g.last, g.last / g.first) for g in found],
        {"slices": slices, **{g.name: [g.first, g.last] for g in found}},
        options.out,
    )
    if wrong := problems(found):
        raise SystemExit(f"error: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
