"""Which frames are asked about: by properties, and against slow formulas."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from relabel.evaluation.selection import (
    TOGETHER,
    Answers,
    Pool,
    Question,
    choose,
    depth,
    draw,
)

FRAMES, PER_EPISODE, GOALS = 2000, 20, 6
RNG = np.random.default_rng(0)
SCORES = RNG.random((FRAMES, GOALS)) ** 8  # few are high


def pool_of(goal: int, scores: np.ndarray = SCORES) -> Pool:
    """All frames of one goal; slow and obvious."""
    own = scores[:, goal]
    order = sorted(range(len(own)), key=lambda frame: (-own[frame], frame))
    rank = [(own >= own[frame]).sum() for frame in order]
    frame = np.array(order)
    return Pool(frame, frame // PER_EPISODE, own[order], np.array(rank, float), len(own))


POOLS = [pool_of(goal) for goal in range(GOALS)]


def chosen(budget: int = 16, goals: int = GOALS, **how: Any) -> list[Question]:
    given = {"probability": True, "seed": 0, **how}
    return choose(POOLS.__getitem__, goals, FRAMES, budget, **given)


def of(goal: int, questions: list[Question]) -> list[Question]:
    return [question for question in questions if question.goal == goal]


def answered(goal: int, frames: list[int], threshold: float) -> Answers:
    scores = SCORES[frames, goal]
    return Answers(np.array(frames, np.int64), scores, scores > threshold)


NONE = Answers(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))


# --- depth


def test_depth_is_half_rank_and_half_score() -> None:
    score = np.array([0.9, 0.5, 0.5, 0.1])
    pool = Pool(np.arange(4), np.arange(4), score, np.array([1.0, 3.0, 3.0, 4.0]), 4)
    by_rank = np.log([1, 3, 3, 4]) / np.log(4)
    assert depth(pool, False) == pytest.approx((by_rank + np.array([0, 0.5, 0.5, 1])) / 2)
    odds = np.log(score / (1 - score))
    by_score = (odds[0] - odds) / (odds[0] - odds[-1])
    assert depth(pool, True) == pytest.approx((by_rank + by_score) / 2)


def test_depth_of_one_frame_and_of_equal_scores() -> None:
    one = Pool(np.zeros(1, int), np.zeros(1, int), np.array([0.3]), np.array([1.0]), 1)
    assert depth(one, True).tolist() == [0]
    same = Pool(np.arange(3), np.arange(3), np.full(3, 1.0), np.array([3.0, 3.0, 3.0]), 3)
    assert np.isfinite(depth(same, True)).all()
    none = Pool(np.empty(0, int), np.empty(0, int), np.empty(0), np.empty(0), 0)
    assert depth(none, False).size == 0


# --- questions


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 16, 100])
@pytest.mark.parametrize("way", ["chosen", "drawn"])
def test_the_budget_is_exact_and_no_frame_is_asked_twice(budget: int, way: str) -> None:
    found = chosen(budget) if way == "chosen" else draw(POOLS.__getitem__, GOALS, budget)
    assert Counter(q.goal for q in found) == dict.fromkeys(range(GOALS), budget)
    assert len({(q.goal, q.frame) for q in found}) == len(found)
    for goal in range(GOALS):
        assert sorted(q.turn for q in of(goal, found)) == list(range(budget))


def test_every_stratum_has_one_question_within_its_borders() -> None:
    for goal in range(GOALS):
        pool = POOLS[goal]
        place = {int(frame): at for at, frame in enumerate(pool.frame)}
        depths = depth(pool, True)
        for question in of(goal, chosen(8)):
            at = place[question.frame]
            assert question.stratum is not None
            assert question.stratum / 8 - 0.02 <= depths[at] <= (question.stratum + 1) / 8 + 0.02
            assert question.score == pool.score[at]
            assert question.share == pool.rank[at] / FRAMES
        assert sorted(q.stratum for q in of(goal, chosen(8))) == list(range(8))  # type: ignore[type-var]


def test_not_only_the_top_and_not_only_the_bulk() -> None:
    for goal in range(GOALS):
        shares = [question.share for question in of(goal, chosen(16))]
        assert min(shares) < 0.005  # type: ignore[type-var]
        assert max(shares) > 0.5  # type: ignore[type-var]
        drawn = [q.frame for q in of(goal, draw(POOLS.__getitem__, GOALS, 16))]
        assert np.median(shares) < np.median([pool_rank(goal, f) / FRAMES for f in drawn])  # type: ignore[arg-type]


def pool_rank(goal: int, frame: int) -> float:
    return float((SCORES[:, goal] >= SCORES[frame, goal]).sum())


def test_an_early_stop_has_seen_all_depths() -> None:
    first = [q for q in of(0, chosen(16)) if q.turn < 4]
    assert sorted(q.stratum // 4 for q in first) == [0, 1, 2, 3]  # type: ignore[operator]


def test_equal_seeds_give_equal_questions_and_others_do_not() -> None:
    assert chosen(seed=3) == chosen(seed=3)
    assert chosen(seed=3) != chosen(seed=4)
    drawn = [draw(POOLS.__getitem__, GOALS, 5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_questions_are_spread_over_episodes() -> None:
    for goal in range(GOALS):
        episodes = [q.frame // PER_EPISODE for q in of(goal, chosen(16))]
        assert len(set(episodes)) >= 15


def test_goals_are_asked_about_the_same_frames_where_that_is_cheap() -> None:
    many = choose(lambda goal: POOLS[goal % GOALS], 60, FRAMES, 8, probability=True)
    times = Counter(q.frame for q in many)
    assert len(times) < len(many) / 2
    assert sum(count > TOGETHER for count in times.values()) < 0.05 * len(times)


def test_random_frames_are_uniform() -> None:
    one = pool_of(0, SCORES[:10])
    counts = Counter(q.frame for seed in range(2000) for q in draw(lambda _: one, 1, 3, seed=seed))
    assert set(counts) == set(range(10))
    assert all(abs(count - 600) < 100 for count in counts.values())


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_few_frames_are_all_asked_about(frames: int) -> None:
    few = pool_of(0, SCORES[:frames])
    for found in (
        choose(lambda _: few, 1, max(frames, 1), 8, probability=True),
        draw(lambda _: few, 1, 8),
    ):
        assert sorted(q.frame for q in found) == list(range(frames))


def test_equal_scores_and_raw_scores_are_spread() -> None:
    flat = pool_of(0, np.ones((200, 1)))
    assert len({q.frame for q in choose(lambda _: flat, 1, 200, 8, probability=True)}) == 8
    raw = pool_of(0, np.linspace(-3, 5, 200)[:, None])
    found = choose(lambda _: raw, 1, 200, 8, probability=False)
    assert sorted(q.stratum for q in found) == list(range(8))  # type: ignore[type-var]


# --- earlier labels


def test_what_is_labelled_is_not_asked_again() -> None:
    earlier = [answered(goal, list(range(100)), 0.5) for goal in range(GOALS)]
    for found in (
        chosen(16, answers=earlier),
        draw(POOLS.__getitem__, GOALS, 16, answers=earlier),
    ):
        assert len(found) == 16 * GOALS
        assert all(q.frame >= 100 for q in found)


def test_all_labelled_asks_nothing() -> None:
    earlier = [answered(goal, list(range(FRAMES)), 0.5) for goal in range(GOALS)]
    assert chosen(answers=earlier) == []
    assert draw(POOLS.__getitem__, GOALS, 4, answers=earlier) == []


def near(question: Question, goal: int, threshold: float, share: float = 0.02) -> bool:
    between = (SCORES[:, goal] > min(question.score, threshold)) & (  # type: ignore[type-var]
        SCORES[:, goal] < max(question.score, threshold)  # type: ignore[type-var]
    )
    return float(between.mean()) < share


def test_labels_draw_questions_to_the_threshold_and_leave_some_elsewhere() -> None:
    threshold = float(np.sort(SCORES[:, 0])[-100])
    told = [q.frame for q in of(0, chosen(12))]
    earlier = [answered(0, told, threshold), *[NONE] * (GOALS - 1)]
    before = of(0, chosen(16, seed=1))
    after = of(0, chosen(16, seed=1, answers=earlier))
    close = [sum(near(q, 0, threshold) for q in found) for found in (before, after)]
    assert close[1] > close[0] + 3
    assert min(q.share for q in after) < 0.01  # type: ignore[type-var]
    assert max(q.share for q in after) > 0.4  # type: ignore[type-var]


def test_goals_without_labels_learn_from_the_others() -> None:
    threshold = float(np.sort(SCORES[:, 0])[-100])
    told = chosen(12)
    earlier = [answered(g, [q.frame for q in of(g, told)], threshold) for g in range(GOALS - 1)]
    last = GOALS - 1
    before = of(last, chosen(16, seed=1))
    after = of(last, chosen(16, seed=1, answers=[*earlier, NONE]))
    close = [sum(near(q, last, threshold, 0.04) for q in found) for found in (before, after)]
    assert close[1] > close[0]


@pytest.mark.parametrize("label", [True, False])
def test_labels_of_one_class_move_questions_to_where_they_leave_doubt(label: bool) -> None:
    frames = [q.frame for q in of(0, chosen(6))]
    scores = SCORES[frames, 0]
    own = Answers(np.array(frames), scores, np.full(len(frames), label))
    before, after = of(0, chosen(16)), of(0, chosen(16, answers=[own, *[NONE] * (GOALS - 1)]))
    moved = np.mean([q.share for q in after]) - np.mean([q.share for q in before])  # type: ignore[arg-type]
    assert bool(moved > 0) is label  # all yes: the threshold lies deeper


def test_the_gain_is_the_mutual_information() -> None:
    """Against a sum over thresholds and answers, with a uniform belief."""
    cells = (np.arange(100) + 0.5) / 100
    pool = POOLS[0]
    place = {int(frame): at for at, frame in enumerate(pool.frame)}
    for question in of(0, chosen(5)):
        at = depth(pool, True)[place[question.frame]]
        yes = 0.02 + 0.96 / (1 + np.exp(-(cells - at) / 0.04))
        both = np.stack([yes, 1 - yes]) / 100
        apart = both.sum(axis=1, keepdims=True) * both.sum(axis=0, keepdims=True)
        assert question.gain_bits == pytest.approx(float((both * np.log2(both / apart)).sum()))


def test_a_thousand_goals() -> None:
    few = [pool_of(goal, SCORES[:60]) for goal in range(GOALS)]
    found = choose(lambda goal: few[goal % GOALS], 1000, 60, 2, probability=True)
    assert len(found) == 2000
