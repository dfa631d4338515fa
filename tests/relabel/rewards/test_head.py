"""The head reward: against loops in float64, and zero-shot to the bit where it has no say."""

from __future__ import annotations

import math
import pickle
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from relabel.goals.prompts import resolve_prompts
from relabel.rewards.head import Head, HeadKind, has_head, with_head
from relabel.rewards.head_weights import HeadWeights
from relabel.rewards.registry import from_content, parse_reward
from relabel.rewards.scorer import Scorer, bind
from relabel.testing import PixelMeanEncoder
from schemas.enums import Fusion
from schemas.errors import RewardError, StoreError
from schemas.goals import GoalSet
from tests.relabel.oracle import unit

SPEC = PixelMeanEncoder().spec  # D = 4
GOALS = GoalSet.from_texts([f"goal {i}" for i in range(5)])
REWARDS = ("softmax-threshold", "probability", "cosine", "window-mean/cosine")
REWARDS += ("potential-difference/window-mean/probability",)


def vectors(seed: int, count: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, 4))).astype(np.float32)


def weights_of(kind: HeadKind, goals: list[int], blend: float, seed: int = 0) -> HeadWeights:
    """Two or three positives and two negatives per goal, or a plane."""
    parts, rng = [], np.random.default_rng(seed)
    for goal in goals:
        label = (
            np.array([True] * (2 + goal % 2) + [False] * 2)
            if kind == "cached"
            else np.ones(1, bool)
        )
        count = len(label)
        rows = vectors(seed + goal, count) * (1 if kind == "cached" else 3)
        bias = np.zeros(count) if kind == "cached" else rng.normal(size=count)
        parts.append(
            HeadWeights(
                np.full(count, goal, np.int32),
                np.full(count, blend, np.float32),
                label,
                bias.astype(np.float32),
                rows,
            )
        )
    return HeadWeights.joined(parts, 4)


def told_of(head: HeadWeights, kind: HeadKind, strength: float = 1.0) -> dict[str, Any]:
    """Parameters of a head with these weights."""
    goals = tuple(sorted(set(head.goal.tolist())))
    hashes = {"labels": "l" * 64, "weights": head.sha256}
    return {"kind": kind, "strength": strength, "goals": goals, **hashes}


def scorers(
    path: str,
    kind: HeadKind,
    head: HeadWeights,
    strength: float = 7.0,
    fusion: Fusion = Fusion.MEAN,
    **curve: Any,
) -> tuple[Scorer, Scorer]:
    """Without and with the head."""
    function = parse_reward(path, **({"window": 2} if "window" in path else {}))
    prompts = resolve_prompts(GOALS)
    told = (GOALS, prompts, vectors(99, len(prompts.texts)), SPEC)
    around = with_head(function, **told_of(head, kind, strength), **curve)
    return bind(function, *told, fusion=fusion), bind(around, *told, fusion=fusion, head=head)


def by_hand(
    f: np.ndarray,
    zero: float,
    head: HeadWeights,
    goal: int,
    kind: str,
    strength: float,
    bounds: tuple[float, float],
) -> float:
    """One frame and one goal in float64."""
    rows = [r for r in range(len(head.goal)) if head.goal[r] == goal]
    if not rows:
        return zero
    if kind == "linear":
        q = 1 / (
            1 + math.exp(-(float(f @ head.rows[rows[0]].astype(np.float64)) + head.bias[rows[0]]))
        )
    else:
        say = [math.exp(strength * float(f @ head.rows[r].astype(np.float64))) for r in rows]
        q = sum(s for s, r in zip(say, rows, strict=True) if head.positive[r]) / sum(say)
    blend = float(head.blend[rows[0]])
    return (1 - blend) * zero + blend * (bounds[0] + (bounds[1] - bounds[0]) * q)


