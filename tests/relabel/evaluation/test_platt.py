"""Platt's calibration of many goals: against scikit-learn, and against a plain minimiser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from relabel.evaluation.platt import Platt, Prior, fit_platt
from relabel.rewards.curves import sigmoid

Floats = NDArray[np.float64]
FLAT = Prior(slope=0, slope_sd=1, shift_sd=1e4, family_sd=1e-6, goal_sd=1e-6)


def drawn(
    n: int, goals: int, seed: int = 0, slope: float = 1.5
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    z, goal = rng.normal(0, 2, n), rng.integers(0, goals, n)
    shift = rng.normal(-1, 1, goals)
    return z, rng.random(n) < sigmoid(slope * z + shift[goal]), goal


def test_of_one_goal_it_is_logistic_regression_with_a_penalty_on_the_slope() -> None:
    z, label, goal = drawn(300, 1)
    ours = fit_platt(z, label, goal, ["open"], prior=FLAT)
    theirs = LogisticRegression(C=1, tol=1e-12, max_iter=10_000).fit(z[:, None], label)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], abs=1e-6)
    assert ours.shift[0] == pytest.approx(theirs.intercept_[0], abs=1e-6)
    probability = theirs.predict_proba(z[:, None])[:, 1]
    np.testing.assert_allclose(ours.probability(z, 0), probability, atol=1e-6)


def test_weights_are_labels_that_are_there_several_times() -> None:
    z, label, goal = drawn(80, 3)
    weight = np.random.default_rng(1).integers(0, 4, len(z))
    families = ["open", "lift", "open"]
    ours = fit_platt(z, label, goal, families, weight=weight.astype(float))
    again = fit_platt(*(np.repeat(a, weight) for a in (z, label, goal)), families)
    np.testing.assert_allclose(ours.shift, again.shift, atol=1e-8)
    assert ours.slope == pytest.approx(again.slope, abs=1e-8)


def test_it_is_the_mode_of_the_posterior() -> None:
    families, prior = ["open", "lift", "lift", "open", "turn"], Prior(slope=0.7, family_sd=0.5)
    z, label, goal = drawn(40, 4)
    names = ["open", "lift", "turn"]

    def loss(theta: Floats) -> float:
        a, m, f, d = theta[0], theta[1], dict(zip(names, theta[2:5], strict=True)), theta[5:]
        shift = np.array([m + f[name] + d[g] for g, name in enumerate(families)])
        p = sigmoid(a * z + shift[goal])
        likely = np.log(np.where(label, p, 1 - p)).sum()
        squares = ((a - 0.7) / 1.0) ** 2 + (m / 5.0) ** 2 + ((theta[2:5] / 0.5) ** 2).sum()
        return float(-likely + 0.5 * (squares + (d**2).sum()))

    best = minimize(loss, np.zeros(10), tol=1e-10).x
    ours = fit_platt(z, label, goal, families, prior=prior)
    shift = [best[1] + best[2 + names.index(f)] + best[5 + g] for g, f in enumerate(families)]
    assert ours.slope == pytest.approx(best[0], abs=1e-4)
    np.testing.assert_allclose(ours.shift, shift, atol=1e-4)


def test_a_goal_without_labels_has_the_shift_of_its_family() -> None:
    z, label, _ = drawn(200, 1)
    goal = np.repeat([0, 1], 100)
    label = label | (goal == 1)  # a family whose goals always hold, and one whose goals do not
    found = fit_platt(z, label, goal, ["open", "lift", "open", "lift"])
    assert found.shift[0] < found.shift[2] < found.shift[3] < found.shift[1]


def test_four_labels_per_goal_find_the_slope_and_the_shift_of_all() -> None:
    z, label, goal = drawn(4 * 300, 300, slope=2.0)
    found = fit_platt(z, label, goal, ["open"] * 300)
    assert found.slope == pytest.approx(2.0, abs=0.4)
    assert found.shift.mean() == pytest.approx(-1.0, abs=0.4)


@pytest.mark.parametrize("label", [True, False])
def test_labels_of_one_class_have_a_finite_fit(label: bool) -> None:
    z = np.array([-1.0, 0.0, 2.0])
    found = fit_platt(z, np.full(3, label), np.zeros(3, int), ["open"])
    assert np.isfinite([found.slope, *found.shift]).all()
    assert (found.shift[0] > 0) == label


def test_without_labels_the_prior_is_left() -> None:
    none = np.zeros(0)
    found = fit_platt(none, none > 0, none.astype(int), ["open", "lift"])
    assert found.slope == 1
    assert found.shift.tolist() == [0, 0]


def test_scores_that_tell_the_opposite_get_no_slope() -> None:
    z, label, goal = drawn(300, 2)
    found = fit_platt(-z, label, goal, ["open", "lift"])
    assert found.slope == 0
    share = label.mean()
    assert found.probability(np.array([-9.0, 9.0]), 0) == pytest.approx(share, abs=0.2)


def test_where_probabilities_are_crossed() -> None:
    found = Platt(2.0, np.array([-3.0, 1.0]))
    for wanted in (0.1, 0.5, 0.95):
        at = found.crossing(wanted)
        np.testing.assert_allclose(found.probability(at, np.array([0, 1])), wanted)
    flat = replace(found, slope=0.0)
    assert flat.crossing(0.5).tolist() == [np.inf, -np.inf]
    np.testing.assert_allclose(found.moved(np.log(3)).shift, found.shift + np.log(3))
