"""Figure 4, part two, and more: what agents earn in truth that learned from which rewards.

An agent of a domain is known by the rewards that it learned from:

- `tiny`, `small`, `middle`, `large`: those of an encoder of that size;
- `middle-strict`, `middle-calibrated`, `middle-f1`, `middle-head`: by a higher threshold, or made
  better with few labels; see `examples.figures.behaviour`;
- `true`: the simulator's truth; `none`: behaviour cloning of what was done on command;
- `random`: no agent, but random actions.

`true@gcivl` learned by another algorithm than the domain's own. All see the same observation and
the goal as one-hot, so that only rewards differ. They play the same fresh rooms or phones, and an
episode ends with success. Encoders are those of seed 0; the seed of a run is the agent's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch

from examples.figures import behaviour
from examples.figures.domains import DOMAINS, PHONE, PLAYROOM, Domain
from examples.figures.runs import Record, Run
from examples.figures.work import Work
from examples.playroom import recipe
from examples.playroom.recipe import (
    Bootstrap,
    Estimate,
    Figure,
    Floats,
    Means,
    mean_of,
    observer_of,
)
from offline_rl import checkpoints, policies, rollouts, training
from offline_rl.dataset import GoalEncoding
from offline_rl.run_config import TrainConfig

KIND: Final = "agents"
REWARDS: Final = "rewards"
ROOM_SEED: Final = 80_000_000  # of evaluation; behaviour's seeds are drawn from hashes
_CHECKPOINTS: Final = 4

LearnFrom = Literal["vlm", "true", "none"]


@dataclass(frozen=True, kw_only=True)
class Tuned(recipe.Learner):
    """A learner and how long it learns."""

    steps: int
    positive_share: float | None = None  # of each batch that reaches its goal; None: as it comes


@dataclass(frozen=True)
class Study:
    """How agents of a domain learn and are judged."""

    size: str  # of the encoder that is compared with the truth
    learners: Mapping[str, Tuned]  # by the short name of the algorithm; the first is the domain's
    cloning: Tuned
    per_family: int  # rooms at least


_POINTING: Final = {"batch_size": 128, "hidden_units": [512, 512]}
_ADVANTAGES: Final = {  # of GCIVL and GCIQL; rewards are 0 and 1
    "gamma": 0.9,
    "n_critics": 1,
    "expectile": 0.9,
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "normalize_advantage": False,
}
_ON_PHONES: Final = {**_POINTING, **_ADVANTAGES, "weight_temp": 30.0}
STUDIES: Final = {
    PLAYROOM.name: Study(
        size="middle",
        learners={
            "gcivl": Tuned(
                recipe.FAST.algo, recipe.FAST.settings, recipe.FAST.temperature, steps=6000
            ),
            "gciql": Tuned("discrete-gciql", recipe.FAST.settings, 0.6, steps=6000),
            "cql": Tuned(
                recipe.VALUES.algo, recipe.VALUES.settings, recipe.VALUES.temperature, steps=6000
            ),
        },
        cloning=Tuned(
            recipe.CLONING.algo,
            recipe.CLONING.settings,
            recipe.CLONING.temperature,
            steps=recipe.CLONING_STEPS,
        ),
        per_family=192,
    ),
    PHONE.name: Study(
        size="middle",
        learners={
            "gcivl": Tuned("gcivl", _ON_PHONES, 0.15, steps=5000, positive_share=0.5),
            "gciql": Tuned(
                "gciql", {**_ON_PHONES, "actor_loss": "awr"}, 0.15, steps=5000, positive_share=0.5
            ),
            "iql": Tuned(
                "iql",
                {
                    **_POINTING,
                    "gamma": 0.9,
                    "actor_learning_rate": 1e-3,
                    "critic_learning_rate": 1e-3,
                    "expectile": 0.9,
                    "weight_temp": 30.0,
                },
                temperature=0.15,
                steps=5000,
                positive_share=0.5,
            ),
        },
        cloning=Tuned("bc", {**_POINTING, "learning_rate": 1e-3}, 0.3, steps=3000),
        per_family=400,
    ),
}
_QUICK_STEPS: Final = 20
_MAIN: Final = 4  # agents that everything is held against


@dataclass(frozen=True)
class Agent:
    """One agent of a domain; see the module's first lines."""

    name: str

    @property
    def rewards(self) -> str:
        """That it learns from."""
        return self.name.partition("@")[0]

    @property
    def learn_from(self) -> LearnFrom:
        """As `vlm-relabel train` names it."""
        return {"true": "true", "none": "none"}.get(self.rewards, "vlm")  # type: ignore[return-value]

    def learner(self, study: Study) -> Tuned:
        """Its algorithm."""
        if self.learn_from == "none":
            return study.cloning
        own = self.name.partition("@")[2]
        return study.learners[own or next(iter(study.learners))]

    def dataset(self, study: Study) -> str:
        """The goal dataset; of the truth's agent the one that its truth lies beside."""
        return self.rewards if self.learn_from == "vlm" else study.size


