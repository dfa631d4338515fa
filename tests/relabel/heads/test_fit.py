"""Which goals take a head, and what is said of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relabel.evaluation.metrics import average_precision
from relabel.heads.choice import BLENDS, GAIN, reasons
from relabel.heads.fit import AskedKind, FittedHead, fit_head
from relabel.heads.folds import folds_of
from relabel.heads.kinds import STRENGTHS, learned, values
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.enums import Fusion
from schemas.errors import LabelError
from schemas.labels import Labels, Row
from schemas.manifests import embedding_name
from schemas.store import Store
from schemas.tables import matrix
from tests import small
from tests.small import FRONT, WRIST

RED, GREEN, BLUE = (goal.id for goal in small.COLOURS.goals)
SPEC = PixelMeanEncoder().spec
FRAMES = [
    (f"train/{shard}/{index}", step)
    for (shard, index), length in zip(((0, 0), (0, 1), (1, 0), (1, 1)), (3, 1, 5, 2), strict=True)
    for step in range(length)
]


def first_steps(goal: str) -> list[Row]:
    """Every frame labelled; a goal that is reached at the start of each episode."""
    return [(episode, step, goal, step == 0) for episode, step in FRAMES]


def fit(
    store: Store, rows: list[Row], kind: AskedKind = "auto", cameras: Any = (FRONT,), **how: Any
) -> FittedHead:
    scorer, _ = small.bind_goals(**how)
    tables = [embedding_name(SPEC, camera) for camera in cameras]
    goals = how.get("goals", small.COLOURS)
    return fit_head(store, tables, scorer, goals, Labels.of_rows(rows), kind)


def embeddings(store: Store, camera: str = FRONT) -> np.ndarray:
    table = store.read(f"embeddings/{embedding_name(SPEC, camera)}", [fields.EMBEDDING])
    return matrix(table.column(0))


@pytest.mark.parametrize("reward", ["softmax-threshold", "cosine"])
def test_a_goal_that_the_text_gets_wrong_takes_the_head(store: Store, reward: str) -> None:
    """Red is highest at later steps, so that zero-shot ranks the labels the wrong way round."""
    head = fit(store, first_steps(RED), reward=reward)
    red, *others = head.goals
    assert (red.positives, red.negatives, red.folds) == (4, 7, "episodes")
    assert red.zero_shot_ap is not None
    assert red.head_ap is not None
    assert red.zero_shot_ap < 0.6 < red.head_ap
    assert red.blend in BLENDS
    assert set(head.weights.goal) == {0}
    assert all((g.blend, g.folds, g.positives) == (0, None, 0) for g in others)
    assert "1 of 3 goals take it" in head.notes[-1]
    assert "2 have too few labels" in head.notes[-1]


@pytest.mark.parametrize("kind", ["cached", "linear"])
def test_what_is_chosen_is_best_on_labels_left_out(store: Store, kind: Any) -> None:
    """All settings again, in loops."""
    rows = [*first_steps(RED), *first_steps(BLUE)]
    head = fit(store, rows, kind, reward="probability")
    frames = embeddings(store)
    zero = matrix(store.read("rewards/v1", [fields.SCORE]).column(0))  # of both cameras: not these
    scorer, _ = small.bind_goals(reward="probability")
    zero = scorer.scores([frames], [3, 1, 5, 2])
    label = np.array([step == 0 for _, step in FRAMES])
    episode = np.cumsum(label)
    fold, _ = folds_of(label, episode) or (None, None)
    found = {}
    for strength in STRENGTHS[kind]:
        share = np.empty(11, np.float32)
        for part in np.unique(fold):
            out = fold == part
            share[out] = values(
                kind, strength, learned(kind, strength, frames[~out], label[~out]), frames[out]
            )
        for blend in BLENDS:
            aps = [
                average_precision(label, (1 - blend) * zero[:, g] + blend * share) for g in (0, 2)
            ]
            found[strength, blend] = aps
    best = max(np.mean(aps) for aps in found.values())
    chosen = [goal for goal in (head.goals[0], head.goals[2]) if goal.blend]
    assert chosen
    assert np.mean([head.goals[0].head_ap, head.goals[2].head_ap]) == pytest.approx(best)
    assert found[head.strength, chosen[0].blend] == pytest.approx(
        [head.goals[0].head_ap, head.goals[2].head_ap]
    )
    for goal in (head.goals[0], head.goals[2]):
        assert bool(goal.blend) == (goal.head_ap > goal.zero_shot_ap + GAIN)


def test_ties_go_to_zero_shot(store: Store) -> None:
    """Labels that zero-shot ranks without a fault leave nothing to gain."""
    scorer, _ = small.bind_goals()
    scores = scorer.scores([embeddings(store)], [3, 1, 5, 2])[:, 0]
    highest = set(np.argsort(-scores)[:4].tolist())
    rows = [(*frame, RED, place in highest) for place, frame in enumerate(FRAMES)]
    head = fit(store, rows)
    assert head.goals[0].zero_shot_ap == 1
    assert head.goals[0].blend == 0
    assert len(head.weights.goal) == 0
    assert head.notes == (
        "head: zero-shot is as good on the labels of all 1 goals, and kept; 2 have too few labels",
    )


def test_the_labels_are_kept_with_scores_that_have_not_seen_them(store: Store) -> None:
    head = fit(store, [*first_steps(RED), (*FRAMES[0], GREEN, True)], "linear")
    table = head.label_table
    assert table.num_rows == 12
    keys = table.select(["goal", fields.EPISODE_ID, fields.STEP, fields.LABEL]).to_pylist()
    assert {tuple(row.values()) for row in keys} == {
        *((0, e, s, y) for e, s, _, y in first_steps(RED)),
        (1, *FRAMES[0], True),
    }
    own = table.to_pandas().query("goal == 0")
    assert average_precision(own["label"].to_numpy(), own["left_out"].to_numpy()) == pytest.approx(
        head.goals[0].head_ap
    )
    other = table.to_pandas().query("goal == 1")
    assert (other["zero_shot"] == other["left_out"]).all()


@pytest.mark.parametrize("fusion", list(Fusion))
def test_several_cameras_teach_one_head(store: Store, fusion: Fusion) -> None:
    head = fit(store, first_steps(RED), "cached", (FRONT, WRIST), fusion=fusion)
    assert len(head.weights.goal) == 22  # each labelled frame in each camera
    assert (head.goals[0].positives, head.goals[0].negatives) == (4, 7)
    stored = {row.tobytes() for camera in (FRONT, WRIST) for row in embeddings(store, camera)}
    assert {row.tobytes() for row in head.weights.rows} == stored


def test_a_window_is_learned_as_it_is_scored(store: Store) -> None:
    head = fit(store, first_steps(RED), "cached", reward="window-mean/probability", window=2)
    frames = embeddings(store)
    mean = frames[0].astype(np.float64) + frames[1]
    second = (mean / np.linalg.norm(mean)).astype(np.float32)
    assert second.tobytes() in {row.tobytes() for row in head.weights.rows}


def test_ties_follow_a_family_that_gains() -> None:
    """Five goals of a family gain, one sees no difference and one loses; another family is torn."""
    gains = [0.3, 0.4, 0.2, 0.3, 0.25, 0.0, -0.01, 0.5, 0.0, -0.4, 0.02, 0.01]
    families = ["place"] * 7 + ["find"] * 3 + ["lift", "alone"]
    assert list(reasons(np.array(gains), families)) == [
        *["goal"] * 5,
        "family",
        None,
        "goal",
        None,
        None,
        None,
        None,
    ]


# --- few and odd labels -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(*FRAMES[0], RED, True)], "no goal has the labels to try one"),
        ([(*f, RED, True) for f in FRAMES], "no goal has the labels to try one"),
        ([(*f, RED, False) for f in FRAMES], "no goal has the labels to try one"),
        ([(*f, RED, i == 2) for i, f in enumerate(FRAMES)], "no goal has the labels to try one"),
    ],
)
def test_too_few_labels_keep_zero_shot(store: Store, rows: list[Row], said: str) -> None:
    head = fit(store, rows)
    assert said in head.notes[-1]
    assert len(head.weights.goal) == 0
    assert head.goals[0].positives + head.goals[0].negatives == len(rows)


def test_labels_of_what_is_not_there_are_left_out_and_told(store: Store) -> None:
    odd: list[Row] = [
        ("train/9/9", 0, RED, True),
        ("nowhere", 0, RED, True),
        (FRAMES[0][0], 77, RED, True),
        (*FRAMES[0], '<script>alert(1)</script>, "no"\nsuch goal ☃', True),
    ]
    both: list[Row] = [(*FRAMES[1], GREEN, True), (*FRAMES[1], GREEN, False)]
    head = fit(store, [*first_steps(RED), *odd, *both])
    plain = fit(store, first_steps(RED))
    assert head.weights.sha256 == plain.weights.sha256
    told = "\n".join(head.notes)
    assert "1 labels of goals that are not scored are left out" in told
    assert "3 labels of frames that the store does not have are left out: nowhere" in told
    assert "1 frames labelled both yes and no are left out: train/0/0 step 1" in told


def test_labels_that_fit_nothing_are_an_error(store: Store) -> None:
    with pytest.raises(
        LabelError, match=r"none of the 1 labels is of a goal and a frame .*nowhere"
    ):
        fit(store, [("nowhere", 0, RED, True)])
    with pytest.raises(LabelError, match="none of the 0 labels"):
        fit(store, [])


def test_frames_without_an_embedding_are_left_out(store: Store) -> None:
    from tests.relabel.slices.test_score_slice import rewrite_embeddings

    before = embeddings(store)[:3].astype(np.float64)
    before[1] = np.nan
    rewrite_embeddings(store, FRONT, before, [0, 1, 2])  # the slice now ends with these
    head = fit(store, first_steps(RED))
    assert "1 labels of frames without a score are left out" in head.notes
    assert (head.goals[0].positives, head.goals[0].negatives) == (
        3,
        6,
    )  # the second episode is gone


def test_skipped_cameras_teach_nothing(store: Store) -> None:
    """All frames of the small source are of one colour, so that every camera is skipped."""
    scorer, _ = small.bind_goals()
    from dataclasses import replace

    tables = [embedding_name(SPEC, camera) for camera in (FRONT, WRIST)]
    labels = Labels.of_rows(first_steps(RED))
    with pytest.raises(LabelError, match="11 labels of frames without a score"):
        fit_head(store, tables, replace(scorer, skip_missing=True), small.COLOURS, labels)


def test_a_thousand_goals(store: Store) -> None:
    from schemas.goals import GoalSet

    goals = GoalSet.from_texts([f"a red room {i}" for i in range(1000)])
    rows = [row for goal in goals.goals[:40] for row in first_steps(goal.id)]
    head = fit(store, rows, "cached", goals=goals, reward="cosine")
    assert len(head.goals) == 1000
    assert sum(goal.folds is not None for goal in head.goals) == 40
    assert "960 have too few labels" in head.notes[-1]


def test_one_goal_and_episodes_of_one_frame(store: Store) -> None:
    from schemas.goals import GoalSet

    goals = GoalSet.from_texts(["a red room"])
    single = [frame for frame in FRAMES if frame[0] == "train/0/1"]
    rows = [row for row in first_steps(goals.goals[0].id) if row[:2] in [*single, *FRAMES[4:]]]
    head = fit(store, rows, goals=goals)
    assert head.goals[0].positives == 3
    assert head.goals[0].folds == "episodes"
