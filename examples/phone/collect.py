"""Collects episodes on the phone into a TFDS/RLDS dataset.

    python -m examples.phone.collect --out /tmp/phone/1.0.0 --episodes 200 --seed 0

Four policies take turns by chance, each commanded to open a random app: `random`; `noisy-expert`
and `expert`, whose episodes are terminated when the app is open; and `play`, which opens one app
after another, whatever was commanded. The same options give the same episodes; in which order a
record names its fields differs between processes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from examples.phone.apps import APPS
from examples.phone.episodes import Episode, collect_episode
from examples.phone.phone import STATE_SIZE, make_env
from examples.phone.screens import PIXELS
from relabel.testing import write_rlds
from schemas.locations import path_argument


def features() -> tfds.features.FeaturesDict:
    """Returns the RLDS features of an episode, with the length of every tensor."""
    kinds = tfds.features
    image = kinds.Image(shape=(PIXELS, PIXELS, 3), encoding_format="png", doc="the screen")
    step = {
        "observation": {
            "image": image,
            "state": kinds.Tensor(shape=(STATE_SIZE,), dtype=np.float32, doc="what is where"),
        },
        "action": kinds.Tensor(shape=(4,), dtype=np.float32, doc="touched at x, y; moved by x, y"),
        "reward": kinds.Scalar(np.float32, doc="1 if the commanded app is open next"),
        "discount": kinds.Scalar(np.float32, doc="0 if the action ends the episode"),
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "language_instruction": kinds.Text(doc="the commanded goal's wording"),
        "truth": kinds.Tensor(shape=(len(APPS),), dtype=np.uint8, doc="which app is open now"),
    }
    metadata = {
        "seed": kinds.Scalar(np.int64, doc="of the phone, the goal and the policy"),
        "goal_id": kinds.Text(doc="the commanded goal"),
        "policy": kinds.Text(doc="the behaviour policy"),
    }
    return kinds.FeaturesDict({"steps": kinds.Dataset(step), "episode_metadata": metadata})


def episodes(count: int, seed: int, split: str) -> Iterator[Episode]:
    """Yields `count` episodes; other splits and seeds get other ones."""
    phone = make_env()
    for own in np.random.default_rng([seed, *split.encode()]).integers(2**31, size=count):
        yield collect_episode(phone, int(own))


def collect(out: Path, *, count: int, seed: int, split: str = "train", shards: int = 4) -> None:
    """Writes `count` episodes to the dataset directory `out`.

    Raises:
        ValueError: counts below 1, or more shards than episodes.
        FileExistsError: the directory has this split already.
    """
    if not 1 <= shards <= count:
        raise ValueError(f"need 1 <= shards <= episodes, got {shards} shards, {count} episodes")
    borders = [count * shard // shards for shard in range(shards + 1)]
    lengths = [stop - start for start, stop in pairwise(borders)]
    played = episodes(count, seed, split)
    write_rlds(out, features(), played, shard_lengths=lengths, name="phone", split=split)


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and collects."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.phone.collect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=path_argument, required=True, help="directory to write")
    parser.add_argument("--episodes", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--split", default="train", help="TFDS split name (default: train)")
    parser.add_argument("--shards", type=int, default=4, help="TFRecord files (default: 4)")
    options = parser.parse_args(argv)
    try:
        collect(
            options.out,
            count=options.episodes,
            seed=options.seed,
            split=options.split,
            shards=options.shards,
        )
    except (ValueError, FileExistsError) as error:
        raise SystemExit(f"collect: {error}") from error
    sys.stdout.write(f"{options.out}: split {options.split}, {options.episodes} episodes\n")


if __name__ == "__main__":
    main()
