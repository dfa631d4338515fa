"""Rewards against a float64 oracle, their identities, and one contract for all functions."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from relabel.goals.prompts import Prompts, resolve_prompts
from relabel.goals.readings import read_prompts
from relabel.rewards import REWARD_FUNCTIONS, RewardFunction, Scorer, bind, parse_reward
from relabel.rewards.registry import from_content
from relabel.rewards.scorer import BLOCK_FRAMES
from relabel.rewards.softmax import SoftmaxFormula
from relabel.rewards.softmax_threshold import SoftmaxThreshold
from schemas.encoders import EncoderSpec
from schemas.enums import Fusion, Timing
from schemas.errors import GoalError, RewardError
from schemas.goals import Goal, GoalSet
from tests.relabel import oracle

DIM = 6
SCALE, BIAS = 20.0, -3.0
PATHS: dict[str, dict[str, Any]] = {
    "softmax-threshold": {"temperature": 0.1, "threshold": 0.3},
    "probability": {},
    "cosine": {},
    "goal-baseline": {"alpha": 0.7},
    "vlm-rm": {"alpha": 0.3},
    "sigmoid": {},
    "window-mean/softmax-threshold": {"window": 2, "threshold": 0.3},
    "potential-difference/probability": {},
    "potential-difference/softmax-threshold": {},
    "potential-difference/window-mean/cosine": {"window": 3},
}
FOUR = {"slopes": [0.0, 0.5, 1.0, 3.0], "shifts": [0.0, -4.0, 1.0, 2.0]}
CALIBRATED: dict[str, dict[str, Any]] = {  # numbers of four goals
    "calibrated/probability": {"betas": [0.2, 0.3, 0.4, 0.5]},
    "calibrated/cosine": {**FOUR, "x": "score", "provenance": {"method": "platt"}},
    "calibrated/window-mean/sigmoid": {
        **FOUR, "window": 2, "betas": [0.5] * 4,
        "knots": [[], [], [[-3.0, 0.1], [4.0, 0.9]], []],
    },
    "potential-difference/calibrated/softmax-threshold": FOUR,
}  # fmt: skip
CONTRACT = {**PATHS, **CALIBRATED}


def spec(dim: int = DIM, scale: float = SCALE, bias: float | None = BIAS) -> EncoderSpec:
    return EncoderSpec(
        name="test", slug="test", fingerprint="0" * 64, weights_sha256="0" * 64, preprocess={},
        precision="float32", dim=dim, logit_scale=scale, logit_bias=bias,
    )  # fmt: skip


def unit32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return oracle.unit(rng.normal(size=shape)).astype(np.float32)


def simple_goals(count: int = 3, **fields: Any) -> GoalSet:
    goals = tuple(Goal(id=f"g{i}", texts=(f"goal {i}",)) for i in range(count))
    return GoalSet(goals=goals, **{"baseline": "a room", **fields})


@dataclass
class Case:
    """A bound scorer, with all that an oracle needs to repeat its work."""

    goals: GoalSet
    prompts: Prompts
    embeddings: np.ndarray
    norms: np.ndarray  # of the averages behind the embeddings
    scorer: Scorer

    def score(self, frame: np.ndarray, goal: int) -> float:
        """Oracle score of one frame for one goal."""
        base: Any = self.scorer.function.base
        points = self.embeddings.astype(np.float64)
        own, f = points[self.prompts.goal[goal]], frame.astype(np.float64)
        if base.name == "cosine":
            return float(f @ own)
        if base.name == "sigmoid":
            return oracle.sigmoid(f, own, base.logit_scale, base.logit_bias)
        if base.name == "vlm-rm":
            points = points * self.norms.astype(np.float64)[:, None]
            own = points[self.prompts.goal[goal]]
        if base.name in ("goal-baseline", "vlm-rm"):
            return oracle.goal_baseline(f, own, points[self.prompts.baseline[goal]], base.alpha)
        override = self.goals.goals[goal].temperature
        tau = base.temperature if override is None else override
        negatives = [points[n] for n in self.prompts.negatives[goal]]
        return oracle.probability(f, own, negatives, tau)

    def tolerance(self) -> float:
        """float32 rounding of a cosine, magnified by the slope of the formula."""
        temperature = self.scorer.temperature
        steepest = SCALE if temperature is None else 1 / float(temperature.min())
        return 2e-6 * (1 + steepest)


def case(
    function: RewardFunction,
    goals: GoalSet,
    seed: int = 0,
    embeddings: np.ndarray | None = None,
    **kw: Any,
) -> Case:
    prompts = resolve_prompts(goals)
    if embeddings is None:
        embeddings = unit32(np.random.default_rng(seed), len(prompts.texts), DIM)
    encoder = spec(embeddings.shape[1])
    norms = np.float32(0.7) + np.float32(0.3) * embeddings[:, 0]  # any, as long as they differ
    scorer = bind(function, goals, prompts, embeddings, encoder, norms=norms, **kw)
    return Case(goals, prompts, embeddings, norms, scorer)


# --- Against the oracle ----------------------------------------------------------------------


@st.composite
def goal_sets(draw: st.DrawFn) -> GoalSet:
    """Families, friends, own negatives, samples, overrides: every rule at once."""
    count = draw(st.integers(1, 6))
    maybe = lambda values: draw(st.none() | values)  # noqa: E731
    own = st.sampled_from([("nothing",), ("nothing", "a wall"), ("goal x",)])
    goals = tuple(
        Goal(
            id=f"g{i}",
            texts=(f"goal {draw(st.integers(0, 5))}",),
            family=draw(st.sampled_from("ab")),
            negatives=draw(st.just("auto") | own),
            temperature=maybe(st.sampled_from([0.02, 0.5, 100.0])),
            threshold=maybe(st.sampled_from([0.0, 0.25, 1.0])),
        )
        for i in range(count)
    )
    ids = st.lists(st.sampled_from([g.id for g in goals]), min_size=2, max_size=3).map(tuple)
    return GoalSet(
        goals=goals,
        baseline="a room",
        may_be_true_together=tuple(draw(st.lists(ids, max_size=3))),
        max_negatives=maybe(st.integers(1, 3)),
    )


@st.composite
def functions(draw: st.DrawFn) -> RewardFunction:
    fraction = st.sampled_from([0.0, 0.2, 0.5, 1.0])
    base, inner = draw(
        st.one_of(
            st.builds(
                lambda tau, beta: ("softmax-threshold", {"temperature": tau, "threshold": beta}),
                st.none() | st.sampled_from([0.01, 0.1, 3.0]),
                fraction,
            ),
            st.builds(lambda tau: ("probability", {"temperature": tau}), st.floats(0.01, 100.0)),
            st.just(("cosine", {})),
            st.builds(lambda alpha: ("goal-baseline", {"alpha": alpha}), fraction),
            st.builds(lambda alpha: ("vlm-rm", {"alpha": alpha}), fraction),
            st.just(("sigmoid", {})),
        )
    )
    frames = draw(st.none() | st.integers(1, 4))
    window: tuple[str, dict[str, Any]] = (
        ("", {}) if frames is None else ("window-mean/", {"window": frames})
    )
    outer = "potential-difference/" if draw(st.booleans()) else ""
    return parse_reward(outer + window[0] + base, **inner, **window[1])


@settings(max_examples=150)
@given(
    goals=goal_sets(),
    function=functions(),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    cameras=st.integers(1, 3),
    fusion=st.sampled_from(Fusion),
    timing=st.sampled_from(Timing),
    half=st.booleans(),
    missing=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 19)), max_size=3),
    block=st.sampled_from([1, 3, BLOCK_FRAMES]),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_and_rewards_equal_the_oracle(
    goals: GoalSet,
    function: RewardFunction,
    lengths: list[int],
    cameras: int,
    fusion: Fusion,
    timing: Timing,
    half: bool,
    missing: list[tuple[int, int]],
    block: int,
    seed: int,
) -> None:
    made = case(function, goals, seed, timing=timing, fusion=fusion)
    frames = unit32(np.random.default_rng(seed + 1), cameras, sum(lengths), DIM)
    frames = frames.astype(np.float16 if half else np.float32)
    for camera, row in missing:
        frames[camera % cameras, row % sum(lengths)] = np.nan
    window = _frames_of(function)
    expected = oracle.scores(
        [c.astype(np.float64) for c in frames], lengths, len(goals.goals), made.score, window,
        fusion is Fusion.MEAN,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relabel.rewards.scorer.BLOCK_FRAMES", block)
        scores = made.scorer.scores(list(frames), lengths)
    # the oracle of these takes norms of vectors, which float16 leaves a little off 1
    slack = 3e-3 if half and function.base.name in ("goal-baseline", "vlm-rm") else 0
    np.testing.assert_allclose(scores, expected, rtol=0, atol=made.tolerance() + slack)
    _check_rewards(made.scorer, scores, lengths)


def _frames_of(function: Any) -> int:
    while hasattr(function, "of") and not hasattr(function, "window"):
        function = function.of
    return getattr(function, "window", 1)


def _check_rewards(scorer: Scorer, scores: np.ndarray, lengths: Sequence[int]) -> None:
    difference = scorer.function.name == "potential-difference"
    rewards = scorer.rewards(scores, lengths)
    expected = oracle.rewards(
        scores, lengths, thresholds=None if scorer.threshold is None else scorer.threshold,
        next_frame=scorer.timing is Timing.NEXT_FRAME, difference=difference,
    )  # fmt: skip
    np.testing.assert_array_equal(rewards, expected.astype(np.float32))


def test_the_per_goal_thresholds_and_temperatures_are_those_of_the_goals() -> None:
    goals = GoalSet(
        goals=(
            Goal(id="a", texts=("a",), temperature=0.3, threshold=0.9),
            Goal(id="b", texts=("b",)),
            Goal(id="c", texts=("c",), threshold=0.0),
        )
    )
    scorer = case(
        parse_reward("window-mean/softmax-threshold", window=2, threshold=0.6), goals
    ).scorer
    assert scorer.temperature is not None and scorer.threshold is not None
    assert scorer.temperature.tolist() == [0.3, 1 / SCALE, 1 / SCALE]
    np.testing.assert_array_equal(scorer.threshold, np.float32([0.9, 0.6, 0.0]))
    assert scorer.function.base == SoftmaxThreshold(temperature=1 / SCALE, threshold=0.6)


@pytest.mark.parametrize("tau", [1e-50, 1e-30, 1e-3, 1e-2, 100.0])
def test_the_softmax_is_stable_and_exact_far_from_the_largest(tau: float) -> None:
    """Goal 0's candidates are all far below a cosine that only other goals compete with."""
    goals = simple_goals(60, may_be_true_together=[("g0", f"g{i}") for i in range(2, 60)])
    made = case(parse_reward("probability", temperature=tau), goals, embeddings=_fan(62))
    assert _masked(made), "the case is meant to take the shared path"
    frames = np.concatenate([made.embeddings, unit32(np.random.default_rng(3), 40, 2)])
    scores = made.scorer.scores([frames], [len(frames)])
    expected = oracle.scores([frames.astype(float)], [len(frames)], 60, made.score, 1, True)
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1
    if tau >= 1e-3:
        np.testing.assert_allclose(scores, expected, rtol=0, atol=made.tolerance())
    shifted = np.exp((frames @ made.embeddings.T - 1) / max(tau, 1e-3))
    if tau == 1e-3:
        assert (shifted[:, made.prompts.negatives[0]].sum(axis=1) < 1e-30).any()


