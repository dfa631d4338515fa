"""Policies that draw their actions, against the probabilities that they should have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.algos import DiscreteBCQConfig
from d3rlpy.constants import ActionSpace
from d3rlpy.preprocessing import MinMaxActionScaler
from scipy.special import softmax
from scipy.stats import chisquare, kstest

from offline_rl import checkpoints
from offline_rl.algorithms import ALGORITHMS, DISCRETE
from offline_rl.policies import DrawnPolicy, preferences
from offline_rl.rollouts import Observer, roll_out
from schemas.errors import RunError
from tests.offline_rl.rooms import Colours, Painted
from tests.offline_rl.runs import config_of, run

DRAWN = [name for name, algorithm in ALGORITHMS.items() if algorithm.drawable]
ALMOST_ZERO = 1e-9


class Wants:
    """A discrete agent without a policy network: its values are its second observation's."""

    config = SimpleNamespace(observation_scaler=None)
    action_size = 3

    def get_action_type(self) -> ActionSpace:
        return ActionSpace.DISCRETE

    def predict_value(self, x: Any, actions: Any) -> Any:
        return x[np.arange(len(x)), actions]


class Points:
    """A continuous agent: its best action is what it sees."""

    def __init__(self, scaler: Any) -> None:
        self.config = SimpleNamespace(action_scaler=scaler)

    def get_action_type(self) -> ActionSpace:
        return ActionSpace.CONTINUOUS

    def predict(self, x: Any) -> Any:
        return x


def trained(algo: str, store: Path, out: Path) -> Any:
    """An agent of a few updates."""
    run(config_of(store, algo, 3), out)
    return checkpoints.load_agent(out)


def many(policy: DrawnPolicy, x: list[float], count: int) -> Any:
    """(count, …) actions for one observation, in a room of their own each."""
    seen = np.tile(np.array(x, np.float32), (count, 1))
    return np.array(policy.draw(seen, [policy.chance(room) for room in range(count)]))


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_choices_are_as_likely_as_a_softmax_says(temperature: float) -> None:
    wanted = [0.3, -1.0, 0.9]
    found = many(DrawnPolicy(Wants(), temperature, seed=5), wanted, 20_000)
    likely = softmax(np.array(wanted) / temperature)
    counts = np.bincount(found, minlength=3)
    assert chisquare(counts, likely * len(found)).pvalue > 0.001
    assert chisquare(counts, np.roll(likely, 1) * len(found)).pvalue < 1e-9


@pytest.mark.parametrize("scaler", [None, MinMaxActionScaler([-2.0, 10.0], [6.0, 11.0])])
def test_continuous_actions_lie_normally_around_the_best(scaler: Any) -> None:
    low, high = ([-1, -1], [1, 1]) if scaler is None else ([-2, 10], [6, 11])
    middle, half = np.add(high, low) / 2, np.subtract(high, low) / 2
    best = middle + 0.25 * half
    found = many(DrawnPolicy(Points(scaler), 0.1, seed=1), best.tolist(), 4000)
    for column in range(2):
        noise = (found[:, column] - best[column]) / (0.1 * half[column])
        assert kstest(noise, "norm").pvalue > 0.001
    far = many(DrawnPolicy(Points(scaler), 50.0, seed=1), best.tolist(), 4000)
    assert far.min(axis=0) == pytest.approx(low)
    assert far.max(axis=0) == pytest.approx(high)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_no_temperature_but_a_finite_one_above_0(temperature: float) -> None:
    with pytest.raises(RunError, match="expected a finite number above 0"):
        DrawnPolicy(Wants(), temperature, seed=0)


def test_the_least_temperature_leaves_the_best_action() -> None:
    found = many(DrawnPolicy(Wants(), 5e-324, seed=0), [0.1, -0.2, 0.9], 20)
    assert found.tolist() == [2] * 20


def test_what_chooses_by_more_than_preferences_is_not_drawn() -> None:
    with pytest.raises(RunError, match="DiscreteBCQ"):
        DrawnPolicy(DiscreteBCQConfig().create(), 0.5, seed=0)


@pytest.mark.parametrize("algo", ["discrete-bc", "discrete-gcivl"])
def test_preferences_are_the_logits_of_what_the_policy_sees(
    algo: str, playground_store: Path, tmp_path: Path
) -> None:
    agent = trained(algo, playground_store, tmp_path)
    seen = np.random.default_rng(1).normal(3, 2, (5, agent.observation_shape[0]))
    scaler, modules = agent.config.observation_scaler, agent.impl.modules
    scaled = (seen - scaler.mean) / (scaler.std + scaler.eps)
    network = modules.imitator if algo == "discrete-bc" else modules.policy
    with torch.no_grad():
        likely = network(torch.as_tensor(scaled, dtype=torch.float32)).probs.numpy()
    found = softmax(preferences(agent, seen.astype(np.float32)), axis=1)
    np.testing.assert_allclose(found, likely, atol=1e-5)
    assert np.ptp(likely) > 0.01


def test_actions_are_those_of_the_room() -> None:
    policy, other = DrawnPolicy(Wants(), 1.0, seed=1), DrawnPolicy(Wants(), 1.0, seed=2)
    same = many(policy, [0, 0, 0], 60)
    assert same.tolist() == many(policy, [0, 0, 0], 60).tolist()
    assert same.tolist() != many(other, [0, 0, 0], 60).tolist()
    chance = policy.chance(7)  # goes on from step to step
    x = np.zeros((1, 3), np.float32)
    assert len({policy.draw(x, [chance])[0] for _ in range(60)}) == 3


@pytest.mark.parametrize("algo", DRAWN)
def test_without_heat_the_best_action_is_left(
    algo: str, playground_store: Path, tmp_path: Path
) -> None:
    agent = trained(algo, playground_store, tmp_path)
    rng = np.random.default_rng(0)
    seen = rng.normal(0.5, 2, (64, agent.observation_shape[0])).astype(np.float32)
    torch.manual_seed(0)  # some algorithms choose the best among actions that they draw
    best = agent.predict(seen)
    if ALGORITHMS[algo].action_space is DISCRETE:
        assert len(set(best.tolist())) > 1, "an agent that does one thing proves nothing"
        assert preferences(agent, seen).argmax(axis=1).tolist() == best.tolist()
    policy = DrawnPolicy(agent, ALMOST_ZERO, seed=0)
    torch.manual_seed(0)
    found = np.array(policy.draw(seen, [policy.chance(room) for room in range(64)]))
    if ALGORITHMS[algo].action_space is not DISCRETE:  # PLAS goes beyond what the data have
        scaler = agent.config.action_scaler
        best = scaler.reverse_transform_numpy(np.clip(scaler.transform_numpy(best), -1, 1))
    np.testing.assert_allclose(found, best, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("algo", "room"), [("discrete-gcivl", Colours), ("gcivl", Painted)])
def test_rooms_side_by_side_change_nothing(
    algo: str, room: Any, playground_store: Path, tmp_path: Path
) -> None:
    agent = trained(algo, playground_store, tmp_path)
    width = agent.observation_shape[0] - 3
    goals = {name: np.eye(width, dtype=np.float32)[n] for n, name in enumerate(("red", "green"))}
    observer = Observer(("observation.state",), goals)
    policy = DrawnPolicy(agent, 1.0, seed=0)
    one, many = (
        roll_out(policy, room, observer, list(goals), episodes=8, seed=0, parallel=n)
        for n in (1, 5)
    )
    assert one == many
    assert len({r.length for r in one}) > 1
