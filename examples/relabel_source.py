"""Relabel a TFDS directory in RLDS form from Python, and read the rewards.

    python -m examples.relabel_source demo/small

The source is 100 episodes of the playroom, whose steps have a column `truth`: which goals hold.
"""

import sys
from pathlib import Path

import numpy as np

import vlm_relabel
from examples.playroom.collect import collect

PLAYROOM = Path(__file__).parent / "playroom"
ENCODER = f"local-dir:{PLAYROOM / 'encoders' / 'smaller'}"


def make_store(folder: Path) -> Path:
    """Collects the source and relabels it; returns the store. What is there is not made again."""
    source, store = folder / "source" / "1.0.0", folder / "small.store"
    if not source.exists():
        collect(source, count=100, seed=0, split="train", shards=2)
    vlm_relabel.relabel(
        source=source,
        camera="image",
        encoder=ENCODER,
        goals=PLAYROOM / "goals.yaml",  # or texts: ["a red ball is directly in front", …]
        threshold=0.9,
        store=store,
    )
    return store


def main(folder: Path) -> None:
    """Shows the goals that the VLM rewards most often, and how often it is right."""
    store = vlm_relabel.open_store(make_store(folder))
    goals = store.goals("v1")["goal_id"].to_pylist()
    rewards = store.rewards("v1")  # (T, G), one per action; NaN: no frame follows
    truth = np.stack(store.steps(["truth"])["truth"].to_pylist())  # (T, G), one per frame

    known = ~np.isnan(rewards).any(axis=1)
    reached = np.roll(truth, -1, axis=0)[known] > 0  # the reward of an action: the next frame
    given = rewards[known] > 0
    print(store)
    for place in np.argsort(-given.sum(axis=0))[:5]:
        right = reached[given[:, place], place].mean()
        print(f"{goals[place]:32} {given[:, place].sum():4} rewards, {right:.0%} of them right")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
