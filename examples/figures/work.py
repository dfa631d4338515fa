"""What every kind of run is given: folders, domains, and how much is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from examples.clip.training import Recipe
from examples.figures.domains import DOMAINS, LONG, Domain, Learning, Trajectories
from examples.figures.runs import Records

SEEDS: Final = (0, 1, 2)  # of encoders


@dataclass(frozen=True)
class Effort:
    """How much is done. Quick is enough to see that everything runs, and for nothing else."""

    seeds: tuple[int, ...] = SEEDS
    episodes: int = 400  # held-out trajectories of a domain
    draws: int = 300  # of a bootstrap
    agent_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # all others are among them
    is_quick: bool = False

    def learning(self, domain: Domain, variant: str = "") -> Learning:
        """Of the domain's encoders, or of a variant of them."""
        own = domain.learning if variant != LONG or domain.longer is None else domain.longer
        return replace(own, steps=12, views=200, batch=16) if self.is_quick else own

    def seeds_of(self, kind: str) -> tuple[int, ...]:
        """Of the runs of a kind: more of agents, which differ more."""
        if kind == "returns" and self.is_quick:
            return self.agent_seeds[:1]
        return self.agent_seeds if kind in ("agents", "returns") else self.seeds


FULL: Final = Effort()
QUICK: Final = Effort(seeds=(0, 1), episodes=12, draws=20, agent_seeds=(0, 1), is_quick=True)


@dataclass(frozen=True)
class Work:
    """Where things are, and how much is done.

    Attributes:
        folder: `--work`, of all that is heavy: encoders, stores, agents.
        records: of finished runs.
        effort: how much is done.
        domains: names of those that are asked for.
        sizes: of encoders that are asked for; none: all of a domain.
        encoder: from a hub, in place of those that are trained here; only for figure 5.
        agents: names of those that are asked for; none: all of a domain.
        threads: of the CPU, for trainings.
    """

    folder: Path
    records: Records
    effort: Effort = FULL
    domains: tuple[str, ...] = tuple(DOMAINS)
    sizes: tuple[str, ...] = ()
    encoder: str | None = None
    agents: tuple[str, ...] = ()
    threads: int = 1

    def sizes_of(self, domain: Domain) -> list[str]:
        """The domain's sizes of encoders that are asked for, smallest first."""
        return [size for size in domain.sizes if not self.sizes or size in self.sizes]

    def recipe(self, domain: Domain, seed: int, variant: str = "") -> Recipe:
        """How an encoder of the domain is trained, whatever its size."""
        told = self.effort.learning(domain, variant)
        return Recipe(told.steps, told.batch, told.learning_rate, seed, self.threads)

    def trajectories(self, domain: Domain) -> Trajectories:
        """The held-out ones of a domain, the same for every encoder; kept in memory."""
        return _trajectories(domain.name, self.effort.episodes)


@lru_cache(maxsize=1)
def _trajectories(domain: str, episodes: int) -> Trajectories:
    return DOMAINS[domain].trajectories(episodes)
