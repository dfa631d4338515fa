"""The playroom's things, its language goals and when each goal is true.

Three families, after Baumli et al. 2023 (arXiv 2312.09187):

- *find*:  the thing is directly in front of the agent;
- *lift*:  the agent carries the thing;
- *place*: two things lie side by side and one of them is directly in front of the agent.

The playroom has nine things, three colours times three shapes: neither alone is enough for any
goal. The hard one has twenty. A room holds some of them only, so that many goals speak of things
that are absent.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True)
class Goal:
    """One language goal: a family and the one or two things that it speaks of."""

    family: str
    things: tuple[int, ...]  # places among the world's things
    names: tuple[str, ...]  # of these things: ``red ball``

    @property
    def id(self) -> str:
        """The id used in goals.yaml: ``find-red-ball``, ``place-red-ball-blue-box``."""
        return "-".join((self.family, *(name.replace(" ", "-") for name in self.names)))


@dataclass(frozen=True)
class Scene:
    """What decides every goal; things are places among the world's things.

    Attributes:
        front: the thing directly in front of the agent, or None.
        carried: the thing the agent carries, or None.
        beside: the things on the four sides of the thing in front; empty when nothing is in front.
    """

    front: int | None
    carried: int | None
    beside: frozenset[int]


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


@dataclass(frozen=True)
class World:
    """Which things there are, and so which goals."""

    colours: tuple[str, ...]
    shapes: tuple[str, ...]
    place_goals: int | None = None  # as many pairs, spread over all of them; None: every pair

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """Every colour of every shape."""
        return tuple(Thing(colour, shape) for shape in self.shapes for colour in self.colours)

    @cached_property
    def goals(self) -> tuple[Goal, ...]:
        """All goals, in the order of goals.yaml and of every ``(G,)`` array."""
        single = [(place,) for place in range(len(self.things))]
        pairs = list(itertools.combinations(range(len(self.things)), 2))
        kept = range(len(pairs))
        if self.place_goals is not None:
            kept = np.linspace(0, len(pairs) - 1, self.place_goals).astype(int).tolist()
        by_family = {"find": single, "lift": single, "place": [pairs[i] for i in kept]}
        return tuple(self._goal(f, things) for f in FAMILIES for things in by_family[f])

    @cached_property
    def goal_index(self) -> dict[str, int]:
        """The place of each goal, by id."""
        return {goal.id: index for index, goal in enumerate(self.goals)}

    def _goal(self, family: str, things: tuple[int, ...]) -> Goal:
        return Goal(family, things, tuple(self.things[thing].name for thing in things))

    def truth(self, scene: Scene) -> npt.NDArray[np.uint8]:
        """Returns which goals hold in `scene`: ``(G,) uint8``, 0 or 1, in the order of `goals`."""
        return np.array([is_true(goal, scene) for goal in self.goals], dtype=np.uint8)

    def goal_named(self, goal_id: str) -> Goal:
        """Returns the goal with this id.

        Raises:
            ValueError: no goal has this id; the text lists ids of the same family.
        """
        if goal_id not in self.goal_index:
            family = goal_id.split("-")[0]
            ids = [goal.id for goal in self.goals]
            near = [own for own in ids if own.split("-")[0] == family] or ids
            raise ValueError(f"unknown goal {goal_id!r}: expected one of {', '.join(near)}")
        return self.goals[self.goal_index[goal_id]]


PLAYROOM = World(("red", "green", "blue"), ("ball", "box", "key"))
HARD = World(("red", "green", "blue", "yellow"), ("ball", "box", "key", "cone", "ring"), 40)

THINGS, GOALS, GOAL_INDEX = PLAYROOM.things, PLAYROOM.goals, PLAYROOM.goal_index
"""Of the playroom: nine things, and 54 goals."""


def truth(scene: Scene) -> npt.NDArray[np.uint8]:
    """Returns which of the playroom's goals hold in `scene`: ``(G,) uint8``, 0 or 1."""
    return PLAYROOM.truth(scene)
