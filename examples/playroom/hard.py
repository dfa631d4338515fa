"""Trains and checks encoders of the hard playroom.

    python -m examples.playroom.hard train --size middle --out /tmp/encoder
    python -m examples.playroom.hard check /tmp/encoder

Two things are held out. Rooms: a quarter of all hues, and one pattern of floors, are never trained
on. Combinations: of four things no frame and no caption is trained on, though their colours and
their shapes are, on other things.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from examples.clip import model, training
from examples.clip.model import Size
from examples.playroom import captions
from examples.playroom.episodes import ABSENT_PROBABILITY, Behaviour
from examples.playroom.evaluate import evaluate
from examples.playroom.goals import FAMILIES, HARD, Goal
from examples.playroom.room import Playroom, make_env, things_in
from examples.playroom.scenes import invent
from examples.playroom.surroundings import is_held_out_room
from examples.playroom.view import FIRST_THING, FRAME_PIXELS, TILE_PIXELS
from schemas.locations import path_argument

UNSEEN: Final = frozenset(
    place
    for place, thing in enumerate(HARD.things)
    if thing.name in ("red cone", "green ring", "blue ball", "yellow box")
)
SEEN: Final = tuple(place for place in range(len(HARD.things)) if place not in UNSEEN)
SIZES: Final = {
    "tiny": Size(16, 16, 1, 1, pixels=FRAME_PIXELS, patch=TILE_PIXELS),
    "small": Size(32, 32, 2, 1, pixels=FRAME_PIXELS, patch=TILE_PIXELS),
    "middle": Size(64, 64, 3, 2, pixels=FRAME_PIXELS, patch=TILE_PIXELS),
    "large": Size(128, 128, 4, 2, pixels=FRAME_PIXELS, patch=TILE_PIXELS),
}
_CHECK_SEED: Final = 1_000_003
_POLICIES: Final = ("random", "noisy-expert", "play", "play")


def is_seen(goal: Goal) -> bool:
    """Says whether a goal speaks only of combinations that encoders are trained on."""
    return not set(goal.things) & UNSEEN


@dataclass(frozen=True, eq=False)
class Frames:
    """N frames and what is true of them."""

    pixels: npt.NDArray[np.uint8]  # (N, 84, 84, 3)
    truth: npt.NDArray[np.uint8]  # (N, G)
    nothing_seen: npt.NDArray[np.bool_]  # (N,)
    held_out: npt.NDArray[np.bool_]  # (N,) the room is of the held-out kind


def training_frames(count: int, seed: int) -> Frames:
    """Draws invented rooms of the kinds that are not held out, without the unseen combinations."""
    return _drawn(_invented(np.random.default_rng([seed, 5])), count)


def played_frames(count: int, seed: int = _CHECK_SEED) -> Frames:
    """Draws frames as a mixed behaviour policy meets them, in rooms of every kind."""
    return _drawn(_played(np.random.default_rng([seed, 6])), count)


def _drawn(rooms: Iterator[Playroom], count: int) -> Frames:
    pixels = np.empty((count, FRAME_PIXELS, FRAME_PIXELS, 3), np.uint8)
    truth = np.empty((count, len(HARD.goals)), np.uint8)
    nothing, held_out = np.empty(count, bool), np.empty(count, bool)
    for row in range(count):
        room = next(rooms)
        tiles = room.tiles()
        pixels[row], truth[row] = room.frame(tiles), HARD.truth(room.scene())
        nothing[row], held_out[row] = not (tiles >= FIRST_THING).any(), room.held_out
    return Frames(pixels, truth, nothing, held_out)


def _invented(rng: np.random.Generator) -> Iterator[Playroom]:
    room = make_env(world=HARD)
    room.reset(seed=0)
    while True:
        seed = int(rng.integers(2**31))
        if not is_held_out_room(seed):
            room.surround(seed)
            invent(room, SEEN, rng)
            yield room


def _played(rng: np.random.Generator) -> Iterator[Playroom]:
    room = make_env(
        world=HARD, things=things_in(HARD), absent_probability=ABSENT_PROBABILITY,
        end_on_success=False,
    )  # fmt: skip
    while True:
        room.reset(seed=int(rng.integers(2**31)))
        behave = Behaviour(str(rng.choice(_POLICIES)), room, rng)
        truncated = False
        while not truncated:
            yield room
            truncated = room.step(behave())[3]


def captioned(views: int, seed: int) -> training.Captioned:
    """What an encoder learns from: frames, and the captions of seen combinations."""
    frames = training_frames(views, seed)
    holds = captions.concept_truth(frames.truth, frames.nothing_seen, HARD).astype(np.float32)
    texts = captions.training_texts(HARD)
    nulls = range(len(HARD.goals), len(texts))
    kept = [*(place for place, goal in enumerate(HARD.goals) if is_seen(goal)), *nulls]
    return training.Captioned(
        np.ascontiguousarray(holds[:, kept]),
        lambda rows: model.pixels(frames.pixels[rows]),
        [texts[place] for place in kept],
    )


# --- checks -----------------------------------------------------------------------------------


def probabilities(network: Any, tokenizer: Any, frames: Frames) -> npt.NDArray[np.float64]:
    """Returns the softmax reward ``(N, G)`` with the negatives that goals-hard.yaml means."""
    images = model.embed_frames(network, frames.pixels)
    temperature = 1.0 / network.logit_scale.exp().item()

    def logits(texts: list[str]) -> npt.NDArray[np.float64]:
        mean = model.embed_texts(network, tokenizer, texts).mean(axis=0)
        column: npt.NDArray[np.float64] = (images @ (mean / np.linalg.norm(mean))).astype(float)
        return column / temperature

    goals = np.stack([logits(captions.goal_texts(goal)) for goal in HARD.goals], axis=1)
    nulls = {family: logits([captions.NULLS[family][0]]) for family in FAMILIES}
    columns = []
    for place, goal in enumerate(HARD.goals):
        rivals = [
            other
            for other, its in enumerate(HARD.goals)
            if its.family == goal.family and not set(its.things) & set(goal.things)
        ]
        against = np.concatenate([goals[:, rivals], nulls[goal.family][:, None]], axis=1)
        columns.append(1 / (1 + np.exp(against - goals[:, place, None]).sum(axis=1)))
    return np.stack(columns, axis=1)


def check(directory: Path, count: int = 10_000) -> dict[str, dict[str, float]]:
    """Macro average precision by family, for each kind of frame and of goal."""
    frames = played_frames(count)
    network, tokenizer = model.load_model(directory)
    scores = probabilities(network, tokenizer, frames)
    seen = np.array([is_seen(goal) for goal in HARD.goals])
    families = np.array([goal.family for goal in HARD.goals])
    found = {}
    for name, rows, goals in (
        ("held-out rooms, seen combinations", frames.held_out, seen),
        ("known kinds of rooms, seen combinations", ~frames.held_out, seen),
        ("held-out rooms, unseen combinations", frames.held_out, ~seen),
    ):
        result = evaluate(
            frames.truth[rows][:, goals], scores[rows][:, goals], families[goals].tolist()
        )
        own = {row.family: row.average_precision for row in result.families}
        found[name] = {**own, "all": result.macro_average_precision, "base": result.base_rate}
    return found


def train(
    out: Path, size: str, recipe: training.Recipe, views: int, frames: int = 10_000
) -> dict[str, Any]:
    """Trains an encoder, checks it on fresh frames, and writes its figures beside it as JSON."""
    start = time.monotonic()
    network = training.train(out, SIZES[size], recipe, lambda: captioned(views, recipe.seed))
    told = {
        "size": size,
        "parameters": model.parameter_count(network),
        "seconds": round(time.monotonic() - start),
        "recipe": vars(recipe),
        "views": views,
        "average_precision": check(out, frames),
    }
    (out / "figures.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def main(argv: list[str] | None = None) -> None:
    """Trains or checks, and prints figures as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.playroom.hard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    checks = commands.add_parser("check", help="measure an encoder on fresh episodes")
    checks.add_argument("directory", type=path_argument, help="a local-dir: model")
    checks.add_argument("--frames", type=int, default=10_000, help="default: 10000")
    trains = commands.add_parser("train", help="train an encoder from scratch")
    trains.add_argument("--size", choices=list(SIZES), default="middle", help="preset")
    trains.add_argument("--out", type=path_argument, required=True, help="directory to write")
    trains.add_argument("--steps", type=int, default=3000, help="optimizer steps (default: 3000)")
    trains.add_argument("--views", type=int, default=40_000, help="frames (default: 40000)")
    trains.add_argument("--batch", type=int, default=128, help="frames per step (default: 128)")
    trains.add_argument("--learning-rate", type=float, default=2e-3, help="peak (default: 0.002)")
    trains.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    trains.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(argv)
    if options.command == "check":
        told: dict[str, Any] = check(options.directory, options.frames)
    else:
        recipe = training.Recipe(
            options.steps, options.batch, options.learning_rate, options.seed, options.threads
        )
        told = train(options.out, options.size, recipe, options.views)
    sys.stdout.write(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
