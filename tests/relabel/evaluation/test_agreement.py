"""Rank agreement against SciPy, and the frames that sets disagree on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from relabel.evaluation.agreement import agreement, disagreements, sampled_rows


def test_agreement_is_scipys_over_the_frames_that_both_score() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.random((40, 3)).round(1).astype(np.float32) for _ in range(2))
    one[3, 0] = other[7, 0] = np.nan
    other[:, 1] = 0.5  # never changes
    found = agreement(one, other)
    both = np.isfinite(one[:, 0] + other[:, 0])
    left, right = one[both, 0], other[both, 0]
    assert found.spearman[0] == pytest.approx(spearmanr(left, right).statistic)
    assert found.kendall[0] == pytest.approx(kendalltau(left, right).statistic)
    assert np.isnan(found.spearman[1])
    assert agreement(one, one).kendall[2] == pytest.approx(1)
    assert agreement(one, -one).spearman[2] == pytest.approx(-1)


def test_without_frames_nothing_agrees() -> None:
    empty = np.empty((0, 2), np.float32)
    assert np.isnan(agreement(empty, empty).spearman).all()
    assert disagreements([empty, empty], np.empty(0, int), 5) == []


def test_disagreements_are_frames_near_the_top_of_one_set_alone() -> None:
    count = 100
    one = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    other = one.copy()
    other[99], other[20] = 0.0, 1.5  # the best one of the first, and a middling one
    found = disagreements([one, other], np.arange(count), 10)
    assert [(own.row, own.ranks) for own in found] == [(99, (1.0, 99.5)), (20, (80.0, 1.0))]
    assert found[0].factor == pytest.approx(99.5)
    assert found[0].scores == (1.0, 0.0)


def test_frames_of_one_episode_are_listed_once_and_alike_scores_never() -> None:
    one = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    other = one[::-1].copy()
    found = disagreements([one, other], np.zeros(50, int), 10)
    assert len(found) == 1  # all are of one episode
    barely = one + np.linspace(0, 0.01, 50, dtype=np.float32)[::-1, None] * 5
    assert disagreements([one, barely], np.arange(50), 10) == []
    assert disagreements([one], np.arange(50), 10) == []


def test_a_sample_of_rows_is_rising_and_drawn_by_a_seed() -> None:
    assert sampled_rows(5, 0, most=5).tolist() == [0, 1, 2, 3, 4]
    found = sampled_rows(1000, 0, most=10)
    assert len(set(found.tolist())) == 10
    assert (np.diff(found) > 0).all()
    assert found.tolist() == sampled_rows(1000, 0, most=10).tolist()
    assert found.tolist() != sampled_rows(1000, 1, most=10).tolist()
