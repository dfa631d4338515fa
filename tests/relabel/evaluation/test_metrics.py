"""Metrics against scikit-learn and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, brier_score_loss, precision_score, recall_score

from relabel.evaluation import ranking
from relabel.evaluation.evidence import GoalFrames
from relabel.evaluation.metrics import (
    average_precision,
    average_precisions,
    brier,
    calibration_error,
    episode_weights,
    interval,
    sweep,
)
from relabel.evaluation.ranking import Ranking

SCORES = arrays.arrays(
    np.float32, st.integers(1, 30), elements=st.sampled_from([0.1, 0.25, 0.3, 0.9])
)


def frames(label: np.ndarray, score: np.ndarray, episode: np.ndarray) -> GoalFrames:
    return GoalFrames(0, "g", "f", episode, np.arange(len(label)), score, label)


@given(score=SCORES, data=st.data())
def test_average_precision_is_that_of_scikit_learn(score: np.ndarray, data: st.DataObject) -> None:
    label = data.draw(arrays.arrays(bool, len(score)))
    weight = data.draw(arrays.arrays(float, len(score), elements=st.integers(0, 3)))
    if not (weight * label).any():
        assert np.isnan(average_precision(label, score, weight))
        return
    expected = average_precision_score(label, score, sample_weight=weight)
    assert average_precision(label, score, weight) == pytest.approx(expected, abs=1e-12)
    same = average_precisions(label, score, np.stack([weight, 0 * weight, 2 * weight]))
    np.testing.assert_allclose(same, [expected, np.nan, expected], atol=1e-12)


@given(score=SCORES, data=st.data())
def test_thresholds_do_what_the_sweep_says(score: np.ndarray, data: st.DataObject) -> None:
    label = data.draw(arrays.arrays(bool, len(score)))
    found = sweep(label, score)
    assert (np.diff(found.threshold) >= 0).all()
    assert found.claimed[0] == len(score)
    assert found.claimed[-1] == 0
    for place, beta in enumerate(found.threshold):
        claimed = score > beta
        assert claimed.sum() == found.claimed[place]
        options = {"y_true": label, "y_pred": claimed}
        assert found.precision[place] == precision_score(**options, zero_division=1.0)
        if label.any():
            assert found.recall[place] == recall_score(**options)
    best = found.f1[found.best]
    assert best == found.f1.max()
    assert not (found.f1[found.best + 1 :] == best).any()


def test_neighbouring_scores_are_told_apart() -> None:
    low = np.float32(0.5)
    score = np.array([low, np.nextafter(low, np.float32(1))], np.float32)
    found = sweep(np.array([False, True]), score)
    assert found.precision[found.best] == found.recall[found.best] == 1
    assert ((score > found.threshold[found.best]) == [False, True]).all()


def test_no_frames() -> None:
    nothing = np.empty(0, np.float32)
    assert sweep(nothing.astype(bool), nothing).claimed.tolist() == [0]
    for metric in (average_precision, brier, calibration_error):
        assert np.isnan(metric(nothing.astype(bool), nothing))


def test_probabilities() -> None:
    rng = np.random.default_rng(0)
    label, p = rng.random(500) < 0.3, rng.random(500)
    weight = rng.integers(0, 4, 500)
    assert brier(label, p) == pytest.approx(brier_score_loss(label, p))
    assert brier(label, p, weight) == pytest.approx(
        brier_score_loss(label, p, sample_weight=weight)
    )
    gaps = []
    for low in range(15):
        own = (p >= low / 15) & (p < (low + 1) / 15)
        gaps.append(own.mean() * abs(p[own].mean() - label[own].mean()) if own.any() else 0)
    assert calibration_error(label, p) == pytest.approx(sum(gaps))
    repeated = np.repeat(np.arange(500), weight)
    assert calibration_error(label, p, weight=weight) == pytest.approx(
        calibration_error(label[repeated], p[repeated])
    )
    assert calibration_error(np.ones(4, bool), np.ones(4)) == 0


def test_whole_episodes_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_CELLS", 100)
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(7), rng.integers(1, 9, 7))
    label, score = rng.random(len(episode)) < 0.4, rng.random(len(episode)).astype(np.float32)
    weights = episode_weights(7, 50, seed=3)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    one = frames(label, score, episode)
    fast = Ranking.of(one).precision_draws(weights)
    for draw, found in zip(weights, fast, strict=True):
        drawn = np.concatenate([np.flatnonzero(episode == e).repeat(n) for e, n in enumerate(draw)])
        if label[drawn].any():
            assert found == pytest.approx(average_precision_score(label[drawn], score[drawn]))
        else:
            assert np.isnan(found)

    slow = [average_precision(label, score, draw[episode]) for draw in weights]
    assert slow == pytest.approx(list(fast), nan_ok=True)


def test_intervals() -> None:
    assert interval(np.append(np.arange(101.0), np.nan), 0.9) == pytest.approx((5, 95))
    assert np.isnan(interval(np.full(3, np.nan))).all()
