"""Figures by goal, family and all, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from relabel.evaluation.evidence import GoalFrames
from relabel.evaluation.measured import Measured, differences, figures, mean_of
from relabel.evaluation.metrics import episode_weights
from relabel.evaluation.ranking import Ranking

NAN = float("nan")


def test_figures_are_means_over_the_goals_that_have_a_value() -> None:
    draws = np.array([[0.2, 0.4, NAN], [0.4, 0.6, NAN]])
    measured = Measured(np.array([0.3, 0.5, NAN]), draws, (0, 1))
    found = list(figures("v1", measured, ["a", "b", "c"], ["x", "y", "y"]))
    told = [(f.scope, f.name, f.value, f.goals) for f in found]
    assert told == [
        ("all", "all", pytest.approx(0.4), 2),
        ("family", "x", 0.3, 1),
        ("family", "y", 0.5, 1),
        ("goal", "a", 0.3, 1),
        ("goal", "b", 0.5, 1),
        ("goal", "c", None, 0),
    ]
    low, high = np.quantile([0.3, 0.5], [0.025, 0.975])
    assert (found[0].low, found[0].high) == (pytest.approx(low), pytest.approx(high))
    assert found[-1].low is None


def test_draws_are_moved_by_what_their_mean_is_off_and_stay_in_range() -> None:
    measured = Measured(np.array([0.5]), np.array([[0.5], [0.7], [0.9], [NAN]]), (0, 1))
    np.testing.assert_allclose(measured.centred[:3, 0], [0.3, 0.5, 0.7])
    assert np.isnan(measured.centred[3, 0])
    high = Measured(np.array([0.9]), np.array([[0.1], [0.9]]), (0, 1))
    assert high.centred.max() == 1
    assert high.minus(high).range == (-1, 1)


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0.5, 0.2, (500, 1))
    one, other = (Measured(np.array([mean]), shared + mean - 0.5, (-9, 9)) for mean in (0.5, 0.51))
    found = next(differences(("b", "a"), (other, one), ["g"], ["f"]))
    assert found.value == pytest.approx(0.01)
    assert found.low == pytest.approx(0.01)  # what is common to both draws is gone
    assert (found.rewards, found.than, found.verdict) == ("b", "a", "higher")
    back = next(differences(("a", "b"), (one, other), ["g"], ["f"]))
    assert back.verdict == "lower"
    same = next(differences(("a", "a"), (one, one), ["g"], ["f"]))
    assert same.verdict == "no clear difference"


def test_intervals_hold_the_mean_of_many_data_sets() -> None:
    """Of 60 data sets from one source, the intervals hold what these come to on average."""
    rng = np.random.default_rng(0)
    episodes, length, values, intervals = 60, 8, [], []
    episode = np.repeat(np.arange(episodes), length)
    for seed in range(60):
        happened = (rng.random(episodes) < 0.3)[episode]
        label = happened & (np.tile(np.arange(length), episodes) > 5)
        score = rng.normal(size=len(label)) + 2 * label + 0.5 * rng.normal(size=episodes)[episode]
        columns = (episode, episode, score.astype(np.float32), label)
        ranking = Ranking.of(GoalFrames(0, "g", "f", *columns))
        draws = ranking.precision_draws(episode_weights(episodes, 200, seed))
        measured = Measured(np.array([ranking.average_precision]), draws[:, None], (0, 1))
        value, low, high, _ = mean_of(measured, np.array([0]))
        values.append(value)
        intervals.append((low, high))
    mean = np.mean([value for value in values if value is not None])
    held = [low <= mean <= high for low, high in intervals if low is not None and high is not None]
    assert 0.85 <= np.mean(held) <= 1
