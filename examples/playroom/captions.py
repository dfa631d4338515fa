"""The captions of the playroom: wordings of goals, null prompts, paraphrases, held-out phrasings.

A *concept* is something a caption can say: one of the goals, or one of four nulls ("nothing in
front", "empty hands", "nothing side by side", "an empty room"). Every concept has several wordings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from examples.playroom.goals import FAMILIES, PLAYROOM, Goal, World

INSTRUCTIONS = {
    "find": "find the {0}",
    "lift": "lift the {0}",
    "place": "place the {0} next to the {1}",
}
"""How a goal is commanded; also the first text of the goal in goals.yaml."""

DESCRIPTIONS = {
    "find": "a {0} is directly in front",
    "lift": "carrying a {0}",
    "place": "the {0} is next to the {1}",
}
"""How a reached goal is described; the second text of the goal in goals.yaml."""

PARAPHRASES = {
    "find": (
        "facing a {0}",
        "looking at the {0} ahead",
        "the agent stands before a {0}",
        "a {0} lies right in front of the agent",
    ),
    "lift": (
        "holding the {0}",
        "a {0} in the hands of the agent",
        "the agent has picked up the {0}",
        "the {0} is being carried",
    ),
    "place": (
        "a {0} beside a {1}",
        "the {0} and the {1} are side by side",
        "a {0} lies right next to a {1}",
        "the agent has put the {0} beside the {1}",
    ),
}
"""Further wordings that the encoders are trained on."""

HELD_OUT = {
    "find": (
        "the agent is facing the {0}",
        "the {0} is right ahead",
        "looking at a {0} directly in front of the agent",
    ),
    "lift": (
        "the agent is carrying a {0}",
        "the agent has a {0} in the hands",
        "the agent is holding a {0}",
    ),
    "place": (
        "the {0} is beside the {1}",
        "the agent has put a {0} right next to a {1}",
        "the {0} lies beside a {1}",
    ),
}
"""Wordings that no encoder is trained on; their words are known, their sentences are not."""

NULLS = {
    "find": (
        "nothing is directly in front",
        "facing only the floor or a wall",
        "no object ahead of the agent",
    ),
    "lift": (
        "carrying nothing",
        "the hands of the agent are empty",
        "no object is being carried",
    ),
    "place": (
        "nothing is side by side in front",
        "no two objects are next to each other ahead",
        "the object ahead, if any, lies alone",
    ),
}
"""Per family, wordings of: none of its goals is true. The first is the family's null prompt."""

EMPTY_ROOM = ("an empty room", "no object is in view")
"""Wordings of: no thing is seen, none is carried. The first is the goal set's null prompt."""

CONCEPT_COUNT = len(PLAYROOM.goals) + len(FAMILIES) + 1
"""Of the playroom."""


def words(template: str, goal: Goal, *, swapped: bool = False) -> str:
    """Returns `template` filled with the goal's things, in the other order if `swapped`."""
    return template.format(*(goal.names[::-1] if swapped else goal.names))


def instruction(goal: Goal) -> str:
    """Returns the wording that commands the goal: ``find the red ball``."""
    return words(INSTRUCTIONS[goal.family], goal)


def goal_texts(goal: Goal) -> list[str]:
    """Returns the goal's texts in goals.yaml: its instruction, then its description."""
    return [instruction(goal), words(DESCRIPTIONS[goal.family], goal)]


def held_out_texts(goal: Goal) -> list[str]:
    """Returns wordings of the goal that no encoder is trained on."""
    return [words(template, goal) for template in HELD_OUT[goal.family]]


def training_texts(world: World = PLAYROOM) -> list[list[str]]:
    """Returns all wordings per concept: goals in order, three family nulls, the empty room."""
    nulls = [list(NULLS[family]) for family in FAMILIES]
    return [*(_goal_wordings(goal) for goal in world.goals), *nulls, list(EMPTY_ROOM)]


def _goal_wordings(goal: Goal) -> list[str]:
    family = goal.family
    templates = (INSTRUCTIONS[family], DESCRIPTIONS[family], *PARAPHRASES[family])
    orders = (False, True) if len(goal.things) > 1 else (False,)
    return [words(template, goal, swapped=swapped) for template in templates for swapped in orders]


def concept_truth(
    goal_truth: npt.NDArray[np.uint8],
    nothing_seen: npt.NDArray[np.bool_],
    world: World = PLAYROOM,
) -> npt.NDArray[np.uint8]:
    """Returns which concepts hold per frame.

    Args:
        goal_truth: ``(N, G) uint8``, which goals hold.
        nothing_seen: ``(N,) bool``, no thing is in view and none is carried.
        world: whose goals they are.

    Returns:
        ``(N, G + 4) uint8``, in the order of `training_texts`.
    """
    families = np.array([goal.family for goal in world.goals])
    nulls = [~goal_truth[:, families == family].any(axis=1) for family in FAMILIES]
    columns = np.stack([*nulls, nothing_seen], axis=1).astype(np.uint8)
    return np.concatenate([goal_truth, columns], axis=1)
