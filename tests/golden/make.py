"""Writes the golden store of the current format version; run once per version, never again.

    python -m tests.golden.make

What it wrote is in the repository, and every later release must read it: `test_golden.py`.
The script refuses to replace a store that is there.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from schemas.enums import Fusion, Timing
from schemas.goal_datasets import GoalDatasetManifest
from schemas.manifests import FORMAT_VERSION
from schemas.store import Store
from tests import small
from tests.relabel.goal_dataset_stores import build

DIRECTORY = Path(__file__).parent / f"store-{FORMAT_VERSION}"


def make(directory: Path) -> Store:
    """Every table that the format has, over the small source with one half image.

    Its embeddings are those of `PixelMeanEncoder`, which anyone can recompute.
    """
    if directory.exists():
        raise FileExistsError(f"{directory}: a golden store is never rewritten")
    with tempfile.TemporaryDirectory() as temporary:
        items = small.episodes()
        observation = items[3]["steps"][2]["observation"]
        observation["wrist"] = observation["wrist"][: len(observation["wrist"]) // 2]
        source = small.write_source(Path(temporary) / "source", items)
        store = Store.create(str(directory), small.store_manifest(source))
        small.embed(store, source, small.source_tables(store))
    small.score(store, "binary", threshold=0.4, fusion=Fusion.MAX)
    small.score(store, "probability", reward="probability", timing=Timing.SAME_FRAME, scores=False)
    goal_dataset(store)
    return store


def goal_dataset(store: Store) -> GoalDatasetManifest:
    """Adds the goal dataset `gc1` of the reward set `binary`, with its transitions."""
    return build(store, "gc1", rewards="binary", materialized=True, validation=0.5, test=0)


if __name__ == "__main__":
    made = make(DIRECTORY)
    size = sum(len(content) for content in small.tree(DIRECTORY).values())
    sys.stdout.write(f"{made.location}: {len(made.tables())} tables, {size} bytes\n")