def _fan(count: int) -> np.ndarray:
    angles = np.linspace(0, 3, count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _masked(made: Case) -> bool:
    formula = made.scorer.formula
    assert isinstance(formula, SoftmaxFormula)
    return any(group.members is not None for group in formula.groups)


def own_negatives(count: int) -> GoalSet:
    texts = [(f"goal {i}", f"not {i}", f"never {i}") for i in range(count)]
    goals = (Goal(id=f"g{i}", texts=t[:1], negatives=t[1:]) for i, t in enumerate(texts))
    return GoalSet(goals=tuple(goals))


def test_goals_of_equal_candidates_share_one_sum() -> None:
    formula = case(parse_reward("probability"), simple_goals(60)).scorer.formula
    assert isinstance(formula, SoftmaxFormula)
    assert [group.members for group in formula.groups] == [None]


def test_a_mask_that_would_be_large_and_empty_is_not_built() -> None:
    assert _masked(case(parse_reward("probability"), own_negatives(60)))
    assert not _masked(case(parse_reward("probability"), own_negatives(3000)))


def test_masked_and_separate_sums_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    goals, function = own_negatives(20), parse_reward("probability", temperature=0.01)
    frames = unit32(np.random.default_rng(4), 50, DIM)
    masked = case(function, goals)
    monkeypatch.setattr("relabel.rewards.softmax.MASK_RATE", 1e-9)
    separate = case(function, goals)
    assert _masked(masked) and not _masked(separate)
    scores = [each.scorer.scores([frames], [50]) for each in (masked, separate)]
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-9)


