"""Reward sets side by side: numbers of scikit-learn and SciPy, odd truths, odd goals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import average_precision_score, roc_auc_score

from relabel.evaluation import comparison_figures, measures, ranking
from relabel.evaluation.comparison import compare_rewards, opened
from relabel.evaluation.comparison_report import Comparison
from relabel.evaluation.pictures import pictures
from relabel.evaluation.truth import Truth, column_truth
from schemas.errors import LabelError, StoreError
from schemas.labels import Labels
from schemas.store import Store
from tests.relabel.evaluation.scored_stores import RewardsTold, Told, add_rewards, make_store

LENGTHS = (6, 1, 9, 4, 7, 5, 8, 3)
GOALS = 4
IDS = tuple(f"g{goal}" for goal in range(GOALS))
TRUTH = 2.0  # how much higher a true frame is scored


def truths(seed: int = 0) -> list[np.ndarray]:
    """Goal 0 to 2 hold at the end of some episodes; goal 3 never does."""
    rng = np.random.default_rng(seed)
    found = []
    for length in LENGTHS:
        own = np.zeros((length, GOALS), bool)
        for goal in range(GOALS - 1):
            if rng.random() < 0.6:
                own[rng.integers(0, length) :, goal] = True
        found.append(own)
    return found


def scores_of(true: Sequence[np.ndarray], skill: float, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    raw = [rng.normal(size=own.shape) + skill * own for own in true]
    return [(1 / (1 + np.exp(-own))).astype(np.float32) for own in raw]


@pytest.fixture(name="true")
def _true() -> list[np.ndarray]:
    return truths()


@pytest.fixture(name="store")
def _store(tmp_path: Path, true: list[np.ndarray]) -> Store:
    """`v1` knows little, `good` knows much, `part` has three of the goals in another order."""
    weak, strong = scores_of(true, 0.5, 1), scores_of(true, 4.0, 2)
    weak[2][3] = np.nan
    told = [Told(own > 0.5, scores=own, truth=t) for own, t in zip(weak, true, strict=True)]
    store = make_store(tmp_path / "store", told)
    add_rewards(store, RewardsTold("good", strong, IDS, ["a", "a", "b", "b"]))
    part = [own[:, [2, 0]] for own in strong]
    add_rewards(
        store, RewardsTold("part", [np.hstack([p, p[:, :1]]) for p in part], ["g2", "g0", "new"])
    )
    return store


def compared(store: Store, *names: str, **how: Any) -> Comparison:
    """By the column of the store."""
    sets = [opened(store, name).goal_ids for name in names]
    return compare_rewards(store, names, column_truth(store, "truth", None, sets), draws=20, **how)


def flat(values: Sequence[np.ndarray], goal: int) -> np.ndarray:
    return np.concatenate([own[:, goal] for own in values])


def test_average_precision_is_that_of_scikit_learn(store: Store, true: list[np.ndarray]) -> None:
    found = compared(store, "v1", "good")
    weak, strong = scores_of(true, 0.5, 1), scores_of(true, 4.0, 2)
    weak[2][3] = np.nan
    means = []
    for goal in range(GOALS - 1):
        label, score = flat(true, goal), flat(weak, goal)
        there = np.isfinite(score)
        expected = average_precision_score(label[there], score[there])
        means.append(expected)
        got = found.figure("average_precision", "v1", f"g{goal}")
        assert got is not None
        assert got.value == pytest.approx(expected)
        good = average_precision_score(label, flat(strong, goal))
        gap = next(d for d in found.precision_differences if d.name == f"g{goal}")
        assert gap.value == pytest.approx(good - expected)
    whole = found.figure("average_precision", "v1")
    assert whole is not None
    assert (whole.value, whole.goals) == (pytest.approx(np.mean(means)), GOALS - 1)
    assert whole.low is not None
    assert whole.high is not None
    assert whole.low <= np.mean(means) <= whole.high
    none = found.figure("average_precision", "v1", "g3")
    assert none is not None
    assert none.value is None
    assert "1 goal of which no frame is known to be true: g3" in found.notes
    assert any("do not score the same frames" in note for note in found.notes)


def test_episodes_are_ranked_by_their_highest_score(store: Store, true: list[np.ndarray]) -> None:
    found = compared(store, "good")
    strong = scores_of(true, 4.0, 2)
    for goal in range(GOALS - 1):
        success = [own[:, goal].any() for own in true]
        expected = roc_auc_score(success, [own[:, goal].max() for own in strong])
        got = found.figure("episode_auc", "good", f"g{goal}")
        assert got is not None
        assert got.value == pytest.approx(expected)


def test_time_is_ordered_up_to_the_first_success(store: Store, true: list[np.ndarray]) -> None:
    found = compared(store, "good")
    strong = scores_of(true, 4.0, 2)
    for goal in range(GOALS - 1):
        taus = []
        for own, scores in zip(true, strong, strict=True):
            first = int(np.argmax(own[:, goal]))
            if own[:, goal].any() and first > 0:
                taus.append(kendalltau(range(first + 1), scores[: first + 1, goal]).statistic)
        got = found.figure("time_order", "good", f"g{goal}")
        assert got is not None
        assert got.value == pytest.approx(np.mean(taus))


def test_controls_know_nothing(store: Store) -> None:
    found = compared(store, "good")
    assert [(one.name, one.control) for one in found.sets] == [
        ("good", False),
        ("ramp", True),
        ("random", True),
    ]
    ramp = found.figure("time_order", "ramp")
    area = found.figure("episode_auc", "ramp")
    assert ramp is not None
    assert ramp.value == 1
    assert area is not None
    # All episodes end with 1, but for the one of a single frame.
    assert area.value == pytest.approx(0.5, abs=0.15)
    good = found.figure("average_precision", "good")
    assert good is not None
    assert good.value is not None
    for control in ("ramp", "random"):
        own = found.figure("average_precision", control)
        assert own is not None
        assert own.value is not None
        assert own.value < good.value


def test_goals_are_matched_by_id_and_others_are_named(store: Store) -> None:
    found = compared(store, "good", "part")
    assert found.goals == ("g0", "g2")
    for measure in ("average_precision", "episode_auc", "time_order"):
        pair = [found.figure(measure, name) for name in ("good", "part")]
        assert pair[0] is not None
        assert pair[1] is not None
        assert pair[0].value == pair[1].value  # the same scores in another order
    assert {one.name: one.only_here for one in found.sets[:2]} == {
        "good": ("g1", "g3"),
        "part": ("new",),
    }
    assert any(note.startswith("good: 2 goals that not every set has") for note in found.notes)
    assert all(own.spearman == pytest.approx(1) for own in found.rank_agreement)
    assert found.disputed == ()


def test_the_column_belongs_to_the_first_set_that_fits(store: Store) -> None:
    found = compared(store, "part", "good")
    assert any("in the order of good" in note for note in found.notes)
    base = compared(store, "good").figure("average_precision", "good", "g2")
    assert found.figure("average_precision", "part", "g2").value == base.value  # type: ignore[union-attr]
    with pytest.raises(StoreError, match="expected one value per goal, 3 per frame"):
        compared(store, "part")


def test_sets_without_a_goal_in_common_are_refused(store: Store, true: list[np.ndarray]) -> None:
    add_rewards(store, RewardsTold("other", [own[:, :1] for own in true], ["else"]))
    with pytest.raises(StoreError, match="goals in common, matched by id; v1 has g0, g1, g2; oth"):
        compare_rewards(store, ["v1", "other"], Truth())


def test_without_scores_a_set_is_refused(store: Store, true: list[np.ndarray]) -> None:
    own = [values[:, :2].astype(float) for values in true]
    add_rewards(store, RewardsTold("bare", own, IDS[:2], kept=False))
    with pytest.raises(StoreError, match=r"rewards/bare: expected scores, .*--no-scores"):
        compare_rewards(store, ["v1", "bare"], Truth())


def test_without_truth_a_set_tells_its_own_successes(store: Store) -> None:
    found = compare_rewards(store, ["v1", "good"], Truth(), draws=10)
    assert found.average_precision == found.episode_auc == found.curves == ()
    assert found.time_order
    assert [own.scope for own in found.rank_agreement][:1] == ["all"]
    assert found.disputed
    assert {own.truth for own in found.disputed} == {None}
    assert any(note.startswith("nothing is known to be true") for note in found.notes)
    assert any("its order of time flatters it" in note for note in found.notes)
    assert list(pictures(found)) == []


def test_a_dense_set_without_threshold_has_no_order_without_truth(
    store: Store, true: list[np.ndarray]
) -> None:
    own = [2 * values - 1 for values in scores_of(true, 2.0, 5)]
    told = RewardsTold("dense", own, IDS, threshold=None, score_range=(-1, 1), function="cosine")
    add_rewards(store, told)
    found = compare_rewards(store, ["dense"], Truth(), draws=10)
    assert found.time_order == ()
    assert any(note.startswith("dense: has no threshold") for note in found.notes)
    assert compared(store, "good", "dense").time_order


def rows_of(true: Sequence[np.ndarray], goals: Sequence[int]) -> list[tuple[str, int, str, bool]]:
    return [
        (f"train/0/{place}", step, f"g{goal}", bool(own[step, goal]))
        for place, own in enumerate(true)
        for step in range(len(own))
        for goal in goals
    ]


def test_labels_of_all_frames_say_what_the_column_says(
    store: Store, true: list[np.ndarray]
) -> None:
    labels = Labels.of_rows(rows_of(true, range(GOALS)))
    by_labels = compare_rewards(store, ["v1", "good"], Truth(labels=labels), draws=10)
    by_column = compared(store, "v1", "good")
    for measure in ("average_precision", "episode_auc", "time_order"):
        for goal in IDS:
            pair = [one.figure(measure, "good", goal) for one in (by_labels, by_column)]
            assert pair[0] is not None
            assert pair[1] is not None
            assert pair[0].value == pytest.approx(pair[1].value)
    assert [own.truth for own in by_labels.disputed] == [own.truth for own in by_column.disputed]
    assert by_labels.truth["count"] == len(labels)


def test_odd_labels_are_set_aside_and_said(store: Store, true: list[np.ndarray]) -> None:
    rows = rows_of(true, [0])
    rows += [("train/0/0", 0, "g1", True), ("train/0/2", 1, "g1", True)]  # of one class
    rows += [("train/0/0", 1, "g2", True), ("train/0/0", 1, "g2", False)]  # contradictory
    rows += [("train/9/9", 0, "g0", True), ("train/0/0", 99, "g0", True)]
    rows += [("train/0/0", 0, "<script>alert(1)</script>", True)]
    found = compare_rewards(store, ["v1", "good"], Truth(labels=Labels.of_rows(rows)), draws=10)
    values = {goal: found.figure("average_precision", "v1", goal).value for goal in IDS}  # type: ignore[union-attr]
    assert values["g1"] == 1  # any score is right where all are true
    assert values["g2"] is None
    assert values["g3"] is None
    notes = "\n".join(found.notes)
    assert "1 labels of episodes that the store does not have: train/9/9" in notes
    assert "labels of frames without a score, or that are not there" in notes
    assert "1 labels of goals that the reward set does not have" in notes
    assert "1 frames labelled both yes and no" in notes
    assert "2 goals of which nothing is known: g2, g3" in notes
    assert "1 goal of which every known frame is true, so that any score is right: g1" in notes
    json.dumps(found.model_dump(mode="json"), allow_nan=False)


def test_labels_of_nothing_known_are_refused(store: Store) -> None:
    labels = Labels.of_rows([("no/0/0", 0, "g0", True)])
    with pytest.raises(LabelError, match="no label to judge by: 1 labels of episodes that the st"):
        compare_rewards(store, ["v1", "good"], Truth(labels=labels), draws=5)


def test_labels_of_one_answer_leave_every_figure_empty(store: Store) -> None:
    labels = Labels.of_rows([("train/0/0", 0, "g0", False)])
    found = compare_rewards(store, ["v1"], Truth(labels=labels), draws=5)
    assert {own.value for own in found.average_precision} == {None}
    assert found.curves == ()
    assert list(pictures(found)) == []


def test_families_of_odd_names_are_drawn_as_they_are(
    store: Store, true: list[np.ndarray], recwarn: pytest.WarningsRecorder
) -> None:
    odd = ["<script>alert(1)</script>", 'a, "quoted"\nline', "$x_{1}$ 🤖", "\u202eright to left"]
    add_rewards(store, RewardsTold("odd", scores_of(true, 1, 3), IDS, odd))
    found = compared(store, "odd")
    drawn = dict(pictures(found))
    assert set(drawn) == {"precision_recall.png", "precision_recall.svg"}
    assert drawn["precision_recall.png"].startswith(b"\x89PNG")
    assert b"<script>" not in drawn["precision_recall.svg"]
    assert [own.name for own in found.curves if own.rewards == "odd"] == ["all", *odd[:3]]
    assert not recwarn.list
    assert dict(pictures(found)) == drawn  # the same bytes again


def test_samples_are_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MOST", 3)
    for module in (measures, comparison_figures):
        monkeypatch.setattr(module, "CONTROL_FRAMES", 5)
    monkeypatch.setattr("relabel.evaluation.agreement.sampled_rows.__defaults__", (10,))
    found = compared(store, "v1", "good")
    notes = "\n".join(found.notes)
    assert found.frames_ranked == 10
    assert "10 frames, drawn from 43" in notes
    assert "intervals of goals with many frames come from" in notes
    assert "controls are ranked on" in notes


def test_a_thousand_goals(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"goal-{i}" for i in range(1000)]
    told = [Told(np.zeros((length, 1))) for length in LENGTHS]
    store = make_store(tmp_path / "many", told)
    scores = [rng.random((length, 1000)).astype(np.float32) for length in LENGTHS]
    for name in ("one", "other"):
        add_rewards(store, RewardsTold(name, scores, ids))
    rows = [("train/0/0", step, goal, step == 5) for goal in ids[:20] for step in range(6)]
    found = compare_rewards(store, ["one", "other"], Truth(labels=Labels.of_rows(rows)), draws=5)
    assert len(found.goals) == 1000
    whole = found.figure("average_precision", "one")
    assert whole is not None
    assert whole.goals == 20
    assert any("980 goals of which nothing is known" in note for note in found.notes)
