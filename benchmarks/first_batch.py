"""Seconds from `Store.open` to the first training batch, of a million frames and 100 goals.

    python -m benchmarks.first_batch [--quick] [--repeats N] [--out FILE] [--profile]

A store of made-up embeddings (512 values of float16 per frame) is written and scored for 100
goals, and `build-goals` makes a goal dataset of it. Then, in turns, the dataset is
opened, its replay buffer is made, and a batch of 256 is drawn:

- "in memory": frames are read into memory, as `train` does by default.
- "cache, written": with a cache folder that is empty, so the frames are written to it.
- "cache, mapped": with the cache folder of such a run.

"cold" is after the system was told to drop the store's files, and the cache's, from its page
cache; otherwise they are in memory. For scale: reading the embedding column as it is, and nothing
else. `--profile` prints where the time of the first two goes.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.common import (
    folder,
    goals_file,
    interleaved,
    medians,
    options,
    paired_ratio,
    seconds,
    show,
)
from benchmarks.table_size import (
    DIM,
    GOALS,
    STEPS,
    MadeUpEncoder,
    empty_store,
    films,
    keys_of,
    score,
    write_embeddings,
    write_table,
)
from offline_rl.dataset import GoalDataset, View
from pipelines import jobs
from relabel.jobs.options import GoalDatasetOptions, JobOptions
from schemas import fields
from schemas.goal_datasets import Split
from schemas.manifests import EpisodesManifest, StepsManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import FieldSpec, column, episodes_schema, steps_schema

BATCH = 256
PER_SLICE = 500  # episodes
COLUMNS = (
    FieldSpec(name="action", kind="tensor", dtype="float32", shape=(7,)),
    FieldSpec(name=fields.IS_TERMINAL, kind="tensor", dtype="bool"),
    FieldSpec(name="observation.state", kind="tensor", dtype="float32", shape=(8,)),
)
VIEW = View(observations=(f"embedding:{MadeUpEncoder.spec.slug}",))
FLOOR, MEMORY, WRITTEN, MAPPED = "embeddings read", "in memory", "cache, written", "cache, mapped"


def made_up_store(place: Path, episodes: int) -> Store:
    """A store with steps, episodes, embeddings, rewards `v1` and the dataset `gc1`."""
    store = empty_store(place / "store", episodes, PER_SLICE, COLUMNS)
    own = {"source_fingerprint": store.manifest.source.fingerprint}
    write_table(store, StepsManifest(**own), steps_schema(COLUMNS), steps_of)
    write_table(store, EpisodesManifest(**own), episodes_schema(()), episodes_of)
    walked = films(PER_SLICE, seed=0)  # in every slice the same: nobody looks at them
    write_embeddings(store, lambda piece: walked[: (piece.stop - piece.start) * STEPS])
    score(store, goals_file(place / "goals.yaml", GOALS), "v1", scores=False)
    jobs.build_goals(JobOptions(store.location), GoalDatasetOptions("gc1"))
    return store


def steps_of(piece: Slice) -> list[pa.Array]:
    """The columns of the steps table."""
    keys = keys_of(piece)
    rng, rows = np.random.default_rng(piece.index), len(keys[0])
    last = np.arange(1, rows + 1) % STEPS == 0
    values = (rng.normal(size=(rows, 7)), last, rng.normal(size=(rows, 8)))
    columns = (
        column(spec, value.astype(spec.dtype)) for spec, value in zip(COLUMNS, values, strict=True)
    )
    return [*keys, *columns]


def episodes_of(piece: Slice) -> list[pa.Array]:
    """The columns of the episodes table."""
    ids = [piece.episode_id(index) for index in range(piece.start, piece.stop)]
    lengths = pa.array([STEPS] * len(ids), pa.int32())
    return [pa.array(ids), lengths, pa.nulls(len(ids), pa.string())]


def first_batch(location: str, cache: Path | None = None) -> None:
    """Opens the dataset and draws one batch."""
    dataset = GoalDataset(Store.open(location), "gc1")
    replay = dataset.replay(Split.TRAIN, VIEW, cache=cache)
    batch = replay.sample_transition_batch(BATCH)
    if batch.observations.shape != (BATCH, 2 * DIM):  # the frame, and the goal behind it
        raise SystemExit(f"error: observations of shape {batch.observations.shape}")


def forget(*folders: Path) -> None:
    """Drops files from the page cache."""
    for path in (path for place in folders for path in place.rglob("*") if path.is_file()):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)  # what is not on the disk yet cannot be dropped
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def timed(work: Callable[[], object], *before: Callable[[], object]) -> float:
    """Seconds of some work; not of what must be done before it."""
    for step in before:
        step()
    return seconds(work)


def cases(store: Store, cache: Path) -> dict[str, Callable[[], float]]:
    """What is timed, by name; a cache is written before it is mapped."""
    (embeddings,) = store.embeddings()
    drop = partial(forget, Path(store.location), cache)
    empty = partial(shutil.rmtree, cache, ignore_errors=True)
    read = partial(store.read, embeddings.table, [fields.EMBEDDING])
    plain = partial(first_batch, store.location)
    cached = partial(first_batch, store.location, cache)
    return {
        FLOOR: partial(timed, read),
        MEMORY: partial(timed, plain),
        f"{MEMORY}, cold": partial(timed, plain, drop),
        WRITTEN: partial(timed, cached, empty),
        MAPPED: partial(timed, cached),
        f"{MAPPED}, cold": partial(timed, cached, drop),
    }


def main() -> None:
    """Runs and prints the comparison."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    chosen = parser.parse_args()
    repeats = 1 if chosen.quick else chosen.repeats
    with folder() as place:
        store = made_up_store(place, 500 if chosen.quick else 10_000)
        frames = store.table_manifest("steps").rows
        counts = GoalDataset(store, "gc1").manifest.counts
        found = interleaved(cases(store, place / "cache"), repeats)
        if chosen.profile:
            for cache in (None, place / "cache"):
                profiler = cProfile.Profile()
                profiler.runcall(first_batch, store.location, cache)
                pstats.Stats(profiler).sort_stats("cumulative").print_stats(40)
    taken = medians(found)
    ratios = {name: paired_ratio(found, name, FLOOR) for name in found}
    show(
        f"Seconds to the first batch; {frames:,} frames, {sum(counts.values()):,} trajectories",
        ("", "s", "ratio"),
        [(name, f"{s:.2f}", f"{ratios[name]:.2f}") for name, s in taken.items()],
        {"s": taken, "ratios": ratios, "frames": frames, "trajectories": counts},
        chosen.out,
    )


if __name__ == "__main__":
    main()
