"""Texts with one word exchanged, and whether they fit frames better."""

from __future__ import annotations

import numpy as np
import pytest

from relabel.evaluation import counterfactual_counts
from relabel.evaluation.claims import ClaimBlock
from relabel.evaluation.counterfactual_counts import Preferences, embedded
from relabel.evaluation.counterfactuals import (
    KINDS,
    MOST,
    Counterfactual,
    counterfactuals,
    neighbours,
)
from schemas.goals import GoalSet

ROOM = GoalSet.from_mapping(
    {
        "goals": [
            {"id": "red-ball", "texts": ["Find the red ball!", "a red ball is in front of me"]},
            {"id": "red-box", "texts": ["find the red box"]},
            {"id": "blue-ball", "texts": ["find the BLUE ball"]},
            {"id": "lift-red-ball", "family": "lift", "texts": ["lift the red ball"]},
            {"id": "drawer", "texts": ["the drawer is open"]},
        ],
        "may_be_true_together": [["red-ball", "red-box"]],
    }
)


def of(goal: int, goals: GoalSet = ROOM) -> list[tuple[str, str, str, int | None]]:
    own = [one for one in counterfactuals(goals) if one.goal == goal]
    return [(one.kind, one.word, one.other, one.same_as) for one in own]


def test_one_word_is_exchanged() -> None:
    assert of(0) == [
        ("colour", "red", "blue", 2),
        ("object", "ball", "box", 1),
        ("colour", "red", "green", None),
        ("colour", "red", "yellow", None),
        ("relation", "in front of", "behind", None),
    ]
    assert of(4) == [
        ("relation", "open", "closed", None),
        ("relation", "open", "close", None),
    ]
    found = [one for one in counterfactuals(ROOM) if (one.goal, one.other) == (0, "green")]
    assert found[0].phrasings == ("Find the green ball!", "a green ball is in front of me")
    behind = next(one for one in counterfactuals(ROOM) if one.other == "behind")
    assert behind.phrasings == ("a red ball is behind me",)
    assert not any(one.same_as == 3 for one in counterfactuals(ROOM)), "another family"
    assert [one.may_hold for one in counterfactuals(ROOM) if one.goal == 0][:2] == [False, True]


def test_what_is_a_goal_takes_its_texts() -> None:
    blue = next(one for one in counterfactuals(ROOM) if one.same_as == 2)
    assert blue.phrasings == ("find the BLUE ball",)


def test_neighbours_are_goals_one_word_apart() -> None:
    found = neighbours(ROOM)
    assert np.argwhere(found["colour"]).tolist() == [[0, 2], [2, 0]]
    assert np.argwhere(found["object"]).tolist() == [[0, 1], [1, 0]]
    assert not found["relation"].any()


def test_templates_are_kept() -> None:
    goals = GoalSet.from_mapping(
        {"templates": ["a photo: {}"], "goals": [{"id": "a", "texts": ["a red cup"]}]}
    )
    assert counterfactuals(goals)[0].texts == ("a photo: a green cup",)


@pytest.mark.parametrize(
    "text", ["🙂🙂", "<script>alert(1)</script>", 'say "a, b"\nnow', "הדלת פתוחה", "_", "on"]
)
def test_odd_texts_are_nothing_special(text: str) -> None:
    goals = GoalSet.from_texts([text, "the red door"])
    assert all(one.same_as is None for one in counterfactuals(goals))


def test_a_thousand_goals() -> None:
    goals = GoalSet.from_texts([f"find thing {i} in the red room" for i in range(1000)])
    found = counterfactuals(goals)
    assert len(found) == MOST * 1000
    assert sum(one.same_as is not None for one in found) > 1000


# --- embeddings -------------------------------------------------------------------------------


def item(goal: int, kind: str, text: str, same_as: int | None = None) -> Counterfactual:
    return Counterfactual(goal, kind, "a", "b", (text,), (text,), same_as, False)


def test_embeddings_come_from_goals_from_the_store_and_from_the_encoder() -> None:
    goals = np.eye(3, dtype=np.float32)
    items = [item(0, "object", "x", 2), item(1, "colour", "kept"), item(1, "colour", "new")]
    stored = {"kept": np.array([0, 0, 2], np.float32)}
    alone = embedded(items, goals, stored, None)
    assert alone.sources == {"goals": 1, "stored": 1, "encoder": 0, "missing": 1}
    assert alone.embeddings.tolist() == [[0, 0, 1], [0, 0, 1]]
    asked: list[list[str]] = []

    def encode(texts: object) -> np.ndarray:
        asked.append(list(texts))  # type: ignore[call-overload]
        return np.array([[0, 3, 0]], np.float32)

    whole = embedded(items, goals, stored, encode)
    assert asked == [["new"]]
    assert whole.sources == {"goals": 1, "stored": 1, "encoder": 1, "missing": 0}
    assert whole.alike.tolist() == [False, False, True]  # as goal 1 itself


def test_a_claimed_frame_prefers_what_fits_better() -> None:
    rng = np.random.default_rng(0)
    goals, frames = (_unit(rng.normal(size=(n, 5))) for n in (3, 40))
    items = [
        item(goal, KINDS[kind], f"{goal}{kind}{n}")
        for goal in range(3)
        for kind in (0, 1, 0)
        for n in range(2)
    ]
    vectors = dict(
        zip([one.texts[0] for one in items], _unit(rng.normal(size=(18, 5))), strict=True)
    )
    texts = embedded(items, goals, vectors, None)
    counts = Preferences(texts, stride=2)
    claimed = rng.random((40, 3)) < 0.5
    frames[7] = np.nan
    values = claimed.astype(np.float32)
    counts.add(ClaimBlock(0, 0, 10, np.array([40]), values, claimed), [frames])
    for kind in range(3):
        for goal in range(3):
            own = [v for one, v in zip(texts.items, texts.embeddings, strict=True)
                   if (one.goal, one.kind) == (goal, KINDS[kind])]  # fmt: skip
            rows = [r for r in range(0, 40, 2) if claimed[r, goal] and r != 7 and own]
            better = [any(frames[r] @ v > frames[r] @ goals[goal] for v in own) for r in rows]
            assert counts.looked_at[kind, goal] == len(rows)
            assert counts.preferred[kind, goal] == sum(better)


def test_several_cameras_are_fused_where_they_are_there() -> None:
    one = np.array([[1, 0], [np.nan, np.nan], [np.nan, np.nan]], np.float32)
    other = np.array([[0, 1], [0, 1], [np.nan, np.nan]], np.float32)
    found = counterfactual_counts._fused([one, other])
    np.testing.assert_array_equal(found, [[0.5, 0.5], [0, 1], [np.nan, np.nan]])


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
