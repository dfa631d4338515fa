"""What a head learns of one goal."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from sklearn.linear_model import LogisticRegression

from relabel.heads.folds import FOLDS, folds_of
from relabel.heads.kinds import STRENGTHS, learned, logistic, values
from tests.relabel.oracle import unit


@pytest.mark.parametrize("strength", [*STRENGTHS["linear"], 1e4])
@pytest.mark.parametrize(("count", "dim"), [(12, 64), (200, 5), (3, 3), (2, 1)])
def test_the_plane_is_that_of_scikit_learn(count: int, dim: int, strength: float) -> None:
    rng = np.random.default_rng(count)
    frames = unit(rng.normal(size=(count, dim)))
    label = rng.random(count) < 0.3
    label[:2] = True, False
    model = LogisticRegression(C=strength, class_weight="balanced", tol=1e-10, max_iter=100_000)
    model.fit(frames, label)
    normal, bias = logistic(frames, label, strength)
    expected = frames @ model.coef_[0] + model.intercept_[0]
    scale = 1 + np.abs(expected).max()
    np.testing.assert_allclose(frames @ normal + bias, expected, atol=2e-3 * scale)


@given(seed=st.integers(0, 10_000), strength=st.sampled_from([0.01, 1.0, 100.0, 1e6]))
def test_the_slope_of_the_loss_is_zero(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    count, dim = rng.integers(2, 20), rng.integers(1, 20)
    frames = unit(rng.normal(size=(count, dim)) + rng.normal(size=dim))
    frames[rng.random(count) < 0.3] = frames[0]  # equal frames, labelled both ways too
    label = rng.random(count) < 0.5
    label[:2] = True, False
    normal, bias = logistic(frames, label, strength)
    p = 1 / (1 + np.exp(-(frames @ normal + bias)))
    weight = strength * np.where(label, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    pull = weight * (p - label)
    assert np.abs(normal + frames.T @ pull).max() < 1e-6 * strength + 1e-8
    assert abs(pull.sum()) < 1e-6 * strength + 1e-8


def test_the_order_of_labels_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    frames = unit(rng.normal(size=(12, 8))).astype(np.float32)
    label = np.arange(12) < 4
    order = rng.permutation(12)
    asked = unit(rng.normal(size=(5, 8))).astype(np.float32)
    for kind, strengths in STRENGTHS.items():
        found = [
            values(kind, strengths[0], learned(kind, strengths[0], f, y), asked)
            for f, y in ((frames, label), (frames[order], label[order]))
        ]
        np.testing.assert_allclose(*found, atol=1e-6)
        assert ((found[0] >= 0) & (found[0] <= 1)).all()


def test_a_missing_frame_has_no_value() -> None:
    frames = unit(np.random.default_rng(1).normal(size=(4, 3))).astype(np.float32)
    head = learned("cached", 5.0, frames, np.array([True, False, True, False]))
    asked = frames.copy()
    asked[1, 2] = np.nan
    assert np.isnan(values("cached", 5.0, head, asked)).tolist() == [False, True, False, False]


# --- folds ------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=30),
)
def test_every_part_leaves_both_answers(pairs: list[tuple[bool, int]]) -> None:
    label = np.array([yes for yes, _ in pairs], bool)
    episode = np.array([at for _, at in pairs], np.int64)
    found = folds_of(label, episode)
    if found is None:
        assert min(label.sum(), (~label).sum()) < 2
        return
    fold, grouping = found
    for part in np.unique(fold):
        left = label[fold != part]
        assert left.any()
        assert not left.all()
    assert 2 <= len(np.unique(fold)) <= FOLDS
    if grouping == "episodes":
        assert all(len(set(fold[episode == one].tolist())) == 1 for one in episode)


def test_four_positives_of_four_episodes_are_left_out_one_by_one() -> None:
    label = np.arange(12) < 4
    fold, grouping = folds_of(label, np.arange(12)) or (None, None)
    assert grouping == "episodes"
    assert sorted(fold[:4].tolist()) == [0, 1, 2, 3]
    assert np.bincount(fold).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("yes", "no", "expected"),
    [
        ([0, 1], [2, 3], "episodes"),
        ([0, 0, 0], [1, 2, 3], "frames"),  # without episode 0 there is no positive
        ([0], [1, 2, 3], None),
        ([0, 1], [2], None),
        ([], [1, 2], None),
        ([], [], None),
    ],
)
def test_episodes_where_that_is_possible(
    yes: list[int], no: list[int], expected: str | None
) -> None:
    label = np.array([True] * len(yes) + [False] * len(no), bool)
    found = folds_of(label, np.array([*yes, *no], np.int64))
    assert (found and found[1]) == expected
