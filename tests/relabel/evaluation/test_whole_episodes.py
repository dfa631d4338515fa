"""Order of time and ranking of episodes, against SciPy, scikit-learn and plain loops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from relabel.evaluation import score_blocks as blocks_module
from relabel.evaluation import whole_episodes
from relabel.evaluation.metrics import episode_weights
from relabel.evaluation.score_blocks import Block, control_blocks, score_blocks
from relabel.evaluation.successes import (
    NEVER,
    UNKNOWN,
    Successes,
    successes_of_field,
    successes_of_labels,
    successes_of_scores,
)
from relabel.evaluation.whole_episodes import (
    TimeOrders,
    chosen_successes,
    episode_auc,
    read_whole_episodes,
    time_orders,
)
from schemas.labels import Labels
from schemas.store import Store
from tests.relabel.evaluation.scored_stores import Told, make_store

LENGTHS = (4, 1, 6, 3, 5)
GOALS = 3


def told(seed: int = 0) -> list[Told]:
    rng = np.random.default_rng(seed)
    episodes = []
    for length in LENGTHS:
        scores = rng.random((length, GOALS)).round(1).astype(np.float32)
        scores[rng.random(length) < 0.2] = np.nan
        truth = (rng.random((length, GOALS)) < 0.3).astype(float)
        episodes.append(Told(scores > 0.5, scores=scores, truth=truth))
    return episodes


@pytest.fixture(name="episodes")
def _episodes() -> list[Told]:
    return told()


@pytest.fixture(name="store", params=[1, 5, 1 << 22])
def _store(
    tmp_path: Path,
    episodes: list[Told],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Store:
    monkeypatch.setattr(blocks_module, "_BLOCK_VALUES", request.param)
    return make_store(tmp_path / "store", episodes)


def first_true(truth: np.ndarray) -> list[int]:
    return [int(np.argmax(own)) if own.any() else NEVER for own in (truth > 0).T]


def test_blocks_hold_every_frame_once_in_order(store: Store, episodes: list[Told]) -> None:
    told_of: list[tuple[int, int]] = []
    found = list(score_blocks(store, "v1", tell=lambda *at: told_of.append(at)))
    scores = np.concatenate([own.scores for own in episodes if own.scores is not None])
    np.testing.assert_array_equal(np.concatenate([block.scores for block in found]), scores)
    assert np.concatenate([block.length for block in found]).tolist() == list(LENGTHS)
    assert np.concatenate([block.episode for block in found]).tolist() == list(range(5))
    steps = [step for length in LENGTHS for step in range(length)]
    assert np.concatenate([block.step for block in found]).tolist() == steps
    rows = np.cumsum([0, *(len(block.step) for block in found)])[:-1]
    assert [block.row for block in found] == rows.tolist()
    assert told_of[-1] == (3, 3)


def test_successes_of_a_column_are_the_first_true_frames(
    store: Store, episodes: list[Told]
) -> None:
    found = successes_of_field(store, "truth", [2, -1, 0])
    for place, own in enumerate(episodes):
        assert own.truth is not None
        first = first_true(own.truth)
        assert found.first[place].tolist() == [first[2], UNKNOWN, first[0]]


def test_only_flagged_frames_count(tmp_path: Path, episodes: list[Told]) -> None:
    ended = [
        Told(own.rewards, terminal=True, scores=own.scores, truth=own.truth) for own in episodes
    ]
    store = make_store(tmp_path / "ended", ended)  # the last frames alone are flagged
    found = successes_of_field(store, "truth", range(GOALS), where="is_terminal")
    for place, own in enumerate(ended):
        assert own.truth is not None
        last = [own.length - 1 if true else NEVER for true in own.truth[-1]]
        assert found.first[place].tolist() == last
    none = make_store(tmp_path / "none", episodes)
    assert (successes_of_field(none, "truth", [0], where="is_terminal").first == UNKNOWN).all()


def test_an_episode_fails_by_labels_only_if_all_of_it_is_labelled() -> None:
    rows = [
        ("e0", 2, "g", True),
        ("e0", 1, "g", True),
        ("e0", 0, "g", False),
        ("e1", 0, "g", False),
        ("e1", 1, "g", False),
        ("e2", 0, "g", False),
        ("e2", 7, "g", True),  # there is no such frame
        ("other", 0, "g", True),
        ("e1", 0, "other", True),
    ]
    found = successes_of_labels(
        Labels.of_rows(rows), ["e0", "e1", "e2", "e3"], np.array([3, 2, 2, 0]), ["g", "unlabelled"]
    )
    assert found.first[:, 0].tolist() == [1, NEVER, UNKNOWN, UNKNOWN]
    assert (found.first[:, 1] == UNKNOWN).all()


def test_successes_of_scores_are_those_above_the_threshold(
    store: Store, episodes: list[Told]
) -> None:
    thresholds = np.array([0.5, 0.8, np.nan], np.float32)
    found = successes_of_scores(score_blocks(store, "v1"), thresholds, len(LENGTHS))
    for place, own in enumerate(episodes):
        assert own.scores is not None
        missing = np.isnan(own.scores).all(axis=0)
        first = first_true(own.scores > thresholds)
        expected = [UNKNOWN if gone else f for f, gone in zip(first, missing, strict=True)]
        assert found.first[place].tolist() == [*expected[:2], UNKNOWN]


def test_orders_and_highest_scores_are_those_of_plain_loops(
    store: Store, episodes: list[Told]
) -> None:
    successes = successes_of_field(store, "truth", range(GOALS))
    chosen = chosen_successes(successes, 0)
    rows = np.array([0, 3, 4, 11, 18])
    found = read_whole_episodes(score_blocks(store, "v1"), (len(LENGTHS), GOALS), chosen, rows)
    expected, highest = [], np.full((len(LENGTHS), GOALS), np.nan)
    for place, own in enumerate(episodes):
        assert own.scores is not None
        highest[place] = [np.nan if np.isnan(s).all() else np.nanmax(s) for s in own.scores.T]
        for goal in range(GOALS):
            until = own.scores[: successes.first[place, goal] + 1, goal]
            steps = np.flatnonzero(np.isfinite(until))
            if successes.first[place, goal] > 0 and len(steps) > 1:
                tau = kendalltau(steps, until[steps]).statistic
                expected.append((place, goal, 0.0 if np.isnan(tau) else tau))
    np.testing.assert_array_equal(found.highest, highest.astype(np.float32))
    orders = found.orders
    order = np.lexsort((orders.goal, orders.episode))
    places, goals, taus = zip(*expected, strict=True)
    assert orders.episode[order].tolist() == list(places)
    assert orders.goal[order].tolist() == list(goals)
    np.testing.assert_allclose(orders.tau[order], taus)
    scores = np.concatenate([own.scores for own in episodes if own.scores is not None])
    np.testing.assert_array_equal(found.sample, scores[rows])


def test_a_ramp_orders_time_perfectly_and_a_random_score_does_not() -> None:
    rng = np.random.default_rng(0)
    length, count = 30, 200

    def blocks() -> Iterator[Block]:
        steps = np.tile(np.arange(length), count)
        everything = np.ones(count * length, bool)
        scores = rng.random((count * length, 1)).astype(np.float32)
        lengths = np.full(count, length)
        yield Block(0, np.arange(count), lengths, steps, everything, scores)

    successes = Successes(np.full((count, 1), length - 1, np.int32), "the test")
    taus = {}
    for control in ("ramp", "random"):
        own = control_blocks(blocks(), control, 0)
        found = read_whole_episodes(own, (count, 1), successes, np.empty(0, int))
        taus[control] = found.orders.per_goal(1)[0]
        weights = episode_weights(count, 50)
        happened = np.arange(count) < 50
        area, _ = episode_auc(happened, found.highest[:, 0], np.arange(count), weights)
        assert area == pytest.approx(0.5, abs=0 if control == "ramp" else 0.1)
    assert taus["ramp"] == 1
    assert abs(taus["random"]) < 0.05


@pytest.mark.parametrize("paired", [0, 1 << 20])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 40])
def test_orders_of_many_goals_are_those_of_scipy(
    length: int, paired: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_episodes, "_PAIRED", paired)
    rng = np.random.default_rng(length)
    scores = rng.integers(0, 6, (length, 30)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    scores[:, 0] = 0.3  # never changes
    found = time_orders(scores)
    for own, column in zip(found, scores.T, strict=True):
        there = np.flatnonzero(np.isfinite(column))
        if len(there) < 2:
            assert np.isnan(own)
        elif len(set(column[there].tolist())) == 1:
            assert own == 0
        else:
            assert own == pytest.approx(kendalltau(there, column[there]).statistic)


def test_at_most_so_many_episodes_of_a_goal_are_chosen_and_none_that_begins_with_success() -> None:
    first = np.array([[0, 3], [2, 3], [NEVER, 3], [5, 3], [UNKNOWN, 3]], np.int32)
    for seed in range(5):
        found = chosen_successes(Successes(first, "the test"), seed, most=2)
        assert (found.first >= 0).sum(axis=0).tolist() == [2, 2]
        kept = found.first >= 0
        assert (found.first[kept] == first[kept]).all()
        assert not kept[[0, 2, 4], 0].any()


@pytest.mark.parametrize("seed", range(10))
def test_the_area_is_that_of_scikit_learn_and_draws_those_of_its_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    episode = np.sort(rng.choice(30, 12, replace=False))
    highest = rng.integers(0, 5, 12).astype(np.float32)
    success = np.arange(12) % 3 == 0
    weights = episode_weights(30, 20, seed)
    area, draws = episode_auc(success, highest, episode, weights)
    assert area == pytest.approx(roc_auc_score(success, highest))
    for draw, own in zip(draws, weights[:, episode], strict=True):
        if own[success].any() and own[~success].any():
            assert draw == pytest.approx(roc_auc_score(success, highest, sample_weight=own))
        else:
            assert np.isnan(draw)


def test_episodes_of_one_kind_have_no_area() -> None:
    weights = episode_weights(3, 4)
    for success in (np.ones(3, bool), np.zeros(3, bool), np.zeros(0, bool)):
        where = np.arange(len(success))
        area, draws = episode_auc(success, where.astype(np.float32), where, weights)
        assert np.isnan(area)
        assert draws.shape == (4,)
        assert np.isnan(draws).all()


def test_means_of_orders_weigh_episodes() -> None:
    orders = TimeOrders(np.array([0, 1, 1]), np.array([0, 0, 2]), np.array([1.0, 0.0, -1.0]))
    np.testing.assert_array_equal(orders.per_goal(3), [0.5, np.nan, -1])
    weights = np.array([[3, 1], [0, 2]], np.uint16)
    np.testing.assert_array_equal(
        orders.per_goal(3, weights), [[0.75, np.nan, -1], [0, np.nan, -1]]
    )
