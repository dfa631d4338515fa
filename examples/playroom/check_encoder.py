"""Checks an encoder on fresh episodes, on held-out frames only, with the default softmax reward.

    python -m examples.playroom.check_encoder examples/playroom/encoders/small

It needs no store: frames, similarities and probabilities stay in memory. Negatives are those that
goals.yaml means: the goals of the family that cannot hold together, and the family's null prompt.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.clip import model
from examples.playroom import captions
from examples.playroom.episodes import ABSENT_PROBABILITY, Behaviour
from examples.playroom.evaluate import Result, evaluate
from examples.playroom.goals import FAMILIES, GOALS, Goal, truth
from examples.playroom.room import make_env
from examples.playroom.view import frames_of, is_held_out
from schemas.locations import path_argument

CHECK_SEED = 1_000_003


@dataclass(frozen=True)
class Sample:
    """Held-out frames of fresh episodes."""

    frames: npt.NDArray[np.uint8]  # (N, 84, 84, 3)
    truth: npt.NDArray[np.uint8]  # (N, G)


def held_out_sample(count: int, seed: int = CHECK_SEED) -> Sample:
    """Returns `count` held-out frames as a mixed behaviour policy meets them."""
    frames, truths = [], []
    for tiles, holds in _visited(seed):
        frame = frames_of(tiles)
        if is_held_out(frame):
            frames.append(frame)
            truths.append(holds)
        if len(frames) == count:
            break
    return Sample(np.stack(frames), np.stack(truths))


def _visited(seed: int) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    rng = np.random.default_rng(seed)
    room = make_env(absent_probability=ABSENT_PROBABILITY, end_on_success=False)
    while True:
        room.reset(seed=int(rng.integers(2**62)))
        behave = Behaviour(str(rng.choice(["random", "noisy-expert", "play", "play"])), room, rng)
        truncated = False
        while not truncated:
            yield room.tiles(), truth(room.scene())
            truncated = room.step(behave())[3]


def negatives(goal: Goal) -> list[int]:
    """Returns the goals that are negatives of `goal`: of its family, sharing no thing with it."""
    return [
        index
        for index, other in enumerate(GOALS)
        if other.family == goal.family and not set(other.things) & set(goal.things)
    ]


def probabilities(
    images: npt.NDArray[np.float32],
    goal_texts: npt.NDArray[np.float32],
    null_texts: dict[str, npt.NDArray[np.float32]],
    temperature: float,
) -> npt.NDArray[np.float64]:
    """Returns the softmax reward p per frame and goal, ``(N, G) float64`` (paper, equation 1).

    Args:
        images: ``(N, D)``, unit norm.
        goal_texts: ``(G, D)``, unit norm.
        null_texts: per family ``(D,)``, unit norm.
        temperature: divides the cosines.
    """
    goal_logits = (images @ goal_texts.T).astype(np.float64) / temperature
    columns = []
    for index, goal in enumerate(GOALS):
        null = (images @ null_texts[goal.family]).astype(np.float64) / temperature
        rivals = [goal_logits[:, negatives(goal)], null[:, None]]
        columns.append(_softmax(goal_logits[:, index], np.concatenate(rivals, axis=1)))
    return np.stack(columns, axis=1)


def _softmax(
    own: npt.NDArray[np.float64], rivals: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(rivals - own[:, None]).sum(axis=1))
    return result


def check(directory: Path, sample: Sample, texts_of: Callable[[Goal], list[str]]) -> Result:
    """Measures an encoder on a sample, with the given wordings of the goals."""
    network, tokenizer = model.load_model(directory)
    return score(network, tokenizer, model.embed_frames(network, sample.frames), sample, texts_of)


def score(
    network: Any,
    tokenizer: Any,
    images: npt.NDArray[np.float32],
    sample: Sample,
    texts_of: Callable[[Goal], list[str]],
) -> Result:
    """Measures embedded frames ``(N, D)`` against the truth of the sample."""

    def mean_text(texts: list[str]) -> npt.NDArray[np.float32]:
        mean = model.embed_texts(network, tokenizer, texts).mean(axis=0)
        unit: npt.NDArray[np.float32] = mean / np.linalg.norm(mean)
        return unit

    goal_texts = np.stack([mean_text(texts_of(goal)) for goal in GOALS])
    nulls = {family: mean_text([captions.NULLS[family][0]]) for family in FAMILIES}
    temperature = 1.0 / network.logit_scale.exp().item()
    scores = probabilities(images, goal_texts, nulls, temperature)
    return evaluate(sample.truth, scores, [goal.family for goal in GOALS])


def report(directory: Path, count: int) -> str:
    """Returns the figures of an encoder as text."""
    sample = held_out_sample(count)
    network, tokenizer = model.load_model(directory)
    start = time.monotonic()
    images = model.embed_frames(network, sample.frames)
    rate = count / (time.monotonic() - start)
    scale = network.logit_scale.exp().item()
    lines = [f"{count} held-out frames, {rate:.0f} frames/s, temperature 1/{scale:.2f}"]
    wordings = {"goals.yaml": captions.goal_texts, "held-out phrasings": captions.held_out_texts}
    for name, texts_of in wordings.items():
        result = score(network, tokenizer, images, sample, texts_of)
        lines.append(f"{name}: macro average precision {result.macro_average_precision:.4f}")
        lines += [
            f"  {row.family:6} {row.average_precision:.4f}  base rate {row.base_rate:.4f}"
            f"  {row.goals} goals, {row.positives} positives, {row.silent_goals} goals never true"
            for row in result.families
        ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Prints the figures of an encoder."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.playroom.check_encoder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=path_argument, help="a local-dir: model")
    parser.add_argument(
        "--frames", type=int, default=10_000, help="held-out frames (default: 10000)"
    )
    options = parser.parse_args(argv)
    sys.stdout.write(report(options.directory, options.frames) + "\n")


if __name__ == "__main__":
    main()
