"""A measure of every goal, its draws, and the figures that people see: by goal, family and all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from relabel.evaluation.metrics import centred, interval, mean_of_draws
from relabel.evaluation.ranking import Doubles

Scope = Literal["all", "family", "goal"]
ALL = "all"


class Figure(BaseModel):
    """A number with the interval that episodes drawn anew give it."""

    model_config = ConfigDict(frozen=True)

    rewards: str  # reward set, or control
    scope: Scope
    name: str  # of the goal or the family; "all"
    value: float | None  # of a family and of all: mean over goals; None: nothing is known
    low: float | None
    high: float | None
    goals: int  # that have a value


class Difference(BaseModel):
    """How much higher a number of one reward set is than that of another, goal by goal."""

    model_config = ConfigDict(frozen=True)

    rewards: str
    than: str
    scope: Scope
    name: str
    value: float | None
    low: float | None  # the same episodes are drawn for both
    high: float | None
    goals: int  # that both have a value of

    @property
    def verdict(self) -> Literal["higher", "lower", "no clear difference"]:
        """Whether the interval leaves 0 out, and on which side."""
        if self.low is not None and self.low > 0:
            return "higher"
        if self.high is not None and self.high < 0:
            return "lower"
        return "no clear difference"


@dataclass(frozen=True, eq=False)
class Measured:
    """Of G goals; NaN where a goal has no value."""

    values: Doubles  # (G,)
    draws: Doubles  # (B, G)
    range: tuple[float, float]  # that a value lies in

    @property
    def centred(self) -> Doubles:
        """(B, G) draws, those of each goal moved: see `metrics.centred`."""
        return centred(self.values, self.draws, self.range)

    def take(self, places: NDArray[np.int64]) -> Measured:
        """Those of some goals."""
        return Measured(self.values[places], self.draws[:, places], self.range)

    def minus(self, other: Measured) -> Measured:
        """Differences, of the same goals and draws."""
        width = self.range[1] - self.range[0]
        return Measured(self.values - other.values, self.draws - other.draws, (-width, width))


def figures(
    rewards: str, measured: Measured, goal_ids: Sequence[str], families: Sequence[str]
) -> Iterator[Figure]:
    """Of all goals, of each family, of each goal."""
    for scope, name, rows in scopes(goal_ids, families):
        value, low, high, goals = mean_of(measured, rows)
        yield Figure(
            rewards=rewards, scope=scope, name=name, value=value, low=low, high=high, goals=goals
        )


def differences(
    names: tuple[str, str],
    measured: tuple[Measured, Measured],
    goal_ids: Sequence[str],
    families: Sequence[str],
) -> Iterator[Difference]:
    """How much higher the first is than the second; goals that either has no value of are out."""
    gap = measured[0].minus(measured[1])
    for scope, name, rows in scopes(goal_ids, families):
        value, low, high, goals = mean_of(gap, rows)
        yield Difference(
            rewards=names[0],
            than=names[1],
            scope=scope,
            name=name,
            value=value,
            low=low,
            high=high,
            goals=goals,
        )


def scopes(
    goal_ids: Sequence[str], families: Sequence[str]
) -> Iterator[tuple[Scope, str, NDArray[np.int64]]]:
    """Kind, name and goals of everything that has a figure."""
    yield "all", ALL, np.arange(len(goal_ids))
    of = np.array(families, object)
    for family in dict.fromkeys(families):
        yield "family", family, np.flatnonzero(of == family)
    for goal, goal_id in enumerate(goal_ids):
        yield "goal", goal_id, np.array([goal])


def mean_of(
    measured: Measured, goals: NDArray[np.int64]
) -> tuple[float | None, float | None, float | None, int]:
    """Mean over the goals that have a value, its interval, and how many they are."""
    known = goals[np.isfinite(measured.values[goals])]
    if not len(known):
        return None, None, None, 0
    means = mean_of_draws(measured.take(known).centred, measured.values[known], measured.range)
    low, high = interval(means)
    return float(measured.values[known].mean()), _known(low), _known(high), len(known)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
