"""Average precision against hand-made cases and a slow oracle."""

from __future__ import annotations

import numpy as np
import pytest

from examples.playroom.evaluate import average_precisions, evaluate


def slow_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean, over the positives, of the share of positives among frames scored at least as high."""
    above = [scores >= scores[i] for i in np.flatnonzero(truth)]
    return float(np.mean([truth[frames].mean() for frames in above]))


def test_average_precision_is_the_oracles() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((60, 5)) < 0.2).astype(np.uint8)
    scores = rng.random((60, 5)) + 0.3 * truth
    expected = [slow_average_precision(truth[:, goal], scores[:, goal]) for goal in range(5)]
    assert average_precisions(truth, scores) == pytest.approx(expected)


def test_families_are_averaged_over_goals_that_are_ever_true() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=np.uint8)
    scores = np.array([[0.9, 0.5, 0.2], [0.1, 0.5, 0.9], [0.1, 0.5, 0.8], [0.1, 0.5, 0.1]])
    result = evaluate(truth, scores, ["find", "find", "place"])
    find, place = result.families
    assert (find.family, find.average_precision, find.base_rate) == ("find", 1.0, 0.25)
    assert (find.goals, find.silent_goals, find.positives) == (1, 1, 1)
    assert place.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result.macro_average_precision == pytest.approx((1 + 7 / 12) / 2)
    assert (result.base_rate, result.frames) == (pytest.approx(3 / 8), 4)


def test_a_family_that_is_never_true_has_no_figure() -> None:
    result = evaluate(np.zeros((3, 1), np.uint8), np.zeros((3, 1)), ["lift"])
    assert np.isnan(result.families[0].average_precision)
    assert np.isnan(result.macro_average_precision)


def test_blind_scores_get_the_base_rate() -> None:
    truth = (np.random.default_rng(0).random((500, 3)) < 0.1).astype(np.uint8)
    result = evaluate(truth, np.ones((500, 3)), ["find"] * 3)
    assert result.macro_average_precision == pytest.approx(result.base_rate)


def test_bad_arrays_are_refused() -> None:
    truth = np.zeros((3, 2), np.uint8)
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(3, 3\)"):
        average_precisions(truth, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="1 scores are not finite"):
        average_precisions(truth, np.array([[0, 0], [0, np.nan], [0, 0]]))
    with pytest.raises(ValueError, match="1 families for 2 goals"):
        evaluate(truth, np.zeros((3, 2)), ["find"])