# --- Identities ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["softmax-threshold", "probability", "cosine", "sigmoid"])
def test_the_score_strictly_increases_with_the_own_similarity(path: str) -> None:
    embeddings = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1]])  # goal 0, goal 1, null prompt
    made = case(parse_reward(path), simple_goals(2, baseline=None), embeddings=embeddings)
    angles = np.linspace(0, np.pi, 50)
    side = np.sin(angles) / np.sqrt(2)
    frames = np.stack([-np.cos(angles) / 4, side, side], axis=1).astype(np.float32)
    frames[:, 1:] = side.mean()  # only the own similarity moves
    assert (np.diff(made.scorer.scores([frames], [50])[:, 0]) > 0).all()


def test_adding_a_negative_lowers_the_probability() -> None:
    frames = unit32(np.random.default_rng(1), 30, DIM)
    embeddings = unit32(np.random.default_rng(2), 6, DIM)
    few = case(parse_reward("probability", temperature=1.0), simple_goals(3, baseline=None),
               embeddings=embeddings[[0, 1, 2, 4]])  # fmt: skip
    more = case(parse_reward("probability", temperature=1.0), simple_goals(4, baseline=None),
                embeddings=embeddings[:5])  # fmt: skip
    lower, higher = more.scorer.scores([frames], [30]), few.scorer.scores([frames], [30])
    assert (lower[:, :3] < higher).all()


