"""Instructions that change, begin late or come in several forms: RLDS to commanded trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from pipelines import jobs
from pipelines.jobs import build_goals
from relabel.jobs.options import EmbedOptions, GoalDatasetOptions, JobOptions, ScoreOptions
from relabel.testing import encoded_image, load_pixel_mean_encoder, write_rlds
from schemas.goal_datasets import DatasetOptions
from schemas.store import Store

kinds = tfds.features
RED, GREEN, BLUE = "a red room", "a green room", "a blue room"
RGB = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
# Per episode and step: a text, and phrasings of it.
SAID: list[list[tuple[str, list[str]]]] = [
    [(RED, []), (RED, []), (GREEN, []), (GREEN, []), (GREEN, [])],
    [("", []), ("", []), ("A blue  room.", []), (BLUE, [])],
    [("", [RED]), ("", ["hum", GREEN]), ("", [GREEN, RED]), ("", [])],
    [("", []), ("", []), ("", [])],
]
TOLD = ["", "", "", GREEN]  # of the whole episode


def write(folder: Path) -> None:
    step = {
        "observation": {
            "front": kinds.Image(shape=(None, None, 3)),
            "instruction": kinds.Tensor(shape=(), dtype=np.str_),
        },
        "phrasings_of_instruction": kinds.Sequence(kinds.Text()),
        "action": kinds.Tensor(shape=(2,), dtype=np.float32),
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
    }
    features = kinds.FeaturesDict(
        {"steps": kinds.Dataset(step), "episode_metadata": {"task": kinds.Text()}}
    )
    content = (
        {"steps": steps(number, said), "episode_metadata": {"task": TOLD[number]}}
        for number, said in enumerate(SAID)
    )
    write_rlds(folder, features, content, shard_lengths=(3, 1))


def steps(episode: int, said: Sequence[tuple[str, list[str]]]) -> list[dict[str, object]]:
    random = np.random.default_rng(episode)
    return [
        {
            "observation": {
                "front": encoded_image(
                    np.broadcast_to(RGB[(step + episode) % 3], (4, 4, 3)).copy()
                ),
                "instruction": text,
            },
            "phrasings_of_instruction": phrasings,
            "action": random.normal(size=2).astype(np.float32) * (step < len(said) - 1),
            "is_first": step == 0,
            "is_last": step == len(said) - 1,
            "is_terminal": False,
        }
        for step, (text, phrasings) in enumerate(said)
    ]


def test_commanded_rows_cover_the_steps_that_carry_their_text(tmp_path: Path) -> None:
    write(tmp_path / "source")
    job = JobOptions(str(tmp_path / "store"), threads=1)
    embedding = EmbedOptions(
        source=str(tmp_path / "source"),
        split="train",
        cameras=("front",),
        encoder=load_pixel_mean_encoder,
        episodes_per_slice=2,
    )
    jobs.relabel(job, embedding, ScoreOptions(load_pixel_mean_encoder, goals=(RED, GREEN, BLUE)))
    options = DatasetOptions(kinds=("commanded",), end_on_success=False, validation=0, test=0)
    done = build_goals(job, GoalDatasetOptions("gc1", options=options))
    store = Store.open(job.store)
    rows = store.read("goal_datasets/gc1").to_pylist()
    assert [(r["episode_id"], r["goal"], r["start"], r["stop"]) for r in rows] == [
        ("train/0/0", 0, 0, 2),  # the action at the last step with the text is the last
        ("train/0/0", 1, 2, 4),
        ("train/0/1", 2, 2, 3),  # begins later
        ("train/0/2", 0, 0, 1),
        ("train/0/2", 0, 2, 3),  # said again
        ("train/0/2", 1, 1, 3),  # any phrasing
        ("train/1/0", 1, 0, 2),  # of the whole episode
    ]
    assert [note for note in done.warnings if "match no goal" in note] == [
        "phrasings_of_instruction: 1 of 3 instructions match no goal's text, so no "
        "commanded trajectory covers their steps; such as “hum”"
    ]
    # What the reward set says of each row is looked up at its own transitions.
    rewards = store.read("rewards/v1", ["episode_id", "step", "reward"]).to_pylist()
    known = {(r["episode_id"], r["step"]): r["reward"] for r in rewards}
    for row in rows:
        own = [known[row["episode_id"], t][row["goal"]] for t in range(row["start"], row["stop"])]
        assert row["rewards"] == own
        assert row["success"] == any(own)
