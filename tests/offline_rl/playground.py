"""A source of coloured rooms that covers every way an episode can end, and stores of it.

Colour of a frame = the goal it shows (grey: none), so truth and rewards are known by looking.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pipelines import jobs
from pipelines.jobs import build_goals
from relabel.jobs.options import EmbedOptions, GoalDatasetOptions, JobOptions, ScoreOptions
from relabel.testing import encoded_image, load_pixel_mean_encoder, write_rlds
from schemas.enums import LastStep, Timing
from schemas.goal_datasets import DatasetOptions

COLOURS = ("red", "green", "blue", "grey")
RGB = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]], np.uint8)
GOALS = """\
name: colours
goals:
  - {id: red, texts: [a red room], family: warm}
  - {id: green, texts: [a green room], family: cold}
  - {id: blue, texts: [a blue room], family: cold}
"""
LENGTHS = (1, 2, 3, 5)
TIMES = 3  # episodes of each length, terminated or not, marked as last or not
ALL = DatasetOptions(failed_at_least=99, hindsight_most=99, validation=0, test=0)
SPLITS = DatasetOptions(failed_at_least=99, hindsight_most=99, validation=0.25, test=0)
CASES = list(itertools.product(LastStep, Timing))

kinds = tfds.features
FEATURES = kinds.FeaturesDict(
    {
        "steps": kinds.Dataset(
            {
                "observation": {
                    "front": kinds.Image(shape=(None, None, 3)),
                    "state": kinds.Tensor(shape=(3,), dtype=np.float32),
                    "flat": np.float32,
                },
                "action": kinds.Tensor(shape=(2,), dtype=np.float32),
                "choice": np.int64,
                "truth": kinds.Tensor(shape=(3,), dtype=np.bool_),
                "reward": np.float32,
                "is_first": np.bool_,
                "is_last": np.bool_,
                "is_terminal": np.bool_,
                "language_instruction": kinds.Text(),
            }
        )
    }
)


def episodes() -> list[dict[str, Any]]:
    """Every length × terminated × truncated, some times each."""
    rng = np.random.default_rng(7)
    ways = itertools.product(LENGTHS, (True, False), (True, False), range(TIMES))
    return [_episode(rng, number, *way[:3]) for number, way in enumerate(ways)]


def _episode(
    rng: np.random.Generator, number: int, length: int, terminated: bool, last: bool
) -> dict[str, Any]:
    shown = rng.integers(len(COLOURS), size=length)
    steps = [
        {
            "observation": {
                "front": encoded_image(np.broadcast_to(RGB[colour], (4, 4, 3)).copy()),
                "state": rng.normal(size=3).astype(np.float32),
                "flat": np.float32(number + step / 8),
            },
            "action": rng.normal(size=2).astype(np.float32),
            "choice": int(rng.integers(4)),
            "truth": np.arange(3) == colour,
            "reward": np.float32(0),
            "is_first": step == 0,
            "is_last": last and step == length - 1,
            "is_terminal": terminated and step == length - 1,
            "language_instruction": f"a {COLOURS[number % 3]} room",
        }
        for step, colour in enumerate(shown)
    ]
    return {"steps": steps}


def write_source(folder: Path, items: list[dict[str, Any]] | None = None) -> Path:
    """The source as RLDS, in two shards."""
    content = episodes() if items is None else items
    half = len(content) // 2
    write_rlds(folder, FEATURES, content, shard_lengths=(half, len(content) - half))
    return folder


def job_of(store: Path) -> JobOptions:
    return JobOptions(str(store), threads=1, command="vlm-relabel build-goals … the same again")


def embed(
    source: Path,
    store: Path,
    last_step: LastStep,
    *,
    encoder: Any = load_pixel_mean_encoder,
    job: JobOptions | None = None,
    split: str | None = "train",
    **more: Any,
) -> None:
    """Steps, episodes and embeddings of the front camera."""
    options: Mapping[str, Any] = {"dtype": "float32", "episodes_per_slice": 24, **more}
    jobs.embed(
        job or job_of(store),
        EmbedOptions(
            source=str(source),
            split=split,
            cameras=("front",),
            encoder=encoder,
            last_step=last_step,
            **options,
        ),
    )


def score(
    store: Path, name: str, *, goals: str = GOALS, job: JobOptions | None = None, **more: Any
) -> None:
    """A reward set of the three colours."""
    path = store.parent / "goals.yaml"
    path.write_text(goals)
    options = ScoreOptions(load_pixel_mean_encoder, str(path), name=name, **more)
    jobs.score(job or job_of(store), options)


def goal_dataset(
    store: Path, name: str, rewards: str, options: DatasetOptions = ALL, **more: Any
) -> None:
    """A goal dataset."""
    build_goals(job_of(store), GoalDatasetOptions(name, rewards=rewards, options=options, **more))
