"""The calibrated reward: one number at a time, after the fusion of cameras, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from relabel.rewards.base import RewardFunction
from relabel.rewards.curves import LIMIT, log_odds
from relabel.rewards.registry import parse_reward
from relabel.rewards.scorer import Scorer
from schemas.enums import Fusion
from schemas.errors import RewardError
from tests.relabel.rewards.test_rewards import DIM, case, simple_goals, unit32

SLOPES, SHIFTS, BETAS = [0.5, 2.0, 0.0], [1.0, -3.0, 0.5], [0.3, 0.6, 0.9]


def curve(score: float, goal: int, odds: bool) -> float:
    if math.isnan(score):
        return math.nan
    end = 24 * math.log(2)
    if odds and 0 < score < 1:
        score = min(max(math.log(score / (1 - score)), -end), end)
    elif odds:
        score = end if score else -end
    x = score
    return 1 / (1 + math.exp(-(SLOPES[goal] * x + SHIFTS[goal])))


def scorer_of(path: str, fusion: Fusion = Fusion.MEAN, **parameters: Any) -> Scorer:
    function: RewardFunction = parse_reward(path, **parameters)
    return case(function, simple_goals(3), fusion=fusion).scorer


def frames(count: int = 12, seed: int = 3) -> np.ndarray:
    found = unit32(np.random.default_rng(seed), count, DIM)
    found[5] = np.nan
    return found


@pytest.mark.parametrize(("base", "odds"), [("probability", True), ("cosine", False)])
@pytest.mark.parametrize("fusion", Fusion)
def test_the_fused_score_becomes_a_probability(base: str, odds: bool, fusion: Fusion) -> None:
    cameras, lengths = [frames(), frames(seed=4)], [7, 5]
    raw = scorer_of(base, fusion).scores(cameras, lengths)
    x = "log-odds" if odds else "score"
    ours = scorer_of(f"calibrated/{base}", fusion, slopes=SLOPES, shifts=SHIFTS, x=x)
    expected = [[curve(float(s), goal, odds) for goal, s in enumerate(row)] for row in raw]
    scores = ours.scores(cameras, lengths)
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    assert ours.score_range == ours.reward_range == (0, 1)
    np.testing.assert_array_equal(ours.rewards(scores, lengths)[:6], scores[1:7])
    assert not ours.binary


def test_betas_leave_the_score_and_cut_it_strictly() -> None:
    raw = scorer_of("cosine").scores([frames()], [12])
    betas = [float(raw[3, 0]), -1.0, 1.0]
    ours = scorer_of("calibrated/cosine", betas=betas)
    scores = ours.scores([frames()], [12])
    np.testing.assert_array_equal(scores, raw)
    assert ours.score_range == (-1, 1)
    rewards = ours.rewards(scores, [12])
    seen = np.vstack([raw[1:], np.full((1, 3), np.nan)])
    for goal, beta in enumerate(betas):
        known = ~np.isnan(seen[:, goal])
        assert rewards[known, goal].tolist() == (seen[known, goal] > np.float32(beta)).tolist()
    assert rewards[2, 0] == 0  # of the frame whose score is the threshold


def test_knots_take_the_place_of_one_goals_curve() -> None:
    knots = [[], [[-2.0, 0.1], [0.0, 0.3], [3.0, 0.8]], []]
    how = {"slopes": SLOPES, "shifts": SHIFTS}
    plain = scorer_of("calibrated/probability", **how).scores([frames()], [12])
    ours = scorer_of("calibrated/probability", **how, knots=knots).scores([frames()], [12])
    raw = scorer_of("probability").scores([frames()], [12])
    np.testing.assert_array_equal(ours[:, [0, 2]], plain[:, [0, 2]])
    for s, p in zip(raw[:, 1], ours[:, 1], strict=True):
        x = log_odds(np.array(s))
        if x <= -2:
            assert p == pytest.approx(0.1)
        elif x >= 3:
            assert p == pytest.approx(0.8)
        elif not np.isnan(x):
            low, high = ((-2, 0.1), (0, 0.3)) if x < 0 else ((0, 0.3), (3, 0.8))
            share = (x - low[0]) / (high[0] - low[0])
            assert p == pytest.approx(low[1] + share * (high[1] - low[1]), abs=1e-6)


def test_log_odds_end_where_float32_does() -> None:
    p = np.array([0, 1e-30, 0.25, 0.5, np.float32(1) - np.float32(2**-24), 1, np.nan])
    found = log_odds(p)
    assert found[:2].tolist() == [-LIMIT, -LIMIT]
    np.testing.assert_allclose(found[2:4], [-math.log(3), 0])
    assert found[4] == pytest.approx(LIMIT)
    assert found[5] == LIMIT
    assert np.isnan(found[6])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "expected betas, or slopes and shifts; `vlm-relabel calibrate` fits"),
        ({"slopes": [1.0]}, "expected slopes and shifts together"),
        ({"betas": [0.5] * 2, "slopes": [1.0], "shifts": [0.0]}, "as many numbers of each kind"),
        ({"betas": [0.5], "knots": [[]]}, "expected slopes and shifts beside knots"),
        ({"slopes": [-1.0], "shifts": [0.0]}, "expected slopes of 0 or more"),
        ({"betas": "high"}, "betas: expected numbers, one per goal of the set, got 'high'"),
        ({"betas": [math.nan]}, "betas.0: expected numbers, one per goal"),
        ({"betas": [0.5], "beta": 1}, "unknown parameter"),
    ],
)
def test_what_is_no_calibration(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RewardError, match=said):
        parse_reward("calibrated/probability", **given)


def test_a_calibration_belongs_to_its_goals() -> None:
    with pytest.raises(RewardError, match="expected numbers of 3 goals, got those of 2"):
        scorer_of("calibrated/probability", betas=[0.5, 0.5])


@pytest.mark.parametrize(
    "path", ["calibrated/calibrated/cosine", "window-mean/calibrated/cosine", "calibrated"]
)
def test_its_place_among_wrappers(path: str) -> None:
    with pytest.raises(RewardError, match="calibrated"):
        parse_reward(path, betas=[0.5], **({"window": 2} if "window" in path else {}))
