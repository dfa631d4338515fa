"""Reading: low-dimensional RLDS steps, and decoding behind the reader.

    python -m benchmarks.reading [--quick] [--repeats N] [--out FILE]

**Steps.** `Source.read` with the low-dimensional columns, beside the loop that RLDS users write:

    for episode in tfds.builder_from_directory(d).as_dataset(split="train", decoders=...):
        for step in episode["steps"]:
            ...                                                   # its fields as NumPy values

The image stays undecoded there by `tfds.decode.SkipDecoding()`: `tfds.decode.PartialDecoding`,
which would leave it out, refuses features below a nested dataset such as `steps`. The loop also
runs through `tfds.as_numpy`. The last form is what a reader in a hurry does: `SkipDecoding` of the
steps, which come as one array per field and episode. All read the same files and give equal values,
which is checked once, and are set up once, outside the time.

**Frames.** `embed_slice` with an encoder that does nothing, so that what is left is reading,
decoding and writing the tables, beside the decoder alone: the same bytes, in memory already,
decoded by a pool of as many threads. Both take all cores.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    folder,
    interleaved,
    jpeg_source,
    medians,
    options,
    paired_ratio,
    seconds,
    show,
)
from relabel.frames.decoding import decode_frame
from relabel.jobs.options import EmbedOptions, JobOptions
from relabel.jobs.plans import plan_embedding
from relabel.slices.embed_slice import embed_slice
from relabel.source.source import Episode, Source
from relabel.testing import PixelMeanEncoder
from schemas.slices import Slice
from schemas.store import Store

CAMERA = "observation.image"
CORES = os.cpu_count() or 1
OURS = "Source.read"
CHUNK = 16  # frames that a thread of the decoder alone takes at once
SIZES = ((256, 256), (480, 640))

Columns = dict[str, np.ndarray]  # (T, *shape), by dotted name

# --- (a) low-dimensional steps


def ours(source: Source) -> Iterator[Columns]:
    """The low-dimensional steps of every episode."""
    names = [leaf.spec.name for leaf in source.columns]
    for piece in whole_shards(source):
        for item in source.read(piece, names):
            if isinstance(item, Episode):
                yield item.steps


def whole_shards(source: Source) -> list[Slice]:
    """One slice per shard."""
    lengths = source.spec.shard_lengths
    return [Slice(i, len(lengths), "train", i, 0, length) for i, length in enumerate(lengths)]


def dataset(directory: Path, decoders: Any) -> Any:
    """The episodes as TFDS gives them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(directory))
    return builder.as_dataset(split="train", decoders=decoders, shuffle_files=False)


def nested_loop(episodes: Any) -> Iterator[Columns]:
    """The same by TFDS, step by step."""
    for episode in episodes:
        steps = [low_dimensional(step) for step in episode["steps"]]
        yield {name: np.array([step[name] for step in steps]) for name in steps[0]}