def names(work: Work, domain: Domain) -> list[str]:
    """The agents of a domain that are asked for, the most important first."""
    if work.effort.is_quick:
        return known(domain)[:_MAIN]
    left_out = {size for size in domain.sizes if size not in work.sizes_of(domain)}
    own = STUDIES[domain.name].size
    return [name for name in known(domain) if name == own or name not in left_out]


def known(domain: Domain) -> list[str]:
    """All agents of a domain, the most important first."""
    study = STUDIES[domain.name]
    sizes = [size for size in domain.sizes if size != study.size]
    _, *others = study.learners
    ways = [f"{study.size}-{way}" for way in behaviour.WAYS]
    return ["random", study.size, "true", "none", *sizes, *(f"true@{o}" for o in others), *ways]


def run(work: Work, seed: int) -> None:
    """Trains and judges the agents of one seed, of every domain."""
    torch.set_num_threads(work.threads)
    for name in work.domains:
        for own in work.agents or names(work, DOMAINS[name]):
            run_agent(work, DOMAINS[name], Agent(own), seed)


def run_agent(work: Work, domain: Domain, agent: Agent, seed: int) -> Record:
    """Its record; trained and played if there is none."""
    do = _luck if agent.name == "random" else _earned
    asked = Run(KIND, domain.name, agent.name, seed, settings(work, domain, agent))
    return work.records.once(asked, partial(do, work, domain, agent, seed))


def settings(work: Work, domain: Domain, agent: Agent) -> dict[str, Any]:
    """What decides the record of an agent, beside its name and seed."""
    judged = {"per_family": _per_family(work, domain), "rooms_from": ROOM_SEED}
    if agent.name == "random":
        return judged
    told = {"behaviour": asdict(behaviour.behaviour_of(work, domain))}
    return {
        **told,
        **behaviour.way_of(work, agent.rewards),
        **asdict(_learner(work, domain, agent)),
        **judged,
    }


def _learner(work: Work, domain: Domain, agent: Agent) -> Tuned:
    own = agent.learner(STUDIES[domain.name])
    if not work.effort.is_quick:
        return own
    return replace(own, steps=_QUICK_STEPS, settings={**own.settings, "batch_size": 16})


def _per_family(work: Work, domain: Domain) -> int:
    return 1 if work.effort.is_quick else STUDIES[domain.name].per_family


