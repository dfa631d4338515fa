"""A source whose actions come in every form that data have, and stores of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from relabel.testing import encoded_image, write_rlds
from schemas.enums import LastStep
from tests.offline_rl import playground

EPISODES, STEPS = 9, 4
kinds = tfds.features
FEATURES = kinds.FeaturesDict(
    {
        "steps": kinds.Dataset(
            {
                "observation": {
                    "front": kinds.Image(shape=(None, None, 3)),
                    "state": kinds.Tensor(shape=(3,), dtype=np.float32),
                    "natural_language_embedding": kinds.Tensor(shape=(5,), dtype=np.float32),
                    "taskVector": kinds.Tensor(shape=(384,), dtype=np.float32),
                    "features": kinds.Tensor(shape=(160,), dtype=np.float32),
                    "image_embedding": kinds.Tensor(shape=(4,), dtype=np.float32),
                },
                "action": {
                    "arm": {
                        "move": kinds.Tensor(shape=(2, 2), dtype=np.float64),
                        "turn": np.float32,
                    },
                    "stop": kinds.Tensor(shape=(3,), dtype=np.int32),
                    "grip": kinds.Tensor(shape=(1,), dtype=np.int64),
                    "on": np.bool_,
                },
                "key": kinds.Tensor(shape=(1,), dtype=np.uint8),
                "press": np.bool_,
                "keys": kinds.Tensor(shape=(2,), dtype=np.int16),
                "id": np.int64,
                "note": kinds.Text(),
                "words": {"said": kinds.Text(), "loud": np.float32},
                "is_first": np.bool_,
                "is_last": np.bool_,
                "is_terminal": np.bool_,
                "language_instruction": kinds.Text(),
            }
        )
    }
)


def items() -> list[dict[str, Any]]:
    """Episodes; the last steps are fillers far outside of what is ever done."""
    rng = np.random.default_rng(5)
    return [{"steps": _episode(rng, number)} for number in range(EPISODES)]


def _episode(rng: np.random.Generator, number: int) -> list[dict[str, Any]]:
    steps = []
    task = rng.normal(size=384).astype(np.float32)
    for step in range(STEPS):
        filler = step == STEPS - 1
        colour = playground.RGB[rng.integers(4)]
        steps.append(
            {
                "observation": {
                    "front": encoded_image(np.broadcast_to(colour, (4, 4, 3)).copy()),
                    "state": rng.normal(size=3).astype(np.float32),
                    "natural_language_embedding": rng.normal(size=5).astype(np.float32),
                    "taskVector": task,
                    "features": rng.normal(size=160).astype(np.float32),
                    "image_embedding": rng.normal(size=4).astype(np.float32),
                },
                "action": {
                    "arm": {
                        "move": 99 * np.ones((2, 2)) if filler else rng.normal(size=(2, 2)),
                        "turn": np.float32(rng.normal()),
                    },
                    "stop": np.zeros(3, np.int32)
                    if filler
                    else np.eye(3, dtype=np.int32)[step % 2],
                    "grip": np.array([77 if filler else rng.integers(-3, 9)]),
                    "on": bool(rng.integers(2)),
                },
                "key": np.array([200 if filler else (0, 2, 5)[(number + step) % 3]], np.uint8),
                "press": bool(rng.integers(2)),
                "keys": rng.integers(-400, 900, size=2).astype(np.int16),
                "id": int(9000 if filler else 1500 + 3 * step),
                "note": "x",
                "words": {"said": "x", "loud": np.float32(rng.random())},
                "is_first": step == 0,
                "is_last": filler,
                "is_terminal": False,
                "language_instruction": f"a {playground.COLOURS[number % 3]} room",
            }
        )
    return steps


def make_store(folder: Path) -> Path:
    """Two shards, slices of three episodes, a dataset `gc1`."""
    source = folder / "arms" / "1.0.0"
    write_rlds(source, FEATURES, items(), shard_lengths=(4, EPISODES - 4))
    store = folder / "store"
    playground.embed(source, store, LastStep.FINAL_OBSERVATION, episodes_per_slice=3)
    playground.score(store, "v1")
    playground.goal_dataset(store, "gc1", "v1", playground.SPLITS)
    return store
