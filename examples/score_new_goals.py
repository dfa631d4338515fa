"""Score goals that you have just thought of, from the stored embeddings: no image is read again.

    python -m examples.score_new_goals demo/small

The encoder reads three texts, and the rest is arithmetic.
"""

import sys
from pathlib import Path

import numpy as np

import vlm_relabel
from examples.relabel_source import ENCODER, make_store

GOALS = [f"a {thing} is directly in front" for thing in ("red ball", "blue box", "green key")]
NOTHING = "nothing is directly in front"  # competes with each of them


def main(folder: Path) -> None:
    """Shows the frame that fits each goal best, and what its episode was told to do."""
    location = make_store(folder)
    vlm_relabel.score(
        store=location,
        encoder=ENCODER,
        goals=GOALS,
        null_prompt=NOTHING,
        reward="probability",
        name="new",
    )
    store = vlm_relabel.open_store(location)
    scores = store.scores("new")  # (T, G), one per frame
    frames = store.steps(["episode_id", "step", "language_instruction"])  # row t is frame t
    for place, goal in enumerate(GOALS):
        best = int(np.nanargmax(scores[:, place]))
        (frame,) = frames.slice(best, 1).to_pylist()
        print(f"{goal}: {scores[best, place]:.2f} in {frame['episode_id']}, step {frame['step']}")
        print(f"    whose command is “{frame['language_instruction']}”")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
