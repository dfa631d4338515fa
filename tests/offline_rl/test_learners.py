"""The learners of our own find what brute force finds, on a chain of five places."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import pytest

from offline_rl.algorithms import ALGORITHMS, configure
from offline_rl.hindsight import GoalMix
from tests.offline_rl import chain

SETTINGS = {
    "hidden_units": [32],
    "batch_size": 128,
    "gamma": chain.GAMMA,
    "expectile": 0.9,
    "tau": 0.1,
    "actor_learning_rate": 1e-2,
    "critic_learning_rate": 1e-2,
}


@pytest.fixture(scope="module")
def recorded() -> chain.Walk:
    return chain.walk()


def learned(
    recorded: chain.Walk, algo: str, steps: int = 500, mix: GoalMix | None = None, **more: Any
) -> Any:
    """An agent, trained."""
    algorithm = ALGORITHMS[algo]
    d3rlpy.seed(0)
    options = {} if mix is None else {"hindsight": recorded.achieved(mix), "gamma": chain.GAMMA}
    replay = recorded.replay(continuous=not algo.startswith("discrete"), **options)
    agent = configure(algorithm, {**SETTINGS, **more}, {}).create()
    info = replay.dataset_info
    agent.create_impl(info.observation_signature.shape[0], info.action_size)
    for _ in range(steps):
        losses = agent.update(*replay.sample_batches(agent.batch_size))
    assert np.isfinite(list(losses.values())).all()
    return agent


def taken(actions: Any, algo: str) -> Any:
    """(N,) numbers of the actions, whatever their kind."""
    if algo.startswith("discrete"):
        return np.ravel(actions)
    return np.abs(np.ravel(actions)[:, None] - chain.MOVES).argmin(axis=1)


def given(action: int, algo: str) -> Any:
    """An action as an agent takes it, one of a batch."""
    return action if algo.startswith("discrete") else [chain.MOVES[action]]


def best_moves(recorded: chain.Walk) -> dict[chain.Key, int]:
    """The action of the greatest Q among those of the data, at the places it matters."""
    _, worth = chain.values_of_actions(recorded.moves, 0.999)
    return {
        key: max(range(3), key=lambda a, key=key: worth.get((*key, a), -1.0))
        for key in recorded.moves
    }


@pytest.mark.parametrize("algo", ["gcivl", "discrete-gcivl"])
def test_gcivl_finds_the_expectiles_of_outcomes(algo: str, recorded: chain.Walk) -> None:
    agent = learned(recorded, algo)
    wanted = chain.values_of_outcomes(recorded.moves, SETTINGS["expectile"])
    places = np.stack([chain.seen(key) for key in wanted])
    found = agent.predict_value(places, np.stack([given(0, algo)] * len(places)))
    np.testing.assert_allclose(found, list(wanted.values()), atol=0.07)
    # Luck is taken for skill: above what the best action is worth.
    best, _ = chain.values_of_actions(recorded.moves, 0.999)
    assert wanted[2, 0] > best[2, 0] + 0.05


@pytest.mark.parametrize(
    ("algo", "more"), [("gciql", {"actor_loss": "awr"}), ("discrete-gciql", {})]
)
def test_gciql_finds_the_values_of_actions(
    algo: str, more: dict[str, Any], recorded: chain.Walk
) -> None:
    agent = learned(recorded, algo, weight_temp=10.0, **more)
    _, wanted = chain.values_of_actions(recorded.moves, SETTINGS["expectile"])
    places = np.stack([chain.seen(key[:2]) for key in wanted])
    actions = np.stack([given(key[2], algo) for key in wanted])
    found = agent.predict_value(places, actions)
    np.testing.assert_allclose(found, list(wanted.values()), atol=0.07)
    best = best_moves(recorded)
    acts = taken(agent.predict(np.stack([chain.seen(key) for key in best])), algo)
    assert acts.tolist() == list(best.values())


def test_gcivl_finds_the_expectiles_of_later_frames(recorded: chain.Walk) -> None:
    agent = learned(recorded, "discrete-gcivl", 800, GoalMix(trajectory=1))
    wanted = chain.values_in_hindsight(recorded, SETTINGS["expectile"])
    assert len(wanted) == chain.PLACES**2
    found = agent.predict_value(np.stack([chain.at(*key) for key in wanted]), np.zeros(len(wanted)))
    np.testing.assert_allclose(found, list(wanted.values()), atol=0.1)
    acts = agent.predict(np.stack([chain.at(1, 0), chain.at(3, 4)]))
    assert acts.tolist() == [chain.LEFT, chain.RIGHT]