@pytest.mark.parametrize("tau", [1e-3, 1.0, 100.0])
def test_a_goal_and_one_equal_negative_have_half_each_and_half_is_not_above_half(
    tau: float,
) -> None:
    embeddings = np.repeat(unit32(np.random.default_rng(0), 1, DIM), 2, axis=0)
    frames = unit32(np.random.default_rng(1), 9, DIM)
    for threshold, reward in ((0.5, 0.0), (math.nextafter(0.5, 0) - 1e-7, 1.0)):
        function = parse_reward("softmax-threshold", temperature=tau, threshold=threshold)
        made = case(function, simple_goals(1, baseline=None), embeddings=embeddings)
        scores = made.scorer.scores([frames], [9])
        assert (scores == 0.5).all()
        assert (made.scorer.rewards(scores, [9])[:-1] == reward).all()


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.7, 1.0])
def test_a_stored_score_equal_to_the_threshold_is_not_above_it(threshold: float) -> None:
    made = case(parse_reward("softmax-threshold", threshold=threshold), simple_goals(1),
                timing=Timing.SAME_FRAME)  # fmt: skip
    below, above = np.nextafter(np.float32(threshold), np.float32([-1, 2]))
    scores = np.float32([[below], [threshold], [above]])
    assert made.scorer.rewards(scores, [3])[:, 0].tolist() == [0, 0, 1]


def test_goal_baseline_with_alpha_0_is_the_cosine() -> None:
    frames = unit32(np.random.default_rng(5), 40, DIM)
    plain = case(parse_reward("cosine"), simple_goals())
    regular = case(parse_reward("goal-baseline", alpha=0.0), simple_goals())
    np.testing.assert_allclose(
        regular.scorer.scores([frames], [40]), plain.scorer.scores([frames], [40]), atol=3e-7
    )


def test_goal_baseline_with_alpha_1_sees_only_the_line() -> None:
    embeddings = np.float32([[0.6, 0.8, 0], [0, 0, 1], [0.6, -0.8, 0]])  # goal, null, baseline
    made = case(parse_reward("goal-baseline", alpha=1.0), simple_goals(1), embeddings=embeddings)
    frames = np.float32([[0.6, 0.8, 0], [0, 0.8, 0.6], [-0.6, 0.8, 0], [0.6, -0.8, 0], [1, 0, 0]])
    scores = made.scorer.scores([frames], [5])[:, 0]
    np.testing.assert_allclose(scores, [1, 1, 1, -0.28, 0.68], atol=1e-6)


def test_a_window_of_one_frame_changes_nothing() -> None:
    frames = unit32(np.random.default_rng(5), 40, DIM).astype(np.float16)
    plain = case(parse_reward("probability"), simple_goals()).scorer
    window = case(parse_reward("window-mean/probability", window=1), simple_goals()).scorer
    np.testing.assert_array_equal(
        window.scores([frames], [15, 25]), plain.scores([frames], [15, 25])
    )


def test_a_window_stays_inside_its_episode_and_a_missing_frame_inside_its_window() -> None:
    frames = unit32(np.random.default_rng(5), 12, DIM)
    scorer = case(parse_reward("window-mean/cosine", window=3), simple_goals()).scorer
    whole = scorer.scores([frames], [5, 7])
    apart = [scorer.scores([frames[:5]], [5]), scorer.scores([frames[5:]], [7])]
    np.testing.assert_allclose(whole, np.concatenate(apart), atol=1e-6)
    frames[3] = np.nan
    lost = np.isnan(scorer.scores([frames], [5, 7])).all(axis=1)
    assert np.flatnonzero(lost).tolist() == [3, 4]  # the window's reach ends with the episode


