"""Tricks against plain arithmetic, and their table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from relabel.evaluation import trick_table
from relabel.evaluation.comparison import compare_rewards
from relabel.evaluation.comparison_report import Comparison, Trick
from relabel.evaluation.pictures import pictures
from relabel.evaluation.tricks import (
    Embedded,
    embedding_tricks,
    potential,
    shares_of_rank,
    whitening,
)
from relabel.evaluation.truth import Truth
from relabel.goals.readings import read_prompts
from relabel.testing import PixelMeanEncoder
from schemas.enums import Fusion
from schemas.goals import Goal, GoalSet
from schemas.labels import Labels
from schemas.store import Store
from schemas.text_embeddings import TextEmbeddings, add_texts
from tests import small

GOALS = small.COLOURS
LENGTHS = np.array([3, 1, 5])


def embedded(cameras: int = 1, goals: GoalSet = GOALS, name: str = "softmax-threshold") -> Embedded:
    encoder, rng = PixelMeanEncoder(), np.random.default_rng(0)
    prompts, texts, norms = read_prompts(goals, encoder.encode_texts)
    frames = rng.normal(size=(cameras, 9, encoder.spec.dim)).astype(np.float32)
    frames /= np.linalg.norm(frames, axis=-1, keepdims=True)
    content = {"name": name} | ({"temperature": 0.1} if name != "cosine" else {})
    own = {f"c{i}": frame for i, frame in enumerate(frames)}
    return Embedded(
        content, goals, prompts, texts, norms, encoder.spec, Fusion.MEAN, False, own, 1, LENGTHS
    )


def tried(own: Embedded) -> dict[str, np.ndarray]:
    return {each.trick: each.scores() for each in embedding_tricks(own) if each.scores is not None}


def softmax(own: Embedded, frames: np.ndarray, texts: np.ndarray, tau: float) -> np.ndarray:
    """(T, G) probabilities, goal by goal, with negatives as the prompts say."""
    cosines = frames.astype(float) @ texts.T.astype(float)
    return softmax_of(own, cosines, tau)


def softmax_of(own: Embedded, cosines: np.ndarray, tau: float) -> np.ndarray:
    columns = []
    for goal, negatives in zip(own.prompts.goal, own.prompts.negatives, strict=True):
        weights = np.exp(cosines[:, [goal, *negatives]] / tau)
        columns.append(weights[:, 0] / weights.sum(axis=1))
    return np.stack(columns, axis=1)


def unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def test_tricks_of_embeddings_are_their_formulas() -> None:
    own = embedded()
    frames, texts = own.cameras["c0"].astype(float), own.texts.astype(float)
    centred, text_centred = frames - frames.mean(axis=0), texts - texts.mean(axis=0)
    found = tried(own)
    close = {"rtol": 2e-3, "atol": 1e-5}
    np.testing.assert_allclose(
        found["centred"], softmax(own, unit(centred), unit(text_centred), 0.1), **close
    )
    spread = frames.std(axis=0)
    np.testing.assert_allclose(
        found["standardised"],
        softmax(own, unit(centred / spread), unit(text_centred / spread), 0.1),
        **close,
    )
    cosines = frames @ texts.T
    np.testing.assert_allclose(
        found["prompt bias"], softmax_of(own, cosines - cosines.mean(axis=0), 0.1), **close
    )
    np.testing.assert_allclose(found["temperature × 2"], softmax(own, frames, texts, 0.2), **close)
    window = np.stack(
        [
            frames[start + max(0, t - 2) : start + t + 1].mean(axis=0)
            for start, length in ((0, 3), (3, 1), (4, 5))
            for t in range(length)
        ]
    )
    np.testing.assert_allclose(found["window 3"], softmax(own, unit(window), texts, 0.1), **close)


def test_whitened_frames_are_as_wide_in_every_direction() -> None:
    rng = np.random.default_rng(0)
    frames = (rng.normal(size=(500, 4)) * [5, 2, 1, 0.5]).astype(np.float32)
    white = (frames - frames.mean(axis=0)) @ whitening(frames)
    variance = np.linalg.eigvalsh(np.cov(frames.T))
    expected = variance / (variance + 0.01 * variance.mean())
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(white.T)), np.sort(expected), rtol=1e-3)


def test_a_goal_keeps_its_own_temperature_in_proportion() -> None:
    goals = GoalSet(goals=tuple(replace_temperature(goal, 0.3) for goal in GOALS.goals))
    own = embedded(goals=goals)
    expected = softmax(own, own.cameras["c0"], own.texts, 0.6)
    np.testing.assert_allclose(tried(own)["temperature × 2"], expected, rtol=1e-3)


def replace_temperature(goal: Goal, value: float) -> Goal:
    return goal.model_copy(update={"temperature": value})


def test_what_does_not_apply_says_why() -> None:
    found = {each.trick: each for each in embedding_tricks(embedded(name="cosine"))}
    assert found["temperature"].scores is None
    assert found["temperature"].why_not == "cosine has no temperature"
    empty = replace(embedded(), cameras={"c0": np.full((9, 4), np.nan, np.float32)})
    assert [each.scores for each in embedding_tricks(empty)] == [None]


def test_missing_frames_stay_missing() -> None:
    own = embedded()
    own.cameras["c0"][4] = np.nan
    for name, scores in tried(own).items():
        assert np.isnan(scores[4]).all(), name
        later = scores[[0, 1, 2, 3]]
        assert np.isfinite(later).all(), name


def test_cameras_are_fused() -> None:
    own = embedded(cameras=2)
    found = tried(own)
    each = [found["camera c0"], found["camera c1"]]
    np.testing.assert_allclose(each[0], own.scores())  # the reward set has the first alone
    np.testing.assert_allclose(found["cameras, min"], np.minimum(*each))
    np.testing.assert_allclose(found["cameras, max"], np.maximum(*each))
    np.testing.assert_allclose(found["cameras, mean"], (each[0] + each[1]) / 2, rtol=1e-6)


def test_a_potential_is_what_a_frame_adds() -> None:
    scores = np.array([[1.0], [4], [2], [9], [3]], np.float32)
    np.testing.assert_array_equal(potential(scores, np.array([3, 2]))[:, 0], [0, 3, -2, 0, -6])


def test_shares_of_rank_leave_missing_scores_out() -> None:
    scores = np.array([[0.3, 5], [0.1, np.nan], [0.3, 7]], np.float32)
    found = shares_of_rank(scores)
    np.testing.assert_allclose(found[:, 0], rankdata(scores[:, 0]) / 3)
    np.testing.assert_allclose(found[[0, 2], 1], [0.5, 1])
    assert np.isnan(found[1, 1])


# --- the table --------------------------------------------------------------------------------


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Store:
    """`v1` of two cameras and `front` of one, under the same encoder, whose texts are kept."""
    store = small.build_store(tmp_path / "store", small.write_source(tmp_path / "source"))
    small.score(store, "front", (small.FRONT,))
    encoder = PixelMeanEncoder()
    texts = [t for goal in GOALS.goals for t in goal.texts] + list(GOALS.null_prompts)
    add_texts(store, TextEmbeddings(encoder.spec, texts, encoder.encode_texts(texts)))
    return store


def labels_of(store: Store, goals: int = 2) -> Labels:
    """Frames whose step is even show the first goals."""
    ids = [goal.id for goal in GOALS.goals[:goals]]
    table = store.read("steps", ["episode_id", "step"])
    keys = zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
    return Labels.of_rows((e, s, goal, s % 2 == 0) for e, s in keys for goal in ids)


def compared(store: Store, *names: str) -> Comparison:
    return compare_rewards(store, names, Truth(labels=labels_of(store)), draws=10, tricks=True)


def row(found: Comparison, rewards: str, trick: str) -> Trick:
    return next(t for t in found.tricks if (t.rewards, t.trick) == (rewards, trick))


def test_a_trick_is_held_against_the_stored_scores(store: Store) -> None:
    found = compared(store, "front", "v1")
    labels = labels_of(store)
    true = {(e, s, g): label for e, s, g, label in labels}
    table = store.read("rewards/front", ["episode_id", "step", "score"]).to_pylist()
    other = store.read("rewards/v1", ["score"]).column("score").to_pylist()
    precision = []
    for goal, goal_id in enumerate(g.id for g in GOALS.goals[:2]):
        label = [true[r["episode_id"], r["step"], goal_id] for r in table]
        base = average_precision_score(label, [r["score"][goal] for r in table])
        least = [min(r["score"][goal], o[goal]) for r, o in zip(table, other, strict=True)]
        precision.append((base, average_precision_score(label, least)))
    bases, leasts = np.mean(precision, axis=0)
    own = row(found, "front", "min with v1")
    assert own.average_precision == pytest.approx(leasts)
    assert own.change == pytest.approx(leasts - bases)
    whole = found.figure("average_precision", "front")
    assert whole is not None
    assert whole.value == pytest.approx(bases)


def test_what_changes_nothing_is_said_to(store: Store) -> None:
    found = compared(store, "front", "v1")
    cameras = [t for t in found.tricks if t.rewards == "front" and t.trick.startswith("camera ")]
    own, other = cameras
    assert own.change == pytest.approx(0)
    assert own.verdict == "no clear change"
    assert other.change is not None
    assert {t.verdict for t in found.tricks} <= {"helps", "hurts", "no clear change"}
    assert "tricks.png" in dict(pictures(found))
    assert any(note.startswith("tricks: ") for note in found.notes)


def test_without_texts_only_scores_are_tricked(tmp_path: Path) -> None:
    store = small.build_store(tmp_path / "store", small.write_source(tmp_path / "source"))
    found = compared(store, "v1")
    assert [t.trick for t in found.tricks] == ["potential"]
    assert any("whose texts are not stored" in note for note in found.notes)


def test_many_episodes_are_sampled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trick_table, "CELLS", 20)
    found = compared(store, "v1")
    assert any("episodes, drawn by the seed" in note for note in found.notes)


def test_ranges_that_differ_are_fused_by_rank(store: Store) -> None:
    small.score(store, "dense", (small.FRONT,), reward="cosine")
    found = compared(store, "v1", "dense")
    assert "shares of rank" in row(found, "v1", "mean with dense").what
    assert row(found, "dense", "temperature").verdict == (
        "does not apply: cosine has no temperature"
    )
    assert row(found, "dense", "temperature").change is None


def test_scores_that_are_not_what_embeddings_give_are_not_tricked(store: Store) -> None:
    """Such as those of a head that was trained on labels."""
    read = Embedded.scores
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Embedded, "scores", lambda self, *how: read(self, *how) / 2)
        found = compared(store, "v1")
    assert [t.trick for t in found.tricks] == ["potential"]
    assert any("its scores are not those that its embeddings give" in n for n in found.notes)
