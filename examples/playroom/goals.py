"""The playroom's things, its language goals and when each goal is true.

Three families, after Baumli et al. 2023 (arXiv 2312.09187):

- *find*:  the thing is directly in front of the agent;
- *lift*:  the agent carries the thing;
- *place*: two things lie side by side and one of them is directly in front of the agent.

There are nine things, three colours times three shapes: neither alone is enough for any goal.
A room holds some of them only, so that many goals speak of things that are absent.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

COLOURS = ("red", "green", "blue")
SHAPES = ("ball", "box", "key")
FAMILIES = ("find", "lift", "place")


@dataclass(frozen=True)
class Thing:
    """A movable object, known by its colour and shape."""

    colour: str
    shape: str

    @property
    def name(self) -> str:
        """The words for it: ``red ball``."""
        return f"{self.colour} {self.shape}"

    @property
    def slug(self) -> str:
        """The words as part of a goal id: ``red-ball``."""
        return f"{self.colour}-{self.shape}"


THINGS = tuple(Thing(colour, shape) for shape in SHAPES for colour in COLOURS)


@dataclass(frozen=True)
class Goal:
    """One language goal: a family and the one or two things (indices into `THINGS`)."""

    family: str
    things: tuple[int, ...]

    @property
    def id(self) -> str:
        """The id used in goals.yaml: ``find-red-ball``, ``place-red-ball-blue-box``."""
        return "-".join((self.family, *(THINGS[thing].slug for thing in self.things)))


@dataclass(frozen=True)
class Scene:
    """What decides every goal; things are indices into `THINGS`.

    Attributes:
        front: the thing directly in front of the agent, or None.
        carried: the thing the agent carries, or None.
        beside: the things on the four sides of the thing in front; empty when nothing is in front.
    """

    front: int | None
    carried: int | None
    beside: frozenset[int]


def _all_goals() -> tuple[Goal, ...]:
    singles = [
        Goal(family, (thing,)) for family in ("find", "lift") for thing in range(len(THINGS))
    ]
    pairs = [Goal("place", pair) for pair in itertools.combinations(range(len(THINGS)), 2)]
    return (*singles, *pairs)


GOALS = _all_goals()
"""All 54 goals, in the order of goals.yaml and of every ``(G,)`` array."""

GOAL_INDEX = {goal.id: index for index, goal in enumerate(GOALS)}


def is_true(goal: Goal, scene: Scene) -> bool:
    """Says whether `goal` holds in `scene`."""
    if goal.family == "find":
        return scene.front == goal.things[0]
    if goal.family == "lift":
        return scene.carried == goal.things[0]
    first, second = goal.things
    return (scene.front == first and second in scene.beside) or (
        scene.front == second and first in scene.beside
    )


def truth(scene: Scene) -> npt.NDArray[np.uint8]:
    """Returns which goals hold in `scene`: ``(G,) uint8``, 0 or 1, in the order of `GOALS`."""
    return np.array([is_true(goal, scene) for goal in GOALS], dtype=np.uint8)


def goal_named(goal_id: str) -> Goal:
    """Returns the goal with this id.

    Raises:
        ValueError: no goal has this id; the text lists ids of the same family.
    """
    if goal_id not in GOAL_INDEX:
        family = goal_id.split("-")[0]
        near = [goal.id for goal in GOALS if goal.family == family] or [g.id for g in GOALS]
        raise ValueError(f"unknown goal {goal_id!r}: expected one of {', '.join(near)}")
    return GOALS[GOAL_INDEX[goal_id]]
