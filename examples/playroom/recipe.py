"""Agents from VLM rewards, from true rewards and from none, on one store, several seeds each.

    python -m examples.playroom.recipe --store DIR --out DIR --seeds 3

The store needs the goal datasets gc1 (of the VLM's rewards) and gc1.true (of the
truth). All agents play the same fresh rooms, at least 100 for each family, and so does a random
policy. The agents with rewards are GCIVL on all trajectories; the one without is behaviour
cloning of what was done on command. A finished run in --out is not trained again. Intervals (95 %)
are two-level bootstraps: seeds are drawn with replacement, then rooms within each family, the same
for all agents.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from examples.playroom.goals import FAMILIES, GOALS
from examples.playroom.room import make_env
from offline_rl import checkpoints, policies, rollouts, training
from offline_rl.dataset import GoalDataset
from offline_rl.run_config import TrainConfig
from schemas.errors import RunError
from schemas.locations import path_argument

Floats = npt.NDArray[np.float64]
Rewards = Literal["vlm", "true", "none"]

AGENTS: Final[tuple[Rewards, ...]] = ("vlm", "true", "none")
OBSERVATION: Final = "observation.things"
STEPS: Final = 15_000


@dataclass(frozen=True)
class Learner:
    """An algorithm and what was chosen for it on other data and in other rooms."""

    algo: str
    settings: Mapping[str, Any]
    temperature: float  # of its actions; 0: the best ones


VALUES: Final = Learner(  # of `examples.figures`, beside GCIVL
    "discrete-cql",
    {
        "batch_size": 128,
        "learning_rate": 3e-4,
        "gamma": 0.9,
        "alpha": 0.015,
        "target_update_interval": 100,
    },
    temperature=0.03,
)
FAST: Final = Learner(  # of the demo, where minutes count
    "discrete-gcivl",
    {
        "batch_size": 128,
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
        "gamma": 0.9,
        "expectile": 0.9,
        "n_critics": 1,
        "weight_temp": 20.0,
        "normalize_advantage": False,
    },
    temperature=0.6,
)
LONG: Final = replace(FAST, settings={**FAST.settings, "hidden_units": [512, 512]})
CLONING: Final = Learner(
    "discrete-bc", {"batch_size": 128, "learning_rate": 1e-3, "beta": 0.01}, temperature=0.6
)
CLONING_STEPS: Final = 4000  # no better with more
ROOM_SEED: Final = 90_000_000  # of evaluation rooms; collect's seeds are drawn below 2**62
_RESAMPLES: Final = 4000
_CHECKPOINTS: Final = 5  # in even steps, and one at the end if they do not divide


def learner_of(rewards: Rewards, values: Learner = LONG) -> Learner:
    """How an agent learns, and acts: without rewards it clones."""
    return CLONING if rewards == "none" else values


def learner_named(algo: str) -> Learner:
    """That of a run of the recipe, by its algorithm.

    Raises:
        RunError: no agent of the recipe learns by it, so that its temperature is not known.
    """
    known = {own.algo: own for own in (VALUES, LONG, CLONING)}
    if algo not in known:
        raise RunError(f"{algo}: no agent of the recipe learns by it, only by {', '.join(known)}")
    return known[algo]


def policy_of(agent: Any, learner: Learner, seed: int = ROOM_SEED) -> policies.Policy:
    """An agent at the temperature of its learner.

    Args:
        agent: of a checkpoint.
        learner: that it is of.
        seed: of the chance by which it draws.
    """
    if not learner.temperature:
        best: policies.Policy = agent
        return best
    return policies.DrawnPolicy(agent, learner.temperature, seed)


def config_of(
    store: Path, rewards: Rewards, seed: int, steps: int, dataset: str, values: Learner = LONG
) -> TrainConfig:
    """The run of one agent; without rewards it clones what was done on each command."""
    learner = learner_of(rewards, values)
    steps = min(steps, CLONING_STEPS) if rewards == "none" else steps
    return TrainConfig(
        store=str(store),
        dataset=dataset,
        algo=learner.algo,
        settings=dict(learner.settings),
        learn_from=rewards,
        observations=(OBSERVATION,),
        steps=steps,
        seed=seed,
        checkpoint_every=max(1, steps // _CHECKPOINTS),
        keep=2 * _CHECKPOINTS,  # all of them: figure 3 is drawn of them
    )


def train(config: TrainConfig, out: Path) -> Path:
    """Trains, or goes on where an interrupted run stopped; a line of progress on stderr."""

    def show(step: int, steps: int, losses: dict[str, float]) -> None:
        if step % 1000 == 0 or step == steps:
            told = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
            sys.stderr.write(f"{out.name}: {step}/{steps} updates, {told}\n")

    training.train(config, out, show=show)
    return out


@dataclass(frozen=True)
class Rooms:
    """The evaluation rooms, a number per goal that makes up `per_family` of each family."""

    per_family: int
    seed: int = ROOM_SEED

    def play(self, policy: policies.Policy, observer: rollouts.Observer) -> dict[str, Floats]:
        """Success, 0 or 1, in each room of each family; the order never changes."""
        goals = {f: [goal.id for goal in GOALS if goal.family == f] for f in FAMILIES}
        return play(policy, make_env, observer, goals, self.per_family, self.seed)


def play(
    policy: policies.Policy,
    make_env: Callable[..., Any],
    observer: rollouts.Observer,
    goals: Mapping[str, Sequence[str]],
    per_family: int,
    seed: int,
) -> dict[str, Floats]:
    """Success, 0 or 1, in each room of each family; the rooms and their order never change.

    Args:
        policy: that plays.
        make_env: makes a room; told that no camera is needed.
        observer: what the policy sees.
        goals: ids by family.
        per_family: rooms at least.
        seed: of the first room of the first family.
    """
    found = {}
    for place, (family, own) in enumerate(goals.items()):
        results = rollouts.roll_out(
            policy,
            partial(make_env, camera=False),
            observer,
            own,
            episodes=math.ceil(per_family / len(own)),
            seed=seed + 1_000_000 * place,
            parallel=64,
        )
        found[family] = np.array([float(result.success) for result in results])
    return found


def observer_of(dataset: GoalDataset, config: TrainConfig) -> rollouts.Observer:
    """What the agents of a run see in a room."""
    table = dataset.goal_table(config.goal_encoding)
    goals = None if table is None else dict(zip(dataset.goal_ids, table, strict=True))
    return rollouts.Observer(config.observations, goals)


# --- intervals


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """`0.43 [0.38, 0.48]`."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


