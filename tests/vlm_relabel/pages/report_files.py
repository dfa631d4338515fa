"""What a report holds, read without a browser; and stores to report on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from schemas.store import Store
from tests import small
from tests.relabel.goal_dataset_stores import Told

_SCRIPT = re.compile(r"^Report\.receive\((\"[^\"]*\"), (.*)\);\n$", re.DOTALL)


def content(folder: Path, name: str) -> Any:
    """The content of a data script."""
    found = _SCRIPT.match((folder / "data" / f"{name}.js").read_text("ascii"))
    assert found is not None
    assert json.loads(found[1]) == name
    return json.loads(found[2])


def told_by(store: Store, source: Path) -> Store:
    """The store with a steps table that says where its source is."""
    steps = store.table_manifest("steps")
    command = f"vlm-relabel relabel --source {source} --camera front"
    small.rewrite_manifest(store, steps.model_copy(update={"command": command}))
    return Store.open(store.location)


def episodes(lengths: list[int], goals: int, seed: int = 0) -> list[Told]:
    """Episodes of random scores, the higher the truer; rewards follow the scores."""
    rng = np.random.default_rng(seed)
    found = []
    for length in lengths:
        truth = rng.random((length, goals)) < 0.3
        scores = np.clip(rng.random((length, goals)) * 0.6 + 0.4 * truth, 0, 1).astype(np.float32)
        rewards = np.full((length, goals), np.nan)
        rewards[:-1] = scores[1:] > 0.5
        found.append(Told(rewards, scores=scores, truth=truth, language="a red room"))
    return found