def test_a_window_whose_mean_has_no_direction_is_missing() -> None:
    frames = np.float32([[1, 0], [-1, 0], [0, 1]])
    scorer = case(
        parse_reward("window-mean/cosine", window=2), simple_goals(1), embeddings=_fan(3)
    ).scorer
    assert np.isnan(scorer.scores([frames], [3])[:, 0]).tolist() == [False, True, False]


def test_potential_differences_telescope() -> None:
    frames = unit32(np.random.default_rng(6), 30, DIM)
    scorer = case(parse_reward("potential-difference/probability"), simple_goals()).scorer
    scores = scorer.scores([frames], [10, 20])
    rewards = scorer.rewards(scores, [10, 20])
    gained = np.stack([rewards[:9].sum(axis=0), rewards[10:29].sum(axis=0)])
    np.testing.assert_allclose(gained, [scores[9] - scores[0], scores[29] - scores[10]], atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_permuting_goals_permutes_columns(path: str) -> None:
    function = parse_reward(path, **PATHS[path])
    goals = simple_goals(5, may_be_true_together=(("g0", "g3"),))
    order = [3, 0, 4, 2, 1]
    turned = goals.model_copy(update={"goals": tuple(goals.goals[i] for i in order)})
    vectors = dict(
        zip(resolve_prompts(goals).texts, unit32(np.random.default_rng(0), 7, DIM), strict=True)
    )
    frames = unit32(np.random.default_rng(7), 20, DIM)

    def scores(of: GoalSet) -> np.ndarray:
        embeddings = np.stack([vectors[texts] for texts in resolve_prompts(of).texts])
        return case(function, of, embeddings=embeddings).scorer.scores([frames], [20])

    np.testing.assert_allclose(scores(turned), scores(goals)[:, order], atol=1e-5)


# --- Time line and cameras -------------------------------------------------------------------


def test_the_time_line_on_literals() -> None:
    scores = np.float32([[0.1], [0.8], [0.6], [0.9], [np.nan], [0.7]])
    lengths, nan = [1, 5], np.nan

    def column(path: str, timing: Timing) -> list[float]:
        scorer = case(parse_reward(path), simple_goals(1), timing=timing).scorer
        return scorer.rewards(scores, lengths)[:, 0].tolist()

    def check(got: list[float], expected: list[float]) -> None:
        np.testing.assert_allclose(got, expected, atol=1e-7)

    check(column("softmax-threshold", Timing.NEXT_FRAME), [nan, 1, 1, nan, 1, nan])
    check(column("softmax-threshold", Timing.SAME_FRAME), [0, 1, 1, 1, nan, 1])
    check(column("probability", Timing.NEXT_FRAME), [nan, 0.6, 0.9, nan, 0.7, nan])
    for timing in Timing:  # a difference needs both frames whatever the timing
        check(column("potential-difference/probability", timing), [nan, -0.2, 0.3, nan, nan, nan])


def test_cameras_are_scored_apart_then_fused_and_all_needed() -> None:
    left, right = unit32(np.random.default_rng(8), 2, 6, DIM)
    goals = simple_goals()

    def scores(fusion: Fusion, *cameras: np.ndarray) -> np.ndarray:
        return case(parse_reward("probability"), goals, fusion=fusion).scorer.scores(cameras, [6])

    one, two = scores(Fusion.MEAN, left), scores(Fusion.MEAN, right)
    np.testing.assert_allclose(scores(Fusion.MEAN, left, right), (one + two) / 2, atol=1e-6)
    np.testing.assert_allclose(scores(Fusion.MAX, left, right), np.maximum(one, two), atol=1e-6)
    right[2] = np.nan
    for fusion in Fusion:
        for pair in ((left, right), (right, left)):
            lost = np.isnan(scores(fusion, *pair)).all(axis=1)
            assert lost.tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("fusion", Fusion)
@pytest.mark.parametrize("path", ["cosine", "window-mean/probability"])
def test_a_camera_that_misses_a_frame_need_not_count(fusion: Fusion, path: str) -> None:
    rng = np.random.default_rng(3)
    cameras = [unit32(rng, 900, DIM) for _ in range(3)]
    function = parse_reward(path, **({"window": 2} if "window" in path else {}))
    made = case(function, own_negatives(3), fusion=fusion).scorer
    skipping = replace(made, skip_missing=True)
    lengths = [300, 600]
    np.testing.assert_array_equal(
        skipping.scores(cameras, lengths), made.scores(cameras, lengths), "none is missing"
    )
    for camera in cameras:
        camera[rng.random(900) < 0.5] = np.nan
    alone = [made.scores([camera], lengths) for camera in cameras]
    for row, fused in enumerate(skipping.scores(cameras, lengths)):
        there = [score[row] for score in alone if not np.isnan(score[row, 0])]
        if not there:
            assert np.isnan(fused).all()
            continue
        direct = sum(there) / len(there) if fusion is Fusion.MEAN else np.maximum.reduce(there)
        np.testing.assert_allclose(fused, direct, rtol=1e-6)


def test_the_same_call_gives_the_same_bytes_and_leaves_its_input_alone() -> None:
    frames = unit32(np.random.default_rng(9), 2 * BLOCK_FRAMES + 3, DIM)
    frames[5] = np.nan
    before = frames.copy()
    lengths = [BLOCK_FRAMES + 1, BLOCK_FRAMES + 2]
    scorer = case(parse_reward("probability"), simple_goals(), timing=Timing.SAME_FRAME).scorer
    scores = scorer.scores([frames], lengths)
    kept = scores.copy()
    scorer.rewards(scores, lengths)[:] = 7
    assert scores.tobytes() == kept.tobytes() == scorer.scores([frames], lengths).tobytes()
    assert frames.tobytes() == before.tobytes()


# --- VLM-RM as it was published ------------------------------------------------------------------


def published(f: np.ndarray, goal: np.ndarray, baseline: np.ndarray, alpha: float) -> float:
    """The reward model of arXiv 2310.12921 in its matrix form.

    `goal` and `baseline` hold unit embeddings of prompts, one a row; their means stay as they are.
    """
    target = goal.mean(axis=0)
    direction = target - baseline.mean(axis=0)
    onto_line = np.outer(direction, direction) / (direction @ direction)
    projection = alpha * onto_line + (1 - alpha) * np.eye(len(f))
    return 1 - 0.5 * float(np.linalg.norm((f - target) @ projection)) ** 2


@settings(max_examples=60)
@given(
    phrasings=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    templates=st.integers(1, 3),
    alpha=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_vlm_rm_is_the_published_one(
    phrasings: list[int], templates: int, alpha: float, seed: int
) -> None:
    vectors: dict[str, np.ndarray] = {}

    def encode(texts: Sequence[str]) -> np.ndarray:
        rng = np.random.default_rng(seed)
        vectors.update(zip(texts, oracle.unit(rng.normal(size=(len(texts), DIM))), strict=True))
        return np.stack([vectors[text] * 7 for text in texts])

    names = [[f"goal {i} in words {j}" for j in range(n)] for i, n in enumerate(phrasings)]
    forms = tuple(f"{{}} {i}" for i in range(templates))
    goals = GoalSet(
        goals=tuple(Goal(id=f"g{i}", texts=tuple(own)) for i, own in enumerate(names)),
        templates=forms,
        baseline="a room",
    )
    prompts, embeddings, norms = read_prompts(goals, encode)
    function = parse_reward("vlm-rm", alpha=alpha)
    scorer = bind(function, goals, prompts, embeddings, spec(), norms=norms)
    frames = unit32(np.random.default_rng(seed + 1), 5, DIM)

    def points(texts: Sequence[str]) -> np.ndarray:
        return np.stack([vectors[form.replace("{}", text)] for text in texts for form in forms])

    expected = [
        [published(f.astype(np.float64), points(own), points(["a room"]), alpha) for own in names]
        for f in frames
    ]
    np.testing.assert_allclose(scorer.scores([frames], [5]), expected, atol=2e-5)


def test_vlm_rm_is_goal_baseline_where_goal_and_baseline_are_one_text_each() -> None:
    goals = simple_goals(3)
    frames = unit32(np.random.default_rng(1), 6, DIM)
    encode = lambda texts: unit32(np.random.default_rng(2), len(texts), DIM)  # noqa: E731
    prompts, embeddings, norms = read_prompts(goals, encode)
    scores = [
        bind(parse_reward(path), goals, prompts, embeddings, spec(), norms=norms).scores(
            [frames], [6]
        )
        for path in ("vlm-rm", "goal-baseline")
    ]
    np.testing.assert_allclose(*scores, atol=1e-5)


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("potential")])
def test_a_difference_looks_ahead_whatever_is_asked_for(path: str) -> None:
    scorer = case(
        parse_reward(path, **PATHS[path]), simple_goals(), timing=Timing.SAME_FRAME
    ).scorer
    assert scorer.timing is Timing.NEXT_FRAME