def config_of(work: Work, domain: Domain, agent: Agent, seed: int) -> TrainConfig:
    """The run of an agent."""
    learner = _learner(work, domain, agent)
    return TrainConfig(
        store=str(behaviour.store_of(work, domain)),
        dataset=agent.dataset(STUDIES[domain.name]),
        algo=learner.algo,
        settings=dict(learner.settings),
        learn_from=agent.learn_from,
        observations=(domain.observation,),
        goal_encoding=GoalEncoding.ONE_HOT,
        positive_share=learner.positive_share,
        steps=learner.steps,
        seed=seed,
        checkpoint_every=max(1, learner.steps // _CHECKPOINTS),
        keep=2 * _CHECKPOINTS,  # all of them: figure 3 is drawn of them
        trust=True,
    )


def run_folder(work: Work, domain: Domain, agent: Agent, seed: int) -> Path:
    """Where a run lies."""
    return work.folder / "runs" / domain.name / f"{agent.name}-{seed}"


def trained(work: Work, domain: Domain, agent: Agent, seed: int) -> Path | None:
    """Trains an agent, unless that is done, on data that are made if they are not there.

    Returns:
        Its run folder. None: it was given no reward, so that there is no agent.
    """
    if not behaviour.dataset(work, domain, agent.dataset(STUDIES[domain.name])):
        return None
    return recipe.train(config_of(work, domain, agent, seed), run_folder(work, domain, agent, seed))


def _earned(work: Work, domain: Domain, agent: Agent, seed: int) -> dict[str, Any]:
    out, config = trained(work, domain, agent, seed), config_of(work, domain, agent, seed)
    if out is None:
        return {"success": {}}
    observer = observer_of(training.open_dataset(config), config)
    acts = policy(work, domain, agent, checkpoints.load_agent(out))
    return {"success": play(work, domain, acts, observer)}


def policy(work: Work, domain: Domain, agent: Agent, trained: Any) -> policies.Policy:
    """What acts: an agent of a checkpoint, at its temperature."""
    return recipe.policy_of(trained, _learner(work, domain, agent), ROOM_SEED)


def _luck(work: Work, domain: Domain, agent: Agent, seed: int) -> dict[str, Any]:
    space = domain.make_env().action_space
    observer = rollouts.Observer((domain.observation,), None)
    return {"success": play(work, domain, policies.RandomPolicy(space, seed), observer)}


def play(
    work: Work, domain: Domain, acts: policies.Policy, observer: rollouts.Observer
) -> dict[str, str]:
    """Success in each room, 0 or 1, by family; the rooms and their order never change."""
    goals, rooms = goals_by_family(domain), _per_family(work, domain)
    found = recipe.play(acts, domain.make_env, observer, goals, rooms, ROOM_SEED)
    return {family: "".join(str(int(one)) for one in own) for family, own in found.items()}


def goals_by_family(domain: Domain) -> dict[str, list[str]]:
    """Ids of the goals that agents are given: those that encoders were trained on."""
    found: dict[str, list[str]] = {}
    for goal, seen in zip(domain.goals.goals, domain.seen, strict=True):
        if seen:
            found.setdefault(goal.family, []).append(goal.id)
    return found


# --- rewards --------------------------------------------------------------------------------------


def run_rewards(work: Work, seed: int) -> None:
    """How the rewards of every agent's dataset agree with the truth; the same for all seeds."""
    for name in work.domains if seed == 0 else ():
        domain = DOMAINS[name]
        agents = [Agent(own) for own in work.agents or names(work, domain) if "@" not in own]
        for own in dict.fromkeys(a.rewards for a in agents if a.learn_from == "vlm"):
            if own != "random":
                told = asdict(behaviour.behaviour_of(work, domain))
                asked = Run(
                    REWARDS, name, own, 0, {"behaviour": told, **behaviour.way_of(work, own)}
                )
                work.records.once(asked, partial(_agreement, work, domain, own))


def _agreement(work: Work, domain: Domain, rewards: str) -> dict[str, float]:
    behaviour.dataset(work, domain, rewards)
    return behaviour.agreement(work, domain, rewards)


# --- what the records say -------------------------------------------------------------------------


def played(records: list[Record], domain: str) -> dict[str, dict[str, Floats]]:
    """Agent → family → ``(seeds, rooms)`` success, of the records of a domain.

    Those that were given no reward are left out.
    """
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.domain == domain and record.result["success"]:
            found.setdefault(record.name, []).append(record)
    return {
        name: {
            family: np.stack([_success(record, family) for record in own])
            for family in own[0].result["success"]
        }
        for name, own in found.items()
    }


def _success(record: Record, family: str) -> Floats:
    return np.array([float(letter) for letter in record.result["success"][family]])


def comparisons(all_played: Mapping[str, Mapping[str, Floats]], main: str) -> dict[str, Estimate]:
    """What the main agent is worth beside the others, as far as they were played."""
    bootstrap, tiny = Bootstrap(all_played), 1e-9

    def share(one: str, other: str) -> Any:
        return lambda means: mean_of(one)(means) / max(mean_of(other)(means), tiny)

    figures = {}
    for name in sorted(all_played, key=lambda name: name != main) if "true" in all_played else ():
        if Agent(name).learn_from == "vlm" and name != "random":
            figures[f"{name} / true"] = share(name, "true")
    if "random" in all_played:
        figures[f"{main} / random"] = share(main, "random")
    for name in all_played:
        if name not in (main, "true", "random"):
            against = "true" if name.startswith("true@") else main
            if against in all_played:
                figures[f"{name} - {against}"] = gain(name, against)
    return {name: bootstrap(figure) for name, figure in figures.items()}


def gain(one: str, other: str, family: str = "all") -> Figure:
    """How much more one agent succeeds than another."""

    def figure(means: Means) -> float:
        return mean_of(one, family)(means) - mean_of(other, family)(means)

    return figure