@pytest.mark.parametrize("kind", ["cached", "linear"])
@pytest.mark.parametrize("path", ["probability", "cosine", "softmax-threshold"])
def test_scores_are_those_of_loops(kind: HeadKind, path: str) -> None:
    head = weights_of(kind, [1, 2, 4], 0.3)
    plain, headed = scorers(path, kind, head)
    frames = vectors(5, 700)  # more than one block
    zero = plain.scores([frames], [700])
    found = headed.scores([frames], [700])
    expected = [
        [
            by_hand(
                frames[t].astype(np.float64), zero[t, g], head, g, kind, 7.0, headed.score_range
            )
            for g in range(5)
        ]
        for t in range(700)
    ]
    np.testing.assert_allclose(found, expected, atol=3e-6)
    assert (np.abs(found - zero)[:, [1, 2, 4]] > 1e-3).any(axis=0).all()


@pytest.mark.parametrize("kind", ["cached", "linear"])
@pytest.mark.parametrize("path", REWARDS)
@given(goals=st.sets(st.integers(0, 4)), seed=st.integers(0, 1000), count=st.integers(1, 40))
def test_a_goal_without_a_head_is_zero_shot_to_the_bit(
    kind: HeadKind, path: str, goals: set[int], seed: int, count: int
) -> None:
    head = weights_of(kind, sorted(goals), 0.6, seed)
    plain, headed = scorers(path, kind, head)
    frames = vectors(seed, count)
    frames[::7] = np.nan
    zero, found = plain.scores([frames], [count]), headed.scores([frames], [count])
    others = [g for g in range(5) if g not in goals]
    assert found[:, others].tobytes() == zero[:, others].tobytes()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(zero))
    low, high = headed.score_range
    assert np.nanmin(found, initial=low) >= low
    assert np.nanmax(found, initial=high) <= high
    before, after = plain.rewards(zero, [count]), headed.rewards(found, [count])
    assert before[:, others].tobytes() == after[:, others].tobytes()


@pytest.mark.parametrize("blend", [1.0, 0.05])
@pytest.mark.parametrize("fusion", list(Fusion))
def test_cameras_are_scored_by_themselves_and_fused(blend: float, fusion: Fusion) -> None:
    head = weights_of("cached", [0, 3], blend)
    _, headed = scorers("probability", "cached", head, fusion=fusion)
    cameras = [vectors(1, 9), vectors(2, 9)]
    alone = [headed.scores([camera], [9]) for camera in cameras]
    expected = np.mean(alone, axis=0) if fusion is Fusion.MEAN else np.max(alone, axis=0)
    np.testing.assert_allclose(headed.scores(cameras, [9]), expected, atol=1e-6)


@pytest.mark.parametrize("strength", [1e-3, 1e4])
def test_strengths_that_would_overflow_give_shares(strength: float) -> None:
    head = weights_of("cached", [0], 1.0)
    _, headed = scorers("probability", "cached", head, strength)
    found = headed.scores([vectors(3, 50)], [50])[:, 0]
    assert np.isfinite(found).all()
    expected = 0.5 if strength < 1 else np.round(found)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_formula_of_cosines_gives_the_same() -> None:
    head = weights_of("cached", [0, 2], 0.5)
    _, headed = scorers("probability", "cached", head)
    frames, formula = vectors(4, 6), headed.formula
    assert formula.prompts.shape == (len(resolve_prompts(GOALS).texts) + len(head.goal), 4)
    out = np.empty((6, 5), np.float32)
    formula(frames @ formula.prompts.T, out)
    np.testing.assert_allclose(out, headed.scores([frames], [6]), atol=1e-6)