# --- Contract of every reward function -------------------------------------------------------


def test_the_contract_covers_every_registered_function() -> None:
    told = {name for path in CONTRACT for name in path.split("/")}
    assert told | {"head"} == set(REWARD_FUNCTIONS)  # test_head.py has that one


@pytest.mark.parametrize("timing", Timing)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("path", CONTRACT)
def test_contract(path: str, dtype: type, timing: Timing) -> None:
    scorer = case(parse_reward(path, **CONTRACT[path]), simple_goals(4), timing=timing).scorer
    frames = unit32(np.random.default_rng(11), 9, DIM).astype(dtype)
    frames[0] = 1.001 * scorer.formula.prompts[0]  # the ends of the range, and float16's slack
    frames[4] = -frames[0]  # alone in its episode: windows must not cancel
    lengths = np.array([4, 1, 4])
    scores = scorer.scores([frames], lengths)
    rewards = scorer.rewards(scores, lengths)
    assert scores.shape == rewards.shape == (9, 4)
    assert scores.dtype == rewards.dtype == np.float32
    assert not np.isnan(scores).any()
    _check_range(scores, scorer.score_range)
    _check_range(rewards[~np.isnan(rewards)], scorer.reward_range)
    needs_next = timing is Timing.NEXT_FRAME or path.startswith("potential-difference")
    last = [3, 4, 8] if needs_next else []
    assert np.flatnonzero(np.isnan(rewards).all(axis=1)).tolist() == last
    assert np.isnan(rewards).any(axis=1).sum() == len(last)
    assert not scorer.binary or set(rewards[~np.isnan(rewards)]) <= {0.0, 1.0}
    binary = path in ("softmax-threshold", "window-mean/softmax-threshold")
    assert scorer.binary == (binary or "betas" in CONTRACT[path])


