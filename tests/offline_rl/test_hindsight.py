"""Frames as goals: where they are drawn, what reaches them, and what is learned from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_rl import checkpoints, training
from offline_rl.algorithms import ALGORITHMS
from offline_rl.dataset import GoalDataset
from offline_rl.hindsight import AchievedGoals, GoalMix, goal_mix
from schemas.enums import LastStep, Split, Timing
from schemas.errors import AlgorithmError, StoreError
from schemas.store import Store
from schemas.tables import matrix
from tests.offline_rl import playground
from tests.offline_rl.runs import assert_same_weights, config_of, run

EVERY = GoalMix(language=0.25, current=0.25, trajectory=0.25, random=0.25)
SIZES = (3, 1, 5)  # frames of three episodes


def goals_of(mix: GoalMix = EVERY, lag: int = 1, **more: float) -> AchievedGoals:
    """Three episodes, one trajectory from the start of each."""
    last = np.cumsum(SIZES) - 1
    rewards = {"reached": 1.0, "missed": 0.0, **more}
    return AchievedGoals(np.eye(sum(SIZES), dtype=np.float32), last, lag, mix=mix, **rewards)


def walked(
    goals: AchievedGoals, row: int, frame: int, goal: int, n_step: int, gamma: float
) -> tuple[float, int, bool]:
    """Reward, steps and whether it ends, one step after the other."""
    reward, at = 0.0, frame
    for taken in range(n_step):
        reached = at + goals.lag == goal and goal <= goals.last[row]
        reward += gamma**taken * (goals.reached if reached else goals.missed)
        if reached:
            return reward, taken + 1, True
        if at == goals.last[row]:
            return reward, taken + 1, True  # nothing behind it
        at += 1
        if at == goals.last[row] and goals.lag == 1:
            return reward, taken + 1, False  # no transition from the last frame
        if at == goals.last[row] and not (goals.lag == 0 and at == goal and taken + 1 < n_step):
            return reward, taken + 1, False
    return reward, n_step, False


@given(
    st.integers(0, 1), st.integers(1, 7), st.sampled_from([0.0, 0.9, 1.0]), st.sampled_from([0, -1])
)
@settings(max_examples=40)
def test_outcomes_are_those_of_walking_there(
    lag: int, n_step: int, gamma: float, step_reward: int
) -> None:
    goals = goals_of(lag=lag, reached=1.0 + step_reward, missed=float(step_reward))
    firsts = np.cumsum(SIZES) - SIZES
    cases = [
        (row, frame, goal)
        for row, size in enumerate(SIZES)
        for frame in range(firsts[row], firsts[row] + max(1, size - lag))
        for goal in range(sum(SIZES))
    ]
    row, frame, goal = (np.array(column) for column in zip(*cases, strict=True))
    found = goals.outcomes(row, frame, goal, n_step, gamma)
    for place, case in enumerate(cases):
        wanted = walked(goals, *case, n_step, gamma)
        got = (found.reward[place], found.interval[place], found.terminal[place])
        assert got == pytest.approx(wanted), case


def drawn(goals: AchievedGoals, row: int, step: int, gamma: float | None, size: int = 4000) -> Any:
    """Many goals of one transition."""
    rng = np.random.default_rng(0)
    frame = int(np.cumsum(SIZES)[row] - SIZES[row]) + step
    others = rng.integers(3, size=size)
    frames = (np.cumsum(SIZES) - SIZES)[others]
    rows = np.full(size, row)
    return goals.draw(rng, goals.mix, rows, np.full(size, frame), (others, frames), gamma)


def shares_of(goals: Any) -> dict[int, float]:
    values, counts = np.unique(goals, return_counts=True)
    return dict(zip(values.tolist(), (counts / len(goals)).tolist(), strict=True))


def test_later_frames_are_geometric() -> None:
    found = shares_of(drawn(goals_of(GoalMix(trajectory=1)), 2, 0, 0.5))
    wanted = {5: 0.5, 6: 0.25, 7: 0.125, 8: 0.125}  # whatever lies beyond is the last
    assert found == pytest.approx(wanted, abs=0.03)


def test_later_frames_of_the_policy_are_drawn_alike() -> None:
    found = shares_of(drawn(goals_of(GoalMix(trajectory=1)), 2, 1, None))
    assert found == pytest.approx(dict.fromkeys((6, 7, 8), 1 / 3), abs=0.03)


@pytest.mark.parametrize(("gamma", "wanted"), [(0.0, 5), (1.0, 8)])
def test_discounts_at_their_ends(gamma: float, wanted: int) -> None:
    assert shares_of(drawn(goals_of(GoalMix(trajectory=1)), 2, 0, gamma)) == {wanted: 1.0}


@pytest.mark.parametrize(("lag", "current"), [(0, 5), (1, 6)])
def test_current_is_what_the_reward_looks_at(lag: int, current: int) -> None:
    found = drawn(goals_of(GoalMix(current=1), lag), 2, 1, 0.9)
    assert shares_of(found) == {current: 1.0}


def test_nothing_is_later_than_the_last() -> None:
    for gamma in (0.5, None):
        assert shares_of(drawn(goals_of(GoalMix(trajectory=1), 0), 1, 0, gamma)) == {3: 1.0}


def test_sources_have_their_shares() -> None:
    mix = GoalMix(language=0.4, random=0.6)
    found = shares_of(drawn(goals_of(mix, 0), 2, 0, 0.9))
    wanted = {-1: 0.4, 0: 0.2, 3: 0.2, 4: 0.2}  # the first frames, which `drawn` gives
    assert found == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize(
    ("given_shares", "wanted"),
    [
        ({}, None),
        ({"language": 1}, None),
        ({"trajectory": 0.5}, GoalMix(language=0.5, trajectory=0.5)),
        ({"current": 0.2, "trajectory": 0.5, "random": 0.3}, GoalMix(0, 0.2, 0.5, 0.3)),
    ],
)
def test_what_is_left_is_language(given_shares: dict[str, Any], wanted: GoalMix | None) -> None:
    assert goal_mix(given_shares) == wanted


@pytest.mark.parametrize(
    ("given_shares", "told"),
    [
        ({"later": 0.5}, "unknown later; the known ones are language, current, trajectory, random"),
        ({"random": -0.1}, "random=-0.1: expected a share in [0, 1]"),
        ({"random": "half"}, "random='half': expected a share in [0, 1]"),
        ({"random": True}, "random=True: expected a share in [0, 1]"),
        ({"random": 0.6, "trajectory": 0.6}, "expected shares that are 1 together, got 1.2"),
        ({"language": 0.5, "trajectory": 0.2}, "expected shares that are 1 together, got 0.7"),
    ],
)
def test_shares_that_are_none(given_shares: dict[str, Any], told: str) -> None:
    with pytest.raises(AlgorithmError, match=re.escape(told)):
        goal_mix(given_shares)


@pytest.mark.parametrize("timing", Timing)
@pytest.mark.parametrize("last_step", LastStep)
def test_a_batch_of_a_store_is_what_its_frames_say(
    timing: Timing, last_step: LastStep, every_store: dict[str, Path]
) -> None:
    """Every goal is an embedding of the store; rewards and ends are those of reaching it."""
    dataset = GoalDataset(every_store[last_step], timing)
    view = dataset.view(observations="observation.flat", goals="text")
    mix = GoalMix(language=0.2, current=0.2, trajectory=0.4, random=0.2)
    replay = dataset.replay(Split.TRAIN, view, goal_mix=mix, gamma=0.9)
    store = Store.open(str(every_store[last_step]))
    (table,) = [t for t in store.tables() if t.startswith("embeddings/")]
    embeddings = matrix(store.read(table, ["embedding"]).column("embedding"))
    flats = store.read("steps", ["observation.flat"]).column("observation.flat").to_numpy()
    texts = dataset.goal_table(view.goals)
    assert texts is not None
    of_values, of_policy = replay.sample_batches(200)
    for batch in (of_values, of_policy, replay.sample_transition_batch(200)):
        goals = batch.observations[:, 1:]
        # Frames of one colour have one embedding, so that only colours can be told apart.
        of_text = (goals[:, None] == texts).all(axis=2).any(axis=1)
        of_frame = (goals[:, None] == embeddings).all(axis=2).any(axis=1)
        assert (of_text | of_frame).all()
        assert of_frame.sum() > 50
        np.testing.assert_array_equal(batch.rewards, batch.rewards.astype(bool))
        achieved = of_frame & ~of_text
        hits = achieved & (batch.rewards[:, 0] == 1)
        # A policy's goals lie behind its frames, which no reward of the same frame reaches, but
        # for a last frame that has an action.
        behind = timing is Timing.SAME_FRAME and last_step is LastStep.FINAL_OBSERVATION
        assert hits.any() == (not behind or batch is not of_policy)
        assert batch.terminals[hits].all()
        frames = np.searchsorted(flats, batch.observations[:, 0])
        np.testing.assert_array_equal(flats[frames], batch.observations[:, 0])
        looked_at = frames + (timing is Timing.NEXT_FRAME)
        np.testing.assert_array_equal(goals[hits], embeddings[looked_at[hits]])


@pytest.mark.parametrize("algo", ["gcivl", "discrete-gciql", "iql", "discrete-cql", "bc"])
def test_resumed_in_hindsight_as_if_never_interrupted(
    algo: str, playground_store: Path, tmp_path: Path
) -> None:
    steps = {} if ALGORITHMS[algo].clones else {"n_step": 3}
    changes = {"goal_mix": {"trajectory": 0.5, "random": 0.2}, **steps}
    whole = run(config_of(playground_store, algo, 20, **changes), tmp_path / "whole")
    run(config_of(playground_store, algo, 10, **changes), tmp_path / "broken")
    assert_same_weights(
        whole, run(config_of(playground_store, algo, 20, **changes), tmp_path / "broken")
    )
    plain = run(config_of(playground_store, algo, 20), tmp_path / "plain")
    with pytest.raises(AssertionError):
        assert_same_weights(whole, plain)
    assert checkpoints.load_agent(tmp_path / "whole").config.batch_size == 8


@pytest.mark.parametrize(
    ("algo", "changes", "told"),
    [
        ("decision-transformer", {"n_step": 2}, "--n-step 2: decision-transformer learns from w"),
        ("bc", {"n_step": 2}, "--n-step 2: bc learns no values"),
        ("ra-bc", {"n_step": 2}, "--n-step 2: ra-bc learns no values"),
        ("ra-bc", {"goal_mix": {"random": 1}}, "weighs by the scores of trajectories"),
        ("decision-transformer", {"goal_mix": {"random": 1}}, "learns from windows"),
        ("rebrac", {"goal_mix": {"random": 1}}, "learns from the action behind"),
        ("cal-ql", {"goal_mix": {"random": 1}}, "learns from the returns"),
        ("gcivl", {"goal_mix": {"random": 2}}, "expected a share"),
    ],
)
def test_what_does_not_fit_the_algorithm(
    algo: str, changes: dict[str, Any], told: str, playground_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(AlgorithmError, match=re.escape(told)):
        run(config_of(playground_store, algo, 1, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_the_dataset(own_store: Path) -> None:
    playground.score(own_store, "raw", reward="cosine")
    playground.goal_dataset(own_store, "raw", "raw")
    for name, goals, told in (
        ("raw", "text", "rewards of rewards/raw that are not 0 and 1"),
        ("gc1", "one-hot", "got --goal-encoding one-hot; take text"),
    ):
        dataset = GoalDataset(own_store, name)
        view = dataset.view(observations="observation.state", goals=goals)
        with pytest.raises(StoreError, match=re.escape(told)):
            dataset.replay(Split.TRAIN, view, goal_mix=GoalMix(trajectory=1))


def test_embeddings_that_the_agent_sees_are_not_read_again(playground_store: Path) -> None:
    dataset = GoalDataset(playground_store, "gc1")
    seen = dataset.view(observations=["observation.state", "embedding:pixel"], goals="text")
    alone = dataset.view(observations="observation.state", goals="text")
    tables = []
    for view in (seen, alone):
        frames = dataset.frames(view)
        replay = dataset.replay(Split.TRAIN, view, frames=frames, goal_mix=GoalMix(random=1))
        assert replay.hindsight is not None
        tables.append(replay.hindsight.embeddings)
        assert np.shares_memory(frames.values, tables[-1]) == (view is seen)
    np.testing.assert_array_equal(*tables)


def test_training_knows_the_run_by_its_goals(playground_store: Path, tmp_path: Path) -> None:
    config = config_of(playground_store, "gcivl", 2, goal_mix={"trajectory": 0.5}, n_step=2)
    run(config, tmp_path)
    stored = training.load_config(tmp_path)
    assert (stored.goal_mix, stored.n_step) == ({"trajectory": 0.5}, 2)