def test_the_manifest_tells_a_head_by_its_hashes() -> None:
    head = weights_of("linear", [1], 0.5)
    _, headed = scorers("potential-difference/window-mean/softmax-threshold", "linear", head)
    function = headed.function
    assert function.path == "potential-difference/window-mean/head/softmax-threshold"
    content = function.model_dump(mode="json")
    assert content["of"]["of"]["weights"] == head.sha256
    assert from_content(content) == function
    assert pickle.loads(pickle.dumps(function)) == function
    assert has_head(function)
    assert not has_head(parse_reward("cosine"))
    moved = pickle.loads(pickle.dumps(headed))
    frames = vectors(8, 5)
    np.testing.assert_array_equal(moved.scores([frames], [5]), headed.scores([frames], [5]))


def test_weights_come_back_from_their_table() -> None:
    for kind in ("cached", "linear"):
        head = weights_of(kind, [0, 4], 0.25)
        told = HeadWeights.of_table(head.table(), "here")
        assert told.sha256 == head.sha256
        assert told.rows.dtype == np.float32
    assert (
        HeadWeights.none(4).sha256 == HeadWeights.of_table(HeadWeights.none(4).table(), "").sha256
    )
    with pytest.raises(StoreError, match=r"here: expected the columns .* got no bias"):
        HeadWeights.of_table(head.table().drop(["bias"]), "here")


def test_every_number_is_in_the_hash() -> None:
    head = weights_of("cached", [0, 4], 0.25)
    seen = {head.sha256}
    for name in ("goal", "blend", "positive", "bias", "rows"):
        values = getattr(head, name).copy()
        values[-1] = values[-1] + 1 if values.dtype != bool else ~values[-1]
        changed = {**vars(head), name: values}
        seen.add(HeadWeights(**changed).sha256)
    assert len(seen) == 6


def test_what_does_not_fit_is_refused() -> None:
    head = weights_of("linear", [1], 0.5)
    prompts = resolve_prompts(GOALS)
    told = (GOALS, prompts, vectors(99, len(prompts.texts)), SPEC)
    around = with_head(parse_reward("cosine"), **told_of(head, "linear"))
    with pytest.raises(RewardError, match=r"'head/cosine': expected the weights .* got none"):
        bind(around, *told)
    with pytest.raises(RewardError, match=r"for 5 goals of 4 numbers, got .*--overwrite"):
        bind(around, *told, head=weights_of("linear", [2], 0.5))
    beyond = weights_of("linear", [5], 0.5)
    with pytest.raises(RewardError, match="for 5 goals"):
        bind(with_head(parse_reward("cosine"), **told_of(beyond, "linear")), *told, head=beyond)
    with pytest.raises(
        RewardError, match=r"'head' is made of labels; leave it out, and give --head"
    ):
        parse_reward("window-mean/head/cosine", window=2)
    with pytest.raises(RewardError, match="strength: expected a finite number > 0, got 0"):
        from_content({**around.model_dump(mode="json"), "strength": 0})
    assert isinstance(around, Head)


@pytest.mark.parametrize("fusion", list(Fusion))
def test_log_odds_are_stretched_after_fusion_of_goals_with_a_head_alone(fusion: Fusion) -> None:
    head, curve = weights_of("linear", [1, 3], 0.5), {"slope": 4.0, "shifts": (-1.5, 2.0)}
    _, plain = scorers("probability", "linear", head, fusion=fusion)
    _, headed = scorers("probability", "linear", head, fusion=fusion, **curve)
    cameras = [vectors(1, 40), vectors(2, 40)]
    before, after = (scorer.scores(cameras, [40]) for scorer in (plain, headed))
    assert before[:, [0, 2, 4]].tobytes() == after[:, [0, 2, 4]].tobytes()
    p = before[:, [1, 3]].astype(np.float64)
    expected = 1 / (1 + np.exp(-(4 * np.log(p / (1 - p)) + np.array([-1.5, 2]))))
    np.testing.assert_allclose(after[:, [1, 3]], expected, atol=1e-6)
    for goal in (1, 3):
        assert (np.diff(after[np.argsort(before[:, goal]), goal]) >= 0).all()
    assert from_content(headed.function.model_dump(mode="json")) == headed.function
