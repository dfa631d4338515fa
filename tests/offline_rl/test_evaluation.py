"""Off-policy figures against d3rlpy's own evaluators, and intervals against scipy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy import metrics
from scipy.stats import bootstrap

from offline_rl import evaluation, training
from offline_rl.algorithms import ALGORITHMS
from offline_rl.evaluation import fit_fqe, goal_values, interval
from offline_rl.replay import GoalConditionedReplayBuffer
from offline_rl.rollouts import EpisodeResult
from schemas.enums import Split
from tests.offline_rl.runs import config_of

GOALS = ("red", "green", "blue")
WITH_CRITIC = ["iql", "td3-bc", "discrete-cql"]


def made(store: Path, algo: str) -> tuple[Any, GoalConditionedReplayBuffer]:
    """An agent after a few updates, and the validation split."""
    config = config_of(store, algo, 1)
    dataset = training.open_dataset(config)
    train = dataset.replay(Split.TRAIN, config.view)
    d3rlpy.seed(0)
    agent = training.build_agent(config, ALGORITHMS[algo], dataset, train)
    for _ in range(5):
        agent.update(train.sample_transition_batch(8))
    held_out = config.model_copy(update={"positive_share": None})
    return agent, dataset.replay(Split.VALIDATION, held_out.view)


@pytest.mark.parametrize("algo", WITH_CRITIC)
def test_figures_are_d3rlpys(
    algo: str, playground_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, replay = made(playground_store, algo)
    errors = evaluation._td_errors(agent, replay)
    assert len(errors) == replay.transition_count
    assert errors.mean() == pytest.approx(metrics.TDErrorEvaluator()(agent, replay), rel=1e-5)
    initial = evaluation._initial_values(agent, replay)
    assert initial.mean() == pytest.approx(
        metrics.InitialStateValueEstimationEvaluator()(agent, replay), rel=1e-5
    )
    monkeypatch.setattr(evaluation, "_BLOCK", 3)
    np.testing.assert_allclose(evaluation._td_errors(agent, replay), errors, atol=1e-6)
    np.testing.assert_allclose(evaluation._initial_values(agent, replay), initial, atol=1e-6)


@pytest.mark.parametrize("algo", WITH_CRITIC)
def test_d3rlpys_evaluators_take_the_buffer(algo: str, playground_store: Path) -> None:
    agent, replay = made(playground_store, algo)
    evaluators = [
        metrics.TDErrorEvaluator(),
        metrics.DiscountedSumOfAdvantageEvaluator(),
        metrics.AverageValueEstimationEvaluator(),
        metrics.InitialStateValueEstimationEvaluator(),
        metrics.SoftOPCEvaluator(1.0),
        metrics.DiscreteActionMatchEvaluator()
        if algo.startswith("discrete")
        else metrics.ContinuousActionDiffEvaluator(),
    ]
    for evaluator in evaluators:
        assert np.isfinite(evaluator(agent, replay)), evaluator


def test_d3rlpys_fit_takes_the_buffer(playground_store: Path) -> None:
    """The scalers are fitted by d3rlpy itself, the evaluators run at every epoch."""
    _, replay = made(playground_store, "iql")
    config = d3rlpy.algos.IQLConfig(
        batch_size=8,
        observation_scaler=d3rlpy.preprocessing.StandardObservationScaler(),
        action_scaler=d3rlpy.preprocessing.MinMaxActionScaler(),
        reward_scaler=d3rlpy.preprocessing.MinMaxRewardScaler(),
    )
    agent = config.create()
    done = agent.fit(
        replay,
        n_steps=4,
        n_steps_per_epoch=2,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
        evaluators={"td": metrics.TDErrorEvaluator()},
    )
    assert len(done) == 2
    assert all(np.isfinite(found["td"]) for _, found in done)
    fqe = d3rlpy.ope.FQE(agent, d3rlpy.ope.FQEConfig(batch_size=8))
    fqe.fit(
        replay,
        n_steps=2,
        n_steps_per_epoch=2,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
    )
    assert fqe.grad_step == 2


def all_of(replay: GoalConditionedReplayBuffer) -> Any:
    """Every transition, as one batch."""
    count = replay.trajectories.count
    row = np.repeat(np.arange(len(count)), count)
    step = np.concatenate([np.arange(n) for n in count])
    return replay.transition_batch(row, step)


def test_scalers_are_fitted_with_the_transition_picker(playground_store: Path) -> None:
    _, replay = made(playground_store, "iql")
    batch = all_of(replay)
    observation = d3rlpy.preprocessing.StandardObservationScaler()
    observation.fit_with_transition_picker(replay.episodes, replay.transition_picker)
    np.testing.assert_allclose(observation.mean, batch.observations.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(observation.std, batch.observations.std(axis=0), atol=1e-5)
    action = d3rlpy.preprocessing.MinMaxActionScaler()
    action.fit_with_transition_picker(replay.episodes, replay.transition_picker)
    np.testing.assert_array_equal(action.minimum, batch.actions.min(axis=0))
    np.testing.assert_array_equal(action.maximum, batch.actions.max(axis=0))
    reward = d3rlpy.preprocessing.StandardRewardScaler()
    reward.fit_with_transition_picker(replay.episodes, replay.transition_picker)
    assert reward.mean == pytest.approx(batch.rewards.mean(), abs=1e-6)


@pytest.mark.parametrize("algo", ["iql", "discrete-cql", "bc", "discrete-bc"])
def test_fqe_asks_for_the_agents_own_actions(
    algo: str, playground_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target of FQE is the value of what the agent would do, in scaled or raw numbers."""
    agent, replay = made(playground_store, algo)
    batches, asked = [], []
    sample, best = replay.sample_transition_batch, agent.impl.predict_best_action
    monkeypatch.setattr(
        replay, "sample_transition_batch", lambda n: batches.append(sample(n)) or batches[-1]
    )
    monkeypatch.setattr(
        agent.impl, "predict_best_action", lambda x: asked.append(best(x)) or asked[-1]
    )
    fqe = fit_fqe(agent, replay, 1, "cpu", lambda *_: None)
    monkeypatch.undo()
    wanted = agent.predict(batches[0].next_observations)
    got = asked[0].detach().numpy()
    if scaler := agent.config.action_scaler:
        got = scaler.reverse_transform_numpy(got)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert fqe.config.gamma == agent.config.gamma
    # Its Q function sees what the agent's network sees and does, so raw values are scaled alike.
    seen, done = batches[0].observations, agent.predict(batches[0].observations)
    raw = fqe.predict_value(seen, done)
    seen = agent.config.observation_scaler.transform_numpy(seen)
    if scaler := agent.config.action_scaler:
        done = scaler.transform_numpy(done)
    inner = fqe.impl.predict_value(torch.tensor(seen), torch.tensor(done))
    np.testing.assert_allclose(raw, inner.detach().numpy().reshape(-1), atol=1e-5)


