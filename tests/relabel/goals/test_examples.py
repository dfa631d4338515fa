"""Goals by frames of the store: what their embedding is, and what is compared with what."""

from __future__ import annotations

import numpy as np
import pytest

from relabel.goals.files import goals_table
from relabel.goals.prompts import negatives_of, resolve_prompts
from relabel.goals.readings import Readings, check_lengths, read_prompts
from relabel.slices.stored_frames import example_frames
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.errors import GoalError
from schemas.goals import GoalSet
from schemas.manifests import embedding_name
from schemas.store import Store
from schemas.tables import matrix
from tests.relabel.oracle import unit
from tests.small import FRONT, WRIST

A, B = {"episode_id": "train/0/0", "step": 1}, {"episode_id": "train/1/0", "step": 4}
FRAMES = {("train/0/0", 1): np.array([1.0, 0, 0, 0]), ("train/1/0", 4): np.array([0, 0.6, 0.8, 0])}
GOALS = GoalSet.from_mapping(
    {
        "goals": [
            {"id": "frames", "examples": [A, B]},
            {"id": "both", "texts": ["red", "very red"], "examples": [A]},
            {"id": "texts", "texts": ["blue"]},
        ]
    }
)
WORDS = {
    "red": [0, 0, 2.0, 0],
    "very red": [0, 0, 0, 1],
    "blue": [0, 1, 0, 0],
    "an empty room": [1, 1, 1, 1],
}


def encode(texts: list[str]) -> np.ndarray:
    return np.array([WORDS[text] for text in texts], np.float32)


def test_texts_together_weigh_as_much_as_frames_together() -> None:
    prompts, vectors, norms = read_prompts(GOALS, encode, FRAMES)
    own = vectors[prompts.goal]
    a, b = FRAMES.values()
    expected = [
        unit((a + b) / 2),
        unit((unit(np.array([0, 0, 1, 1.0])) + a) / 2),
        np.array([0, 1, 0, 0]),
    ]
    np.testing.assert_allclose(own, expected, atol=1e-6)
    assert norms[prompts.goal[0]] == pytest.approx(np.linalg.norm((a + b) / 2))
    assert norms[prompts.goal[2]] == 1


def test_goals_by_frames_compete_with_the_others() -> None:
    prompts = resolve_prompts(GOALS)
    assert negatives_of(prompts, 2) == [
        "train/0/0 step 1 | train/1/0 step 4",
        "red | very red | train/0/0 step 1",
        "an empty room",
    ]
    assert negatives_of(prompts, 0) == [
        "red | very red | train/0/0 step 1",
        "blue",
        "an empty room",
    ]
    assert len(prompts.texts) == len(prompts.frames) == 4


def test_equal_examples_are_no_negatives_of_each_other() -> None:
    goals = GoalSet.from_mapping(
        {"goals": [{"id": "x", "examples": [A]}, {"id": "y", "examples": [A]}]}
    )
    prompts, _, _ = read_prompts(goals, encode, FRAMES)
    assert negatives_of(prompts, 0) == ["an empty room"]
    assert any("goals x (“x”), y (“y”) say the same" in note for note in prompts.notes)


def test_no_text_at_all_asks_for_no_text_tower() -> None:
    def none(texts: list[str]) -> np.ndarray:
        raise AssertionError(texts)

    goals = GoalSet.from_mapping(
        {"goals": [{"id": "x", "examples": [A]}, {"id": "y", "examples": [B]}], "null_prompts": []}
    )
    prompts, vectors, _ = read_prompts(goals, none, FRAMES)
    np.testing.assert_allclose(vectors[prompts.goal], list(FRAMES.values()), atol=1e-6)
    check_lengths(GOALS, lambda texts: {})


def test_without_a_store_there_are_no_frames() -> None:
    with pytest.raises(
        GoalError, match=r"goal frames: its example train/0/0 step 1 is a frame of a"
    ):
        read_prompts(GOALS, encode)
    with pytest.raises(
        GoalError, match=r"goal frames: its example train/1/0 step 4 .*embedding of it here;"
    ):
        Readings(GOALS, encode, {("train/0/0", 1): FRAMES["train/0/0", 1]})


def test_the_table_of_goals_names_the_frames() -> None:
    prompts, vectors, _ = read_prompts(GOALS, encode, FRAMES)
    table = goals_table(GOALS, prompts, vectors, None, None)
    assert table.column(fields.EXAMPLES).to_pylist() == [[A, B], [A], []]
    assert table.column(fields.TEXTS).to_pylist() == [[], ["red", "very red"], ["blue"]]
    plain = GoalSet.from_texts(["blue"])
    prompts, vectors, _ = read_prompts(plain, encode)
    assert fields.EXAMPLES not in goals_table(plain, prompts, vectors, None, None).column_names


def test_examples_are_in_the_hash_and_come_back() -> None:
    other = GoalSet.from_mapping({"goals": [{"id": "frames", "examples": [A]}]})
    assert (
        other.content_hash
        != GoalSet.from_mapping({"goals": [{"id": "frames", "examples": [B]}]}).content_hash
    )
    assert GoalSet.from_json(GOALS.model_dump_json()) == GOALS


# --- of a store -------------------------------------------------------------------------------

SPEC = PixelMeanEncoder().spec
TABLES = [embedding_name(SPEC, camera) for camera in (FRONT, WRIST)]


def test_frames_are_looked_up_in_every_camera(store: Store) -> None:
    stored = [
        matrix(store.read(f"embeddings/{table}", [fields.EMBEDDING]).column(0), "float64")
        for table in TABLES
    ]
    found = example_frames(store, TABLES, GOALS)
    rows = {("train/0/0", 1): 1, ("train/1/0", 4): 8}  # after 3 + 1 + 0 frames
    for frame, row in rows.items():
        expected = unit(np.mean([unit(camera[row]) for camera in stored], axis=0))
        np.testing.assert_allclose(found[frame], expected, atol=1e-6)
    assert example_frames(store, ["no such table"], GoalSet.from_texts(["blue"])) == {}


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (("train/7/0", 0), "goal g: its example train/7/0 step 0: the store has no such episode"),
        (("train/0/2", 0), "no such episode"),  # it has no frame
        (("<b>, ☃", 0), "no such episode"),
        (("train/0/0", 3), "train/0/0 step 3: the episode has the steps 0 to 2"),
    ],
)
def test_frames_that_are_not_there(store: Store, frame: tuple[str, int], said: str) -> None:
    example = {"episode_id": frame[0], "step": frame[1]}
    goals = GoalSet.from_mapping({"goals": [{"id": "g", "examples": [A, example]}]})
    with pytest.raises(GoalError, match=said):
        example_frames(store, TABLES, goals)


def test_frames_that_were_not_decoded(store: Store) -> None:
    from tests.relabel.slices.test_score_slice import rewrite_embeddings

    rows = np.full((3, 4), np.nan)
    rewrite_embeddings(store, FRONT, rows, [0, 1, 2])
    goals = GoalSet.from_mapping({"goals": [{"id": "g", "examples": [A]}]})
    with pytest.raises(GoalError, match="train/0/0 step 1: the frame could not be decoded"):
        example_frames(store, TABLES[:1], goals)
