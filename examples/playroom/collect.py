"""Collects playroom episodes of a mixed behaviour policy into a TFDS/RLDS dataset.

    python -m examples.playroom.collect --out /tmp/playroom/1.0.0 --episodes 200 --seed 0

Four policies take turns by chance, each commanded by a random goal: `random`; `noisy-expert` and
`expert`, whose episodes are terminated when the goal holds; and `play`, an expert that goes on to
another goal and whose episodes are always truncated. One in ten commanded goals speaks of a thing
that is not in the room. With --mixture free-play most episodes are play that heeds no command.

The same options give the same episodes; in which order a record names its fields differs between
processes. Another split can be added to the same directory later.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from examples.playroom import rlds_writer
from examples.playroom.episodes import ABSENT_PROBABILITY, MIXTURES, Episode, collect_episode
from examples.playroom.goals import HARD, PLAYROOM, World
from examples.playroom.room import make_env, things_in
from schemas.locations import path_argument


def episode_seeds(seed: int, split: str, count: int) -> list[int]:
    """Returns the seeds of a split's episodes; other splits and seeds get other episodes."""
    entropy = [seed, *split.encode()]
    return [int(value) for value in np.random.default_rng(entropy).integers(2**62, size=count)]


def episodes(
    seeds: list[int], mixture: str = "mixed", world: World = PLAYROOM
) -> Iterator[Episode]:
    """Yields one episode per seed, in order."""
    room = make_env(world=world, things=things_in(world), absent_probability=ABSENT_PROBABILITY)
    for seed in seeds:
        yield collect_episode(room, seed, mixture)


def collect(
    out: Path,
    *,
    count: int,
    seed: int,
    split: str,
    shards: int,
    mixture: str = "mixed",
    world: World = PLAYROOM,
) -> int:
    """Writes `count` episodes to the dataset directory `out` and returns the number of frames.

    Raises:
        ValueError: counts below 1, or more shards than episodes.
        FileExistsError: the directory has this split already.
    """
    if not 1 <= shards <= count:
        raise ValueError(f"need 1 <= shards <= episodes, got {shards} shards, {count} episodes")
    progress = _Progress(count)
    frames = rlds_writer.write_split(
        out,
        split,
        (progress.see(e) for e in episodes(episode_seeds(seed, split, count), mixture, world)),
        count=count,
        shards=shards,
        world=world,
    )
    progress.end()
    return frames


class _Progress:
    """One line on stderr, about once a second."""

    def __init__(self, count: int) -> None:
        self._count, self._done, self._frames = count, 0, 0
        self._start = self._shown = time.monotonic()

    def see(self, episode: Episode) -> Episode:
        self._done += 1
        self._frames += len(episode["steps"])
        if time.monotonic() - self._shown > 1:
            self._shown = time.monotonic()
            self._say("\r" if sys.stderr.isatty() else "\n")
        return episode

    def end(self) -> None:
        self._say("\n")

    def _say(self, end: str) -> None:
        rate = self._frames / max(time.monotonic() - self._start, 1e-9)
        text = f"collect: {self._done}/{self._count} episodes, {self._frames} frames"
        sys.stderr.write(f"{text}, {rate:.0f} frames/s{end}")
        sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    width = shutil.get_terminal_size().columns
    parser = argparse.ArgumentParser(
        prog="python -m examples.playroom.collect",
        description=__doc__,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=width),
    )
    parser.add_argument(
        "--out", type=path_argument, required=True, help="dataset directory to write"
    )
    parser.add_argument("--episodes", type=int, default=200, help="how many (default: 200)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of rooms, goals and noise (default: 0)"
    )
    parser.add_argument(
        "--mixture", choices=list(MIXTURES), default="mixed", help="of policies (default: mixed)"
    )
    parser.add_argument(
        "--hard", action="store_true", help="of the hard playroom: twenty things, rooms that differ"
    )
    parser.add_argument("--split", default="train", help="TFDS split name (default: train)")
    parser.add_argument("--shards", type=int, default=4, help="TFRecord files (default: 4)")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and collects."""
    options = _parser().parse_args(argv)
    try:
        frames = collect(
            options.out,
            count=options.episodes,
            seed=options.seed,
            split=options.split,
            shards=options.shards,
            mixture=options.mixture,
            world=HARD if options.hard else PLAYROOM,
        )
    except (ValueError, FileExistsError) as error:
        raise SystemExit(f"collect: {error}") from error
    sys.stdout.write(f"{options.out}: split {options.split}, {frames} frames\n")


if __name__ == "__main__":
    main()
