"""A small RLDS source of solid-coloured frames, and what a test may break in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from relabel.testing import encoded_image, write_rlds

SIDE = 8  # px
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]], np.uint8)
GOALS = """\
name: colours
goals:
  - {id: red, texts: [a red room]}
  - {id: green, texts: [a green room, all green]}
  - {id: blue, texts: [a blue room]}
"""

Step = dict[str, Any]
Episode = dict[str, Any]


def features() -> tfds.features.FeaturesDict:
    """Two cameras, a state, an action, the RLDS flags and an instruction."""
    image = tfds.features.Image(shape=(None, None, 3), dtype=np.uint8, encoding_format="png")
    steps = {
        "observation": {
            "front": image,
            "wrist": image,
            "state": tfds.features.Tensor(shape=(3,), dtype=np.float32),
        },
        "action": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        "reward": tfds.features.Scalar(dtype=np.float32),
        "is_first": tfds.features.Scalar(dtype=np.bool_),
        "is_last": tfds.features.Scalar(dtype=np.bool_),
        "is_terminal": tfds.features.Scalar(dtype=np.bool_),
        "language_instruction": tfds.features.Text(),
    }
    return tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(steps),
            "episode_metadata": {"file_path": tfds.features.Text()},
        }
    )


def colour(episode: int, step: int) -> Any:
    """(3,) uint8 of the front camera; the wrist camera is one step ahead."""
    return COLOURS[(episode + step) % len(COLOURS)]


def frame(episode: int, step: int) -> Any:
    """(SIDE, SIDE, 3) uint8, not quite solid, so that no two frames are the same."""
    shade = np.arange(SIDE, dtype=np.uint8)[:, None, None] + np.uint8(episode)
    return np.maximum(np.broadcast_to(shade, (SIDE, SIDE, 3)), colour(episode, step))


def episode(index: int, length: int) -> Episode:
    """One episode; its last step has no action, as RLDS says."""
    steps: list[Step] = [
        {
            "observation": {
                "front": encoded_image(frame(index, step)),
                "wrist": encoded_image(frame(index, step + 1), "JPEG"),
                "state": np.array([index, step, 0.5], np.float32),
            },
            "action": np.array([1, step] if step + 1 < length else [0, 0], np.float32),
            "reward": np.float32(step + 1 == length),
            "is_first": step == 0,
            "is_last": step + 1 == length,
            "is_terminal": step + 1 == length,
            "language_instruction": f"make it {['red', 'green', 'blue'][index % 3]}",
        }
        for step in range(length)
    ]
    return {"steps": steps, "episode_metadata": {"file_path": f"episode_{index}.npy"}}


def write_source(
    directory: Path,
    lengths: Sequence[int] = (3, 2, 4, 2),
    shard_lengths: Sequence[int] = (3, 1),
    change: Callable[[list[Episode]], None] = lambda episodes: None,
    name: str = "small",
) -> Path:
    """Writes episodes of these lengths; `change` may edit them first."""
    episodes: list[Mapping[str, Any]] = [episode(i, n) for i, n in enumerate(lengths)]
    change(episodes)  # type: ignore[arg-type]
    return write_rlds(directory, features(), episodes, shard_lengths=shard_lengths, name=name)


def cut_image(episodes: list[Episode]) -> None:
    """Halves the wrist JPEG of the second step of episode 2."""
    observation = episodes[2]["steps"][1]["observation"]
    observation["wrist"] = observation["wrist"][: len(observation["wrist"]) // 2]


def truncate(source: Path) -> Path:
    """Cuts the first shard short, inside its last episode."""
    shard = min(source.glob("*.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-40])
    return source