Played = Mapping[str, Mapping[str, Floats]]  # policy → family → (seeds, rooms) success


Means = Mapping[str, Mapping[str, float]]  # policy → family → mean success
Figure = Callable[[Means], float]


class Bootstrap:
    """Two-level bootstrap: seeds are drawn, then rooms, the same rooms for every policy.

    Args:
        played: success of every policy in the same rooms.
        seed: of the resampling.
    """

    def __init__(self, played: Played, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._mean = {p: {f: float(s.mean()) for f, s in r.items()} for p, r in played.items()}
        self._drawn = [_resampled(played, rng) for _ in range(_RESAMPLES)]

    def __call__(self, figure: Figure) -> Estimate:
        """A figure of the means, with its interval."""
        low, high = np.percentile([figure(means) for means in self._drawn], [2.5, 97.5])
        return Estimate(figure(self._mean), float(low), float(high))


def _resampled(played: Played, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    first = next(iter(played.values()))
    rooms = {f: rng.integers(s.shape[1], size=s.shape[1]) for f, s in first.items()}
    means: dict[str, dict[str, float]] = {}
    for policy, rows in played.items():
        count = len(next(iter(rows.values())))
        runs = rng.integers(count, size=count)
        means[policy] = {f: float(s[runs].mean(axis=0)[rooms[f]].mean()) for f, s in rows.items()}
    return means


def mean_of(policy: str, family: str = "all") -> Figure:
    """The success of a policy on one family, or on the mean over families."""

    def figure(means: Means) -> float:
        rows = means[policy]
        return float(np.mean(list(rows.values()))) if family == "all" else rows[family]

    return figure


def comparisons(bootstrap: Bootstrap) -> dict[str, Estimate]:
    """What the recipe is meant to show, as figures with intervals."""
    vlm, true, none, luck = (mean_of(name) for name in (*AGENTS, "random"))
    place, luck_place = mean_of("vlm", "place"), mean_of("random", "place")
    tiny = 1e-9  # a resampled baseline may never succeed
    return {
        "vlm / true": bootstrap(lambda m: vlm(m) / max(true(m), tiny)),
        "vlm / random": bootstrap(lambda m: vlm(m) / max(luck(m), tiny)),
        "vlm - none": bootstrap(lambda m: vlm(m) - none(m)),
        "place: vlm - random": bootstrap(lambda m: place(m) - luck_place(m)),
    }


# --- the whole


@dataclass(frozen=True)
class Recipe:
    """What every run of the recipe shares."""

    store: Path
    out: Path
    steps: int = STEPS
    per_family: int = 108
    dataset: str = "gc1"

    def agent(self, seed: int, rewards: Rewards) -> dict[str, Floats]:
        """Trains one agent and lets it play; its success by family."""
        torch.set_num_threads(1)  # two runs side by side are faster than one with two threads
        config = config_of(self.store, rewards, seed, self.steps, self.dataset)
        folder = train(config, self.out / f"{rewards}-{seed}")
        policy = policy_of(checkpoints.load_agent(folder), learner_of(rewards))
        success = Rooms(self.per_family).play(policy, self._observer(config))
        means = ", ".join(f"{family} {s.mean():.2f}" for family, s in success.items())
        sys.stderr.write(f"{folder.name}: success {means}\n")
        return success

    def luck(self) -> dict[str, Floats]:
        """Success of a random policy in the same rooms."""
        config = config_of(self.store, "vlm", 0, self.steps, self.dataset)
        policy = policies.RandomPolicy(make_env().action_space, ROOM_SEED)
        return Rooms(self.per_family).play(policy, self._observer(config))

    def _observer(self, config: TrainConfig) -> rollouts.Observer:
        return observer_of(training.open_dataset(config), config)


def run(recipe: Recipe, *, seeds: int, jobs: int) -> dict[str, dict[str, Floats]]:
    """Trains and plays every agent, `jobs` at once, and a random policy.

    Returns:
        Policy → family → ``(seeds, rooms)`` success; one row for `random`.
    """
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [(rewards, seed) for rewards in AGENTS for seed in range(seeds)]
        found = {(r, s): pool.submit(recipe.agent, s, r) for r, s in runs}
        played = {
            rewards: {
                family: np.stack([found[rewards, seed].result()[family] for seed in range(seeds)])
                for family in FAMILIES
            }
            for rewards in AGENTS
        }
    played["random"] = {family: s[None] for family, s in recipe.luck().items()}
    return played


def report(played: Played) -> dict[str, Any]:
    """The results as plain values, for JSON."""
    names = [*FAMILIES, "all"]
    bootstrap = Bootstrap(played)
    return {
        "rooms": {f: int(s.shape[1]) for f, s in played["random"].items()},
        "seeds": {p: len(rows["find"]) for p, rows in played.items()},
        "success": {p: {f: vars(bootstrap(mean_of(p, f))) for f in names} for p in played},
        "success_by_seed": {
            p: {f: s.mean(axis=1).round(4).tolist() for f, s in rows.items()}
            for p, rows in played.items()
        },
        "comparisons": {name: vars(e) for name, e in comparisons(bootstrap).items()},
    }


def show(found: Mapping[str, Any]) -> None:
    """Prints success by policy and family, then the comparisons."""
    table = Table(title="Success in fresh rooms, 95 % intervals", title_justify="left")
    for column in ("rewards", *FAMILIES, "mean over families", "by seed"):
        table.add_column(column, justify="left" if column == "rewards" else "right")
    for policy, rows in found["success"].items():
        by_seed = np.mean(list(found["success_by_seed"][policy].values()), axis=0)
        cells = [str(Estimate(**rows[family])) for family in (*FAMILIES, "all")]
        table.add_row(policy, *cells, " ".join(f"{value:.2f}" for value in by_seed))
    console = Console(width=140, soft_wrap=True, highlight=False)
    console.print(table)
    for name, values in found["comparisons"].items():
        console.print(f"{name}: {Estimate(**values)}", markup=False)


def main(argv: list[str] | None = None) -> None:
    """Parses the command line, trains, plays, prints, and writes OUT/recipe.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=path_argument, required=True, help="with gc1 and gc1.true")
    parser.add_argument("--out", type=path_argument, required=True, help="folder of the runs")
    parser.add_argument("--dataset", default="gc1", help="default: gc1")
    parser.add_argument("--seeds", type=int, default=3, help="runs per agent (default: 3)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"updates (default: {STEPS})")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once (default: 2)")
    parser.add_argument("--rooms", type=int, default=108, help="per family, at least")
    options = parser.parse_args(argv)
    recipe = Recipe(options.store, options.out, options.steps, options.rooms, options.dataset)
    played = run(recipe, seeds=options.seeds, jobs=options.jobs)
    found = report(played)
    (options.out / "recipe.json").write_text(json.dumps(found, indent=1) + "\n")
    show(found)


if __name__ == "__main__":
    main()
