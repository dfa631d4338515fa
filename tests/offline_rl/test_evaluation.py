"""Off-policy figures against d3rlpy's own evaluators, and intervals against scipy."""

from __future__ import annotations

import itertools
import random
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
from offline_rl.dataset import GoalDataset
from offline_rl.evaluation import goal_values, interval, share
from offline_rl.fqe import fit_fqe, fit_several, value_bounds
from offline_rl.replay import GoalConditionedReplayBuffer
from offline_rl.rollouts import EpisodeResult
from schemas.enums import Split, Timing
from schemas.store import Store
from tests.offline_rl import playground
from tests.offline_rl.runs import config_of

GOALS = ("red", "green", "blue")
WITH_CRITIC = ["iql", "td3-bc", "discrete-cql", "gcivl", "discrete-gciql"]


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


@pytest.mark.parametrize(
    "algo",
    ["iql", "discrete-cql", "bc", "discrete-bc", *(n for n, a in ALGORITHMS.items() if a.own)],
)
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
    fits = fit_several(agent, replay, 2, "cpu", lambda *_: None, fits=2, seed=5)
    found = goal_values(agent, fits, replay, GOALS, critic=True)
    rows = replay.trajectories
    assert [v.goal for v in found] == [GOALS[g] for g in np.unique(rows.goal)]
    assert sum(v.trajectories for v in found) == replay.size()
    firsts = [replay.episode(r).observations[:1] for r in range(replay.size())]
    actions = [agent.predict(first) for first in firsts]
    for value in found:
        own = [r for r in range(replay.size()) if GOALS[rows.goal[r]] == value.goal]
        critic = np.mean([agent.predict_value(firsts[r], actions[r])[0] for r in own])
        fitted = [
            np.mean([fit.predict_value(firsts[r], actions[r])[0] for r in own]) for fit in fits
        ]
        assert value.initial_value == pytest.approx(critic, rel=1e-4)
        assert value.fqe_fits == pytest.approx(fitted, rel=1e-4)
        assert value.fqe_initial_value == pytest.approx(np.mean(fitted), rel=1e-4)
    by_count = [v.td_error * rows.count[rows.goal == GOALS.index(v.goal)].sum() for v in found]
    total = evaluation._td_errors(agent, replay).sum()
    assert sum(by_count) == pytest.approx(total, rel=1e-5)


def test_without_a_critic_or_fqe_columns_stay_empty(playground_store: Path) -> None:
    agent, replay = made(playground_store, "bc")
    found = goal_values(agent, [], replay, GOALS, critic=False)
    assert {(v.initial_value, v.td_error, v.fqe_initial_value) for v in found} == {
        (None, None, None)
    }


# --- fits that can be repeated, and their doubts


@pytest.mark.parametrize("algo", ["iql", "bcq", "discrete-cql"])
def test_fqe_is_the_same_bit_for_bit_whatever_was_drawn_before(
    algo: str, playground_store: Path
) -> None:
    """BCQ also draws its actions."""

    def values(noise: int, seed: int) -> list[evaluation.GoalValues]:
        agent, replay = made(playground_store, algo)
        d3rlpy.seed(noise)
        replay.sample_transition_batch(noise + 1)
        random.seed(noise)
        fits = fit_several(agent, replay, 3, "cpu", lambda *_: None, fits=2, seed=seed)
        return goal_values(agent, fits, replay, GOALS, critic=True, seed=seed)

    first = values(1, seed=7)
    assert first == values(2, seed=7)
    other = values(1, seed=8)
    assert [v.fqe_fits for v in first] != [v.fqe_fits for v in other]
    assert all(len(set(v.fqe_fits)) == 2 for v in first)  # a fit has a seed of its own


def test_fqe_leaves_every_generator_as_it_was(playground_store: Path) -> None:
    agent, replay = made(playground_store, "discrete-bc")
    torch.backends.cudnn.deterministic = False
    drawn = []
    for fits in (0, 2):
        d3rlpy.seed(4)
        torch.backends.cudnn.deterministic = False
        replay.rng = np.random.default_rng(4)
        fit_several(agent, replay, 2, "cpu", lambda *_: None, fits=fits, seed=1)
        drawn.append(
            (random.random(), np.random.random(), float(torch.rand(1)), replay.rng.random())
        )
        assert not torch.backends.cudnn.deterministic
    assert drawn[0] == drawn[1]


def test_progress_counts_the_updates_of_all_fits(playground_store: Path) -> None:
    agent, replay = made(playground_store, "discrete-bc")
    shown: list[tuple[int, int]] = []
    fit_several(agent, replay, 2, "cpu", lambda *now: shown.append(now), fits=3, seed=1)
    assert shown == [(2, 6), (4, 6), (6, 6)]


def highest_and_lowest(rewards: tuple[float, float], gamma: float, ends: bool) -> Any:
    """Returns of every trajectory of up to 9 transitions, by trying all of two rewards."""
    low, high = rewards
    found = []
    for length in range(1, 10):
        for row in itertools.product((low, high), repeat=length):
            if ends and high in row[:-1]:
                continue
            found.append(sum(gamma**t * reward for t, reward in enumerate(row)))
    return min(found), max(found)


