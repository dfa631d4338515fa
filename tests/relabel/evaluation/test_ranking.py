"""Average precision of many frames: against scikit-learn, against the slow way, and by controls."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from relabel.evaluation import ranking
from relabel.evaluation.evidence import GoalFrames
from relabel.evaluation.metrics import average_precision, episode_weights
from relabel.evaluation.ranking import Ranking

EPISODES = 20


def frames(seed: int, count: int, levels: int, share: float = 0.3) -> GoalFrames:
    """Frames of a goal; few levels of scores make ties."""
    rng = np.random.default_rng(seed)
    label = rng.random(count) < share
    score = (rng.integers(0, levels, count) + 2 * label).astype(np.float32)
    episode = rng.integers(0, EPISODES, count)
    return GoalFrames(0, "g0", "family", episode, np.arange(count), score, label)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_values_are_those_of_scikit_learn_and_draws_those_of_the_slow_way(
    seed: int, levels: int
) -> None:
    own = frames(seed, 3 + 5 * seed, levels)
    found, weights = Ranking.of(own), episode_weights(EPISODES, 30, seed)
    if own.label.any():
        expected = average_precision_score(own.label, own.score)
        assert found.average_precision == pytest.approx(expected, abs=1e-12)
    drawn = (draw[own.episode] for draw in weights)
    slow = [average_precision(own.label, own.score, weight) for weight in drawn]
    np.testing.assert_allclose(found.precision_draws(weights), slow, atol=1e-12)


def test_draws_of_a_few_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    own, weights = frames(1, 50, 10), episode_weights(EPISODES, 30, 1)
    whole = Ranking.of(own).precision_draws(weights)
    monkeypatch.setattr(ranking, "_CELLS", 100)
    np.testing.assert_array_equal(Ranking.of(own).precision_draws(weights), whole)


@pytest.mark.parametrize("levels", [4, 1000])
def test_a_curve_has_the_precision_at_the_first_threshold_of_each_recall(levels: int) -> None:
    own = frames(3, 200, levels)
    precision, recall, _ = precision_recall_curve(own.label, own.score)
    precision, recall = precision[:-1][::-1], recall[:-1][::-1]  # highest threshold first
    wanted = np.linspace(0, 1, 101)
    # At recall 0 the first threshold that claims a true frame.
    reached = [
        max(np.searchsorted(recall, r - 1e-9), np.searchsorted(recall, 1e-9)) for r in wanted
    ]
    np.testing.assert_allclose(Ranking.of(own).curve(), precision[reached])


def test_a_random_score_comes_to_the_base_rate_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    count = 40_000
    label = rng.random(count) < 0.07
    columns = (np.arange(count) % 400, np.arange(count), rng.random(count, np.float32), label)
    found = Ranking.of(GoalFrames(0, "g", "f", *columns))
    assert found.base_rate == label.mean()
    assert found.average_precision == pytest.approx(label.mean(), abs=0.005)


def test_without_a_true_frame_nothing_is_known() -> None:
    weights = episode_weights(EPISODES, 5)
    for count in (0, 4):
        found = Ranking.of(frames(0, count, 3, share=0))
        assert np.isnan(found.average_precision)
        assert np.isnan(found.precision_draws(weights)).all()
        assert np.isnan(found.curve()).all()


def test_true_frames_alone_are_ranked_right_by_any_score() -> None:
    found = Ranking.of(frames(0, 6, 3, share=1.1))
    assert found.average_precision == 1
    assert (found.curve() == 1).all()


def test_draws_of_a_sample_lie_around_the_value_as_those_of_all_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(400), 50)
    label = rng.random(20_000) < 0.2
    score = (rng.normal(size=20_000) + 1.5 * label).astype(np.float32)
    own = GoalFrames(0, "g", "f", episode, np.arange(20_000), score, label)
    weights = episode_weights(400, 200)
    whole = Ranking.of(own).precision_draws(weights)
    monkeypatch.setattr(ranking, "MOST", 3000)
    found = Ranking.of(own)
    assert found.is_sampled
    drawn = found.precision_draws(weights)
    assert drawn.mean() == pytest.approx(whole.mean(), abs=0.005)
    assert 0.7 * whole.std() < drawn.std() < 2 * whole.std()
