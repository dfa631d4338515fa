"""The learners of our own find what brute force finds, on a chain of five places."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch

from offline_rl.algorithms import ALGORITHMS, configure
from offline_rl.hindsight import GoalMix
from offline_rl.learners.weighing import advantage_weights
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
    options: dict[str, Any] = (
        {} if mix is None else {"hindsight": recorded.achieved(mix), "gamma": chain.GAMMA}
    )
    if algo.endswith("awr"):
        options |= {"gamma": chain.GAMMA, "n_step": 2**31}
    replay = recorded.replay(continuous=not algo.startswith("discrete"), **options)
    known = vars(configure(algorithm, {}, {}))
    own = {k: v for k, v in SETTINGS.items() if k in known or k == "hidden_units"}
    agent = configure(algorithm, {**own, **more}, {}).create()
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


def chances(agent: Any, places: Any) -> Any:
    """(N, 3) how likely each action is."""
    with torch.no_grad():
        logits = agent.impl.policy(torch.from_numpy(places)).logits
    return torch.softmax(logits, dim=1).numpy()


@pytest.mark.parametrize("algo", ["awr", "discrete-awr"])
def test_awr_clones_by_how_much_better_than_usual_it_went(algo: str, recorded: chain.Walk) -> None:
    agent = learned(
        *(recorded, algo, 1000),
        **{"weight_temp": 2.0, "normalize_advantage": False, "critic_learning_rate": 2e-3},
    )
    values = chain.values_of_behaviour(recorded)
    places = np.stack([chain.seen(key) for key in values])
    found = agent.predict_value(places, np.stack([given(0, algo)] * len(places)))
    np.testing.assert_allclose(found, list(values.values()), atol=0.06)
    known = chain.returns(recorded)
    gains = [
        worth + (0.0 if end is None else chain.GAMMA**steps * values[end]) - values[key]
        for key, _, worth, steps, end in known
    ]
    weights = np.exp(2.0 * np.array(gains))
    keys, actions = [key for key, *_ in known], [action for _, action, *_ in known]
    _check_clone(agent, algo, chain.weighted_policy(keys, actions, weights))


@pytest.mark.parametrize("algo", ["ra-bc", "discrete-ra-bc"])
def test_ra_bc_clones_by_its_weights(algo: str, recorded: chain.Walk) -> None:
    weights = np.random.default_rng(0).random(len(recorded.rows.rewards)).astype(np.float32)
    known = chain.returns(recorded)
    keys, actions = [key for key, *_ in known], [action for _, action, *_ in known]
    weights[(np.array(actions) == chain.LEFT) & (weights < 0.8)] = 0
    weighted = replace(recorded, rows=replace(recorded.rows, rewards=weights))
    agent = learned(weighted, algo, 1000)
    _check_clone(agent, algo, chain.weighted_policy(keys, actions, weights))
    with pytest.raises(NotImplementedError):
        agent.predict_value(chain.seen((1, 0))[None], np.array([given(0, algo)]))


def _check_clone(agent: Any, algo: str, wanted: dict[chain.Key, Any]) -> None:
    """The shares of discrete actions; of continuous ones their mean."""
    places = np.stack([chain.seen(key) for key in wanted])
    shares = np.stack(list(wanted.values()))
    if algo.startswith("discrete"):
        np.testing.assert_allclose(chances(agent, places), shares, atol=0.08)
    else:
        np.testing.assert_allclose(agent.predict(places)[:, 0], shares @ chain.MOVES, atol=0.12)


def test_weights_of_advantages() -> None:
    found = advantage_weights(torch.tensor([[-1.0], [0.0], [2.0]]), 2.0, 5.0, normalize=False)
    np.testing.assert_allclose(found.numpy().ravel(), [np.exp(-2), 1, 5], rtol=1e-6)
    large = torch.tensor([[-300.0], [400.0]])
    found = advantage_weights(large, 1.0, 100.0, normalize=True)
    rms = np.sqrt((9e4 + 16e4) / 2)
    np.testing.assert_allclose(found.numpy().ravel(), np.exp([-300 / rms, 400 / rms]), rtol=1e-6)
    nothing = advantage_weights(torch.zeros(3, 1), 3.0, 100.0, normalize=True)
    assert (nothing == 1).all()


@pytest.mark.parametrize("algo", [name for name, known in ALGORITHMS.items() if known.own])
def test_d3rlpys_fit_trains_a_learner_of_our_own(algo: str, recorded: chain.Walk) -> None:
    """With one batch for values and policy; the replay may draw goals in hindsight."""
    mix = None if ALGORITHMS[algo].progress else GoalMix(language=0.5, trajectory=0.5)
    hindsight = None if mix is None else recorded.achieved(mix)
    replay = recorded.replay(continuous=not algo.startswith("discrete"), hindsight=hindsight)
    agent = configure(ALGORITHMS[algo], {"hidden_units": [8], "batch_size": 8}, {}).create()
    done = agent.fit(
        replay,
        n_steps=4,
        n_steps_per_epoch=2,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
    )
    assert agent.grad_step == 4
    assert all(np.isfinite(list(losses.values())).all() for _, losses in done)