def _check_range(values: np.ndarray, closed: tuple[float, float]) -> None:
    assert closed[0] <= values.min() <= values.max() <= closed[1]


@pytest.mark.parametrize("path", CONTRACT)
def test_contract_missing_frames_spread_no_further_than_they_are_seen(path: str) -> None:
    scorer = case(parse_reward(path, **CONTRACT[path]), simple_goals(4)).scorer
    frames = unit32(np.random.default_rng(12), 12, DIM)
    full = scorer.scores([frames], [12])
    frames[4, 2] = np.nan  # one value suffices
    scores = scorer.scores([frames], [12])
    reach = CONTRACT[path].get("window", 1)
    lost = np.arange(4, 4 + reach)
    assert np.isnan(scores[lost]).all()
    np.testing.assert_array_equal(np.delete(scores, lost, 0), np.delete(full, lost, 0))
    spoiled = {*(lost - 1), 11} | (set(lost) if path.startswith("potential") else set())
    assert set(np.flatnonzero(np.isnan(scorer.rewards(scores, [12])[:, 0]))) == spoiled


@pytest.mark.parametrize("path", CONTRACT)
def test_contract_configurations_survive_a_round_trip_with_the_numbers_used(path: str) -> None:
    function = parse_reward(path, **CONTRACT[path])
    bound = case(function, simple_goals(4)).scorer.function
    for each in (function, bound):
        assert from_content(each.model_dump()) == each
        assert from_content(json.loads(each.model_dump_json())) == each
        assert pickle.loads(pickle.dumps(each)) == each
        assert each.path == path
    assert "null" not in bound.model_dump_json()
    for field in type(function).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(function, field, None)


@pytest.mark.parametrize("path", CONTRACT)
def test_contract_no_frames_give_no_rows(path: str) -> None:
    scorer = case(parse_reward(path, **CONTRACT[path]), simple_goals(4)).scorer
    scores = scorer.scores([np.empty((0, DIM), np.float16)], [])
    assert scores.shape == scorer.rewards(scores, []).shape == (0, 4)