def low_dimensional(step: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a step (or batch of steps) but its image, as NumPy values."""
    flat = {**step, **{f"observation.{k}": v for k, v in step["observation"].items()}}
    names = [name for name in flat if name not in ("observation", CAMERA)]
    return {name: getattr(flat[name], "numpy", lambda n=name: flat[n])() for name in names}


def undecoded_image() -> Any:
    """Decoders that leave the image as it is stored."""
    import tensorflow_datasets as tfds

    return {"steps": {"observation": {"image": tfds.decode.SkipDecoding()}}}


def undecoded_steps() -> Any:
    """Decoders that leave the steps of an episode together, as they are stored."""
    import tensorflow_datasets as tfds

    return {"steps": tfds.decode.SkipDecoding()}


def steps_per_s(read: Callable[[], Iterator[Columns]], least_s: float) -> float:
    """Rate over whole passes through the files, as many as take `least_s`."""
    found, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < least_s:
        for columns in read():
            found += len(columns["action"])
    return found / taken


def check_equal(left: Iterable[Columns], right: Iterable[Columns]) -> None:
    """Ends the run unless both have the same values under the same names."""
    for one, other in zip(left, right, strict=True):
        check(one.keys() == other.keys(), f"columns {sorted(one)} against {sorted(other)}")
        for name, values in one.items():
            check(np.array_equal(values, other[name]), f"{name} differs")


def check(holds: bool, problem: str) -> None:
    """Ends the run if what it compares is not the same work."""
    if not holds:
        raise SystemExit(f"error: {problem}")


def reading_cases(
    directory: Path, source: Source, least_s: float
) -> dict[str, Callable[[], float]]:
    """What is compared: ways to read the same steps. Each is set up once, outside the time."""
    import tensorflow_datasets as tfds

    episodes = dataset(directory, undecoded_image())
    whole = tfds.as_numpy(dataset(directory, undecoded_steps()))
    ways: dict[str, Callable[[], Iterator[Columns]]] = {
        OURS: lambda: ours(source),
        "tfds, step by step": lambda: nested_loop(episodes),
        "tfds.as_numpy, step by step": lambda: nested_loop(tfds.as_numpy(episodes)),
        "tfds, whole episodes": lambda: (low_dimensional(e["steps"]) for e in whole),
    }
    for way in ways.values():  # also warms up: files in memory, graphs traced
        check_equal(ours(source), way())
    return {name: partial(steps_per_s, way, least_s) for name, way in ways.items()}


# --- (b) reading and decoding


class IdleEncoder(PixelMeanEncoder):
    """Takes frames as they are, and embeds each as the same vector."""

    frames = 0

    def embed(self, parts: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """(N, 4) ones, at unit norm."""
        count = sum(map(len, parts))
        self.frames += count
        return np.full((count, 4), 0.5, np.float32)


def embed_rate(directory: Path, frames: int) -> float:
    """Frames per second of `embed_slice` over one slice, into a new store."""
    encoder = IdleEncoder()
    with folder() as place:
        what = EmbedOptions(
            source=str(directory),
            split="train",
            cameras=(CAMERA,),
            encoder=IdleEncoder,
            episodes_per_slice=frames,  # all
        )
        job = JobOptions(store=str(place / "store"))
        plan = plan_embedding(job, what, encoder.spec)
        store = Store.create(job.store, plan.store.manifest)
        for table in plan.tables:
            store.begin(table)
        (piece,) = store.slices
        taken = seconds(
            lambda: embed_slice(
                piece,
                source=Source.open(str(directory), "train"),
                store=store,
                tables=plan.tables,
                encoder=encoder,
                batch_size=what.batch_size,
                decode_threads=CORES,
            )
        )
    check(encoder.frames == frames, f"{encoder.frames} frames were embedded, expected {frames}")
    return frames / taken


def decoder_rate(images: Sequence[bytes]) -> float:
    """Frames per second of the decoder alone, on all cores."""
    chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    with ThreadPoolExecutor(CORES) as pool:
        return len(images) / seconds(lambda: sum(pool.map(decode_chunk, chunks)))


def decode_chunk(images: Sequence[bytes]) -> int:
    """Decodes, and lets the frames go."""
    for image in images:
        decode_frame(image)
    return len(images)


def frame_cases(directory: Path, size: tuple[int, int]) -> dict[str, Callable[[], float]]:
    """What is compared for one size of frame."""
    source = Source.open(str(directory), "train")
    (piece,) = whole_shards(source)
    episodes = [item for item in source.read(piece, [CAMERA]) if isinstance(item, Episode)]
    images = list(itertools.chain.from_iterable(item.steps[CAMERA] for item in episodes))
    return {
        embed(size): partial(embed_rate, directory, len(images)),
        alone(size): partial(decoder_rate, images),
    }


def embed(size: tuple[int, int]) -> str:
    """Name of our case."""
    return f"embed_slice, {told(size)}"


def alone(size: tuple[int, int]) -> str:
    """Name of the case that it is compared with."""
    return f"decoder alone, {told(size)}"


def told(size: tuple[int, int]) -> str:
    """A frame's size as people say it."""
    return f"{size[1]}x{size[0]}"


# --- together


def main() -> None:
    """Runs and prints both comparisons."""
    chosen = options(__doc__).parse_args()
    repeats = min(chosen.repeats, 2) if chosen.quick else chosen.repeats
    episodes, steps = (8, 50) if chosen.quick else (15, 400)  # below 16 episodes: one shard
    with folder() as place:
        low = jpeg_source(place / "low", episodes=episodes, steps=steps, size=SIZES[0])
        source = Source.open(str(low), "train")
        reading = interleaved(reading_cases(low, source, 0.2 if chosen.quick else 1.0), repeats)
        cases: dict[str, Callable[[], float]] = {}
        for size, length in zip(SIZES, (steps, steps // 2), strict=True):
            made = place / told(size)
            cases |= frame_cases(
                jpeg_source(made, episodes=episodes, steps=length, size=size), size
            )
        decoding = interleaved(cases, repeats)
    report(reading, decoding, chosen.out)


def report(
    reading: Mapping[str, Sequence[float]],
    decoding: Mapping[str, Sequence[float]],
    out: Path | None,
) -> None:
    """Prints rates and ratios."""
    pairs = {
        **{name: (reading, OURS, name) for name in reading},
        **{embed(size): (decoding, embed(size), alone(size)) for size in SIZES},
    }
    ratios = {name: paired_ratio(*pair) for name, pair in pairs.items()}
    rates = medians({**reading, **decoding})
    rows = [
        (name, f"{rate:,.0f}", f"{ratios[name]:.2f}" if name in ratios else "")
        for name, rate in rates.items()
    ]
    show(
        "Steps, then frames, per second; ours against each way of reading, and against the decoder",
        ("", "per second", "ratio"),
        rows,
        {"per_s": rates, "ratios": ratios, "decode_threads": CORES},
        out,
    )


if __name__ == "__main__":
    main()
