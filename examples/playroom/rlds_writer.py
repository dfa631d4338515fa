"""Episodes as a TFDS/RLDS dataset directory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from examples.playroom.goals import PLAYROOM, World
from examples.playroom.view import FRAME_PIXELS, state_size, things_size
from relabel.testing import write_rlds

NAME = "playroom"


def features(world: World = PLAYROOM) -> tfds.features.FeaturesDict:
    """Returns the RLDS features of an episode, with the length of every tensor."""
    state, things, goals = (state_size(world),), (things_size(world),), (len(world.goals),)
    observation = {
        "image": tfds.features.Image(
            shape=(FRAME_PIXELS, FRAME_PIXELS, 3), encoding_format="png", doc="egocentric view"
        ),
        "state": tfds.features.Tensor(shape=state, dtype=np.float32, doc="symbolic state"),
        "things": tfds.features.Tensor(shape=things, dtype=np.float32, doc="where all is"),
    }
    step = {
        "observation": observation,
        "action": tfds.features.Scalar(np.int64, doc="left, right, forward, pickup, drop"),
        "reward": tfds.features.Scalar(np.float32, doc="1 if the commanded goal holds next"),
        "discount": tfds.features.Scalar(np.float32, doc="0 if the action ends the episode"),
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "language_instruction": tfds.features.Text(doc="the commanded goal's wording"),
        "truth": tfds.features.Tensor(
            shape=goals,
            dtype=np.uint8,
            doc="which goals hold now, in goals.yaml's order",
        ),
        "held_out": tfds.features.Scalar(np.bool_, doc="no encoder was trained on these pixels"),
    }
    metadata = {
        "seed": tfds.features.Scalar(np.int64, doc="of the room, the goal and the policy"),
        "goal_id": tfds.features.Text(doc="the commanded goal"),
        "policy": tfds.features.Text(doc="the behaviour policy"),
    }
    return tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(step), "episode_metadata": metadata}
    )


def write_split(
    out: Path,
    split: str,
    episodes: Iterator[dict[str, Any]],
    *,
    count: int,
    shards: int,
    world: World = PLAYROOM,
) -> int:
    """Writes `count` episodes as one split, in order, and returns the number of frames.

    Args:
        out: dataset directory; other splits in it are kept.
        split: name of the new split.
        episodes: yields at least `count` episodes.
        count: number of episodes.
        shards: number of TFRecord files, of almost equal numbers of episodes.
        world: that the episodes are of.

    Raises:
        FileExistsError: files of this split are there already; nothing is overwritten.
    """
    frames = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal frames
        for episode in episodes:
            frames += len(episode["steps"])
            yield episode

    borders = [count * shard // shards for shard in range(shards + 1)]
    lengths = [stop - start for start, stop in pairwise(borders)]
    write_rlds(out, features(world), counted(), shard_lengths=lengths, name=NAME, split=split)
    return frames