# --- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("softmax", {}, r"function 'softmax', the known ones are \['calibrated', 'cosine', 'g"),
        ("cosine", {"alpha": 0.1}, r"unknown parameter \['alpha'\], the known ones are \[\]"),
        ("probability", {"tau": 1}, r"parameter \['tau'\], the known ones are \['temperature'\]"),
        ("probability", {"temperature": 0}, "temperature: expected a finite number > 0, got 0$"),
        ("probability", {"temperature": -0.5}, "expected a finite number > 0, got -0.5"),
        ("probability", {"temperature": math.inf}, "expected a finite number > 0, got inf"),
        ("softmax-threshold", {"threshold": 1.5}, r"expected a number in \[0, 1\], got 1.5"),
        ("softmax-threshold", {"threshold": -0.1}, r"expected a number in \[0, 1\], got -0.1"),
        ("softmax-threshold", {"threshold": math.nan}, r"a number in \[0, 1\], got nan"),
        ("goal-baseline", {"alpha": 2.0}, r"alpha: expected a number in \[0, 1\], got 2.0"),
        ("window-mean/cosine", {"window": 0}, "window: expected a whole number >= 1, got 0"),
        ("window-mean/cosine", {"window": 1.5}, "window: expected a whole number >= 1, got 1.5"),
        ("window-mean/cosine", {}, "window: expected a whole number >= 1, got nothing"),
        ("window-mean", {"window": 2}, "'window-mean' wraps another reward function, got none"),
        ("window-mean/potential-difference/cosine", {"window": 2},
         "did you mean 'potential-difference/window-mean/cosine'"),
        ("potential-difference/potential-difference/cosine", {}, "each wrapper at most once"),
        ("cosine/probability", {}, "did you mean 'probability'"),
    ],
)  # fmt: skip
def test_impossible_functions(path: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RewardError, match=message):
        parse_reward(path, **parameters)


def test_both_problems_of_one_function_are_told_together() -> None:
    with pytest.raises(RewardError, match=r"temperature: .*; threshold: "):
        parse_reward("softmax-threshold", temperature=-1.0, threshold=2.0)


def _bind(path: str, goals: GoalSet, encoder: EncoderSpec | None = None) -> Callable[[], Scorer]:
    prompts = resolve_prompts(goals)
    embeddings = unit32(np.random.default_rng(0), len(prompts.texts), DIM)
    encoder = spec() if encoder is None else encoder
    return lambda: bind(parse_reward(path), goals, prompts, embeddings, encoder)


def test_what_a_function_needs_and_does_not_get() -> None:
    lonely = simple_goals(1, null_prompts=())
    for path in ("softmax-threshold", "probability"):
        with pytest.raises(GoalError, match="none for goal g0; give the goal set null_prompts"):
            _bind(path, lonely)()
    _bind("cosine", lonely)()  # compares with nothing
    with pytest.raises(RewardError, match="'vlm-rm': expected the norms of the prompts, got none"):
        _bind("vlm-rm", simple_goals())()
    with pytest.raises(GoalError, match="'vlm-rm': no baseline for goals g0, g1"):
        case(parse_reward("vlm-rm"), simple_goals(2, baseline=None))
    with pytest.raises(GoalError, match=r"no baseline for goals g0, g1, g2, g3, g4 and 2 more;"):
        _bind("goal-baseline", simple_goals(7, baseline=None))()
    with pytest.raises(GoalError, match="cannot tell the baseline from the goal for goal g1,"):
        _bind("goal-baseline", simple_goals(2, baseline="goal 1"))()
    with pytest.raises(RewardError, match=r"no logit_bias.*give logit_bias, or use a SigLIP"):
        _bind("sigmoid", simple_goals(), spec(bias=None))()
    with pytest.raises(RewardError, match=r"logit_scale > 0, got 0\.0; give .* a temperature"):
        _bind("probability", simple_goals(), spec(scale=0.0))()
    with pytest.raises(RewardError, match=r"expected shape \(5, 7\) .* got \(5, 6\)"):
        _bind("cosine", simple_goals(), spec(dim=7))()


def test_a_sigmoid_with_its_own_constants_needs_none_of_the_encoder() -> None:
    function = parse_reward("sigmoid", logit_scale=1000.0, logit_bias=0.0)
    goals, embeddings = simple_goals(1), _fan(3)
    scorer = bind(function, goals, resolve_prompts(goals), embeddings, spec(2, 0.0, None))
    frames = np.float32([[1, 0], [0, 1], [-1, 0]])
    assert scorer.scores([frames], [3])[:, 0].tolist() == [1, 0.5, 0]
    assert scorer.function == function


def test_shapes_that_do_not_fit() -> None:
    scorer = case(parse_reward("cosine"), simple_goals()).scorer
    frames = np.zeros((5, DIM), np.float32)
    with pytest.raises(RewardError, match=r"shape \(4, 6\) .* got \[\(1, \(5, 6\)\)\]"):
        scorer.scores([frames[:4], frames], [4])
    with pytest.raises(RewardError, match="got no camera"):
        scorer.scores([], [5])
    with pytest.raises(RewardError, match=r"whole numbers >= 1, one per episode, got \[5 0\]"):
        scorer.scores([frames], [5, 0])
    with pytest.raises(RewardError, match=r"scores: expected shape \(5, 3\).*got \(5, 2\)"):
        scorer.rewards(np.zeros((5, 2), np.float32), [5])
