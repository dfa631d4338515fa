"""The recipe's intervals and figure 3's correlation, on literals."""

from __future__ import annotations

import numpy as np
import pytest

from examples.playroom import figure3, recipe
from examples.playroom.episodes import MIXTURES, collect_episode
from examples.playroom.goals import FAMILIES, GOALS
from examples.playroom.room import make_env
from offline_rl.policies import DrawnPolicy
from schemas.errors import RunError


def played(**shares: float) -> dict[str, dict[str, np.ndarray]]:
    """Three runs in 100 rooms of each family, of which the given share succeeds."""
    row = np.arange(100)
    return {
        policy: {family: np.tile((row < 100 * share).astype(float), (3, 1)) for family in FAMILIES}
        for policy, share in shares.items()
    }


@pytest.fixture(scope="module")
def found() -> dict[str, recipe.Estimate]:
    return recipe.comparisons(recipe.Bootstrap(played(vlm=0.6, true=0.6, none=0.4, random=0.1)))


def test_the_same_rooms_make_equal_agents_exactly_equal(found: dict[str, recipe.Estimate]) -> None:
    same = found["vlm / true"]
    assert (same.value, same.low, same.high) == (1, 1, 1)


def test_differences_carry_their_intervals(found: dict[str, recipe.Estimate]) -> None:
    better = found["vlm - none"]
    assert better.value == pytest.approx(0.2)
    # Three independent families of 100 rooms: standard error sqrt(0.2 * 0.8 / 300).
    assert (better.high - better.low) / 2 == pytest.approx(1.96 * (0.16 / 300) ** 0.5, rel=0.1)
    assert found["vlm / random"].value == pytest.approx(6)
    assert found["place: vlm - random"].low > 0


def test_runs_that_differ_widen_an_interval() -> None:
    even = played(vlm=0.5)
    uneven = {"vlm": {f: np.stack([s[0] * 0, s[1], s[2] * 0 + 1]) for f, s in even["vlm"].items()}}
    width = [
        e.high - e.low for e in (recipe.Bootstrap(p)(recipe.mean_of("vlm")) for p in (even, uneven))
    ]
    assert width[1] > 2 * width[0]


def test_correlation_of_whole_groups() -> None:
    line = np.linspace(0, 1, 20)
    groups = np.repeat(np.arange(5), 4)
    exact = figure3.correlation(np.stack([line, 2 * line], axis=1), groups)
    assert exact == pytest.approx({"value": 1, "low": 1, "high": 1})


def test_report_has_a_point_for_every_checkpoint_and_goal() -> None:
    rng = np.random.default_rng(0)
    tables = {step: rng.random((len(GOALS), 2)) for step in (0, 10, 20)}
    told = figure3.report({"vlm-0": tables})
    assert told["points"] == {"checkpoints": 3, "goals": len(GOALS)}
    assert set(told["curves"]["vlm-0"][10]) == set(FAMILIES)


def test_free_play_heeds_no_command() -> None:
    room = make_env()
    seeds = range(12)
    episodes = [collect_episode(room, seed, "free-play") for seed in seeds]
    policies = {e["episode_metadata"]["policy"] for e in episodes}
    assert policies <= set(MIXTURES["free-play"])
    free = [e for e in episodes if e["episode_metadata"]["policy"] == "free-play"]
    assert free and all(len(e["steps"]) == 41 for e in free)
    assert not any(e["steps"][-1]["is_terminal"] for e in free)


def test_an_agent_acts_at_the_temperature_of_its_learner() -> None:
    agent = object()
    assert recipe.policy_of(agent, recipe.Learner("discrete-gcivl", {}, 0.0)) is agent
    drawn = recipe.policy_of(agent, recipe.learner_named("discrete-cql"), seed=3)
    assert drawn == DrawnPolicy(agent, recipe.VALUES.temperature, 3)
    assert recipe.learner_named("discrete-bc") is recipe.learner_of("none")
    with pytest.raises(RunError, match=r"^iql: no agent of the recipe learns by it"):
        recipe.learner_named("iql")