@pytest.mark.slow
def test_fqe_finds_the_value_of_a_policy(playground_store: Path) -> None:
    """Cloning cannot change what it sees, so with γ = 0 its value is the mean reward."""
    agent, replay = made(playground_store, "discrete-bc")
    agent.config.gamma = 0.0
    shown: list[tuple[int, int]] = []
    replay.trajectories.rewards[:] = 1
    fqe = fit_fqe(agent, replay, 400, "cpu", lambda *now: shown.append(now))
    assert shown == [(100, 400), (200, 400), (300, 400), (400, 400)]
    values = fqe.predict_value(all_of(replay).observations, all_of(replay).actions[:, 0])
    assert abs(values.mean() - 1) < 0.3


def test_goal_values_are_those_of_their_goal(playground_store: Path) -> None:
    agent, replay = made(playground_store, "iql")
    fqe = fit_fqe(agent, replay, 2, "cpu", lambda *_: None)
    found = goal_values(agent, fqe, replay, GOALS, critic=True)
    rows = replay.trajectories
    assert [v.goal for v in found] == [GOALS[g] for g in np.unique(rows.goal)]
    assert sum(v.trajectories for v in found) == replay.size()
    firsts = [replay.episode(r).observations[:1] for r in range(replay.size())]
    actions = [agent.predict(first) for first in firsts]
    for value in found:
        own = [r for r in range(replay.size()) if GOALS[rows.goal[r]] == value.goal]
        critic = np.mean([agent.predict_value(firsts[r], actions[r])[0] for r in own])
        fitted = np.mean([fqe.predict_value(firsts[r], actions[r])[0] for r in own])
        assert value.initial_value == pytest.approx(critic, rel=1e-4)
        assert value.fqe_initial_value == pytest.approx(fitted, rel=1e-4)
    by_count = [v.td_error * rows.count[rows.goal == GOALS.index(v.goal)].sum() for v in found]
    total = evaluation._td_errors(agent, replay).sum()
    assert sum(by_count) == pytest.approx(total, rel=1e-5)


def test_without_a_critic_or_fqe_columns_stay_empty(playground_store: Path) -> None:
    agent, replay = made(playground_store, "bc")
    found = goal_values(agent, None, replay, GOALS, critic=False)
    assert {(v.initial_value, v.td_error, v.fqe_initial_value) for v in found} == {
        (None, None, None)
    }


# --- intervals


def test_interval_is_scipys() -> None:
    values = np.random.default_rng(1).exponential(size=40)
    theirs = bootstrap(
        (values,),
        np.mean,
        n_resamples=2000,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    ours = interval(values, seed=5)
    assert (ours.low, ours.high) == (theirs.low, theirs.high)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.count == 40


def test_interval_of_many_is_the_normal_one() -> None:
    values = np.random.default_rng(2).normal(3, 2, size=400)
    found = interval(values)
    error = 1.96 * values.std() / 20
    assert found.low == pytest.approx(found.mean - error, abs=0.1 * error)
    assert found.high == pytest.approx(found.mean + error, abs=0.1 * error)


def test_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(3)
    found = [interval(rng.random(60) < 0.3) for _ in range(100)]
    assert 0.88 <= np.mean([i.low <= 0.3 <= i.high for i in found]) <= 1


@pytest.mark.parametrize("values", [[0.5], [1, 1, 1], [0, 0]])
def test_interval_of_equal_values_is_a_point(values: list[float]) -> None:
    found = interval(values)
    assert found.low == found.high == found.mean == values[0]
    assert found.count == len(values)


def test_outcomes_are_by_family_and_all() -> None:
    results = [
        EpisodeResult(goal, 0, success, float(success), vlm, 3)
        for goal, success, vlm in (
            ("red", True, 1.0),
            ("green", False, None),
            ("blue", True, None),
            ("green", False, None),
        )
    ]
    families = {"red": "warm", "green": "cold", "blue": "cold"}
    found = {o.family: o for o in evaluation.outcomes("agent", results, families)}
    assert list(found) == ["warm", "cold", "all"]
    means = {family: outcome.success.mean for family, outcome in found.items()}
    assert means == pytest.approx({"warm": 1, "cold": 1 / 3, "all": 0.5})
    assert [o.success.count for o in found.values()] == [1, 3, 4]
    assert found["warm"].vlm_return is not None
    assert found["cold"].vlm_return is None
