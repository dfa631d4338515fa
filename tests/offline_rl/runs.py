"""Short training runs for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from offline_rl import training
from offline_rl.algorithms import ALGORITHMS
from offline_rl.run_config import TrainConfig
from offline_rl.weights import read_tree

SMALL = {"hidden_units": [16], "batch_size": 8}
TRANSFORMER = {
    "batch_size": 4,
    "context_size": 4,
    "num_layers": 1,
    "num_heads": 1,
    "max_timestep": 10,
    "hidden_units": [16],
}


def settings_of(algo: str) -> dict[str, Any]:
    """Hyper-parameters that make an algorithm small."""
    if algo == "discrete-decision-transformer":
        # Its token embedding is as wide as its last hidden layer.
        return {**TRANSFORMER}
    return dict(TRANSFORMER if algo.endswith("transformer") else SMALL)


def config_of(store: Path, algo: str, steps: int, **changes: Any) -> TrainConfig:
    """A run of any algorithm on dataset `gc1`."""
    options: Mapping[str, Any] = {
        "dataset": "gc1",
        "observations": ("observation.state",),
        "actions": ("choice" if algo.startswith("discrete") else "action",),
        "settings": settings_of(algo),
        "log_every": 5,
        "checkpoint_every": 10,
        "positive_share": 0.25,
        **changes,
    }
    return TrainConfig(store=str(store), algo=algo, steps=steps, **options)


def quiet(step: int, steps: int, losses: dict[str, float]) -> None:
    """Shows nothing."""


def run(config: TrainConfig, out: Path, **more: Any) -> Path:
    """Trains without showing anything."""
    return training.train(config, out, **{"show": quiet, **more})


def modules_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every weight, optimiser state included, by dotted name."""
    found: dict[str, torch.Tensor] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                walk(inner, f"{name}.{key}")
        elif isinstance(value, list | tuple):
            for place, inner in enumerate(value):
                walk(inner, f"{name}.{place}")
        elif isinstance(value, int | float):
            found[name] = torch.tensor(value)

    walk(read_tree(checkpoint, "agent"), "")
    return found


def assert_same_weights(one: Path, two: Path) -> None:
    """Bit for bit."""
    first, second = modules_of(one), modules_of(two)
    assert first.keys() == second.keys()
    assert len(first) > 4
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


def acts(agent: Any, algo: str, width: int) -> Any:
    """What an agent does for some observations."""
    rng = np.random.default_rng(3)
    seen = rng.normal(size=(6, width)).astype(np.float32)
    if not ALGORITHMS[algo].trajectories:
        return agent.predict(seen)
    from offline_rl.policies import TransformerPolicy

    mind = TransformerPolicy(agent, target_return=1.0).begin(0)
    return np.stack([np.asarray(mind.predict(x, None)) for x in seen])