@pytest.mark.parametrize("rewards", [(0, 1), (-1, 0), (-0.5, 2), (0.7, 0.75), (-2, -1)])
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_bounds_are_those_of_all_trajectories(
    rewards: tuple[float, float], ends: bool, gamma: float
) -> None:
    tried = highest_and_lowest(rewards, gamma, ends)
    assert value_bounds(rewards, gamma, ends_on_success=ends) == pytest.approx(tried, abs=1e-3)


def test_without_a_discount_only_one_side_is_bounded() -> None:
    assert value_bounds((0, 1), 1, ends_on_success=False) == (0, np.inf)
    assert value_bounds((-1, 0), 1, ends_on_success=True) == (-np.inf, 0)
    assert value_bounds((0, 1), 1, ends_on_success=True) == (0, 1)


def of_goal(goal: str, trajectories: int, own: float | None, *fits: float) -> Any:
    mean = float(np.mean(fits)) if fits else None
    return evaluation.GoalValues(
        goal=goal,
        trajectories=trajectories,
        initial_value=own,
        td_error=None,
        fqe_initial_value=mean,
        fqe_fits=fits,
    )


def test_impossible_values_and_few_trajectories_are_doubted() -> None:
    values = [
        of_goal("good", 40, 0.5, 0.2, 0.4),
        of_goal("high", 40, 2.33, 0.5, 0.9),
        of_goal("one fit", 40, None, 0.5, -1.07),  # their mean would pass
        of_goal("few", 9, None),
    ]
    notes = evaluation.doubts(values, (0, 1), "validation", slack=0.05)
    assert len(notes) == 3
    few, own, fqe = notes
    assert "validation split: fewer than 10 trajectories for 1 of 4 goals (few)" in few
    assert own.startswith("initial value of 1 of 4 goals (high) lies outside of [0, 1]")
    assert fqe.startswith("FQE initial value of 1 of 4 goals (one fit) lies outside of [0, 1]")
    assert evaluation.doubts(values[:1], (0, 1), "validation", slack=0.05) == []
    near = [of_goal("near", 40, -0.04, 1.04)]
    assert evaluation.doubts(near, (0, 1), "validation", slack=0.05) == []


@pytest.mark.parametrize(
    ("dataset", "rewards"), [("gc1", (0, 1)), ("gc1.true", (0, 1)), ("costs", (-1, 0))]
)
def test_reward_range_of_a_dataset(
    dataset: str, rewards: tuple[float, float], own_store: Path
) -> None:
    costs = playground.ALL.model_copy(update={"step_reward": -1})
    playground.goal_dataset(own_store, "costs", Timing.NEXT_FRAME, costs)
    opened = GoalDataset(Store.open(str(own_store)), dataset)
    assert opened.reward_range == rewards
    assert opened.binary


def test_reward_range_of_probabilities(own_store: Path) -> None:
    playground.score(own_store, "soft", reward="probability")
    playground.goal_dataset(own_store, "soft", "soft")
    opened = GoalDataset(Store.open(str(own_store)), "soft")
    assert (opened.reward_range, opened.binary) == ((0, 1), False)


# --- kept in the run


def test_reports_never_replace_each_other(tmp_path: Path) -> None:
    report = evaluation.EvaluationReport(run="r", step=20, split="test", options={"seed": 3})
    first, second = (evaluation.save_report(report, tmp_path) for _ in range(2))
    assert Path(first.saved).name == "step-00000020-test-1.json"
    assert Path(second.saved).name == "step-00000020-test-2.json"
    for saved in (first, second):
        text = Path(saved.saved).read_text()
        assert evaluation.EvaluationReport.model_validate_json(text) == saved


# --- intervals


def wilson(successes: int, count: int) -> tuple[float, float]:
    """Newcombe 1998, method 3, written out."""
    z, p = 1.959963984540054, successes / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * ((p * (1 - p) + z * z / (4 * count)) / count) ** 0.5 / (1 + z * z / count)
    return middle - half, middle + half


@pytest.mark.parametrize(("successes", "count"), [(10, 10), (0, 10), (1, 1), (3, 17), (50, 100)])
def test_share_has_wilsons_interval(successes: int, count: int) -> None:
    found = share([1.0] * successes + [0.0] * (count - successes))
    assert found.mean == pytest.approx(successes / count)
    assert (found.low, found.high) == pytest.approx(wilson(successes, count), abs=1e-9)
    assert found.count == count
    assert found.low < found.high


def test_ten_of_ten_are_not_always() -> None:
    assert share([1] * 10).low == pytest.approx(0.7225, abs=1e-4)


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
    assert found["all"].success == share([1, 0, 1, 0])
    means = {family: outcome.success.mean for family, outcome in found.items()}
    assert means == pytest.approx({"warm": 1, "cold": 1 / 3, "all": 0.5})
    assert [o.success.count for o in found.values()] == [1, 3, 4]
    assert found["warm"].vlm_return is not None
    assert found["cold"].vlm_return is None
