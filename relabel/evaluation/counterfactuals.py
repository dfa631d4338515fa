"""Texts that say nearly what a goal says, and are false of the frames that show it.

One word of a goal's texts is exchanged for another:

    colour      one colour for another              find the red ball      find the green ball
    relation    a relation for its opposite         the drawer is open     the drawer is closed
    object      any other word that stands in its   find the red ball      find the red box
                place in another text of the family

Words that stand in the same place of two texts of a family, which are otherwise the same, may be
exchanged for each other; beside these, the colours and relations below are tried. What the goal
itself says, or a goal of another family, is none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from relabel.evaluation.evidence import Bools
from relabel.goals.prompts import Prompt
from schemas.goals import GoalSet
from schemas.texts import normalised

KINDS: Final = ("colour", "object", "relation")
COLOURS: Final = (
    *("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white"),
    *("grey", "gray", "silver", "golden"),
)
OPPOSITES: Final = tuple(
    frozenset(pair.split("/"))
    for pair in (
        *("left/right", "open/closed", "open/close", "opened/closed", "opening/closing", "on/off"),
        *("on/under", "above/below", "over/under", "inside/outside", "into/out of", "in/out of"),
        *("up/down", "upward/downward", "in front of/behind", "in front/behind", "front/back"),
        *("next to/far from", "beside/far from", "near/far from", "on top of/under", "top/bottom"),
        *("before/after", "upright/sideways", "vertical/horizontal", "full/empty", "lift/drop"),
        *("push/pull", "pushing/pulling", "first/last"),
    )
)
MOST: Final = 12  # counterfactuals of a goal
_EXCHANGED: Final = 64  # words that one word is exchanged for, at most
_TRIED: Final = ("red", "green", "blue", "yellow")  # colours, where the set has no others
_PHRASES: Final = sorted(
    {word for pair in OPPOSITES for word in pair if " " in word}, key=len, reverse=True
)
_WORD: Final = re.compile("|".join(rf"\b{phrase}\b" for phrase in _PHRASES) + r"|\w+|\W+", re.I)


@dataclass(frozen=True)
class Counterfactual:
    """A goal with one word exchanged."""

    goal: int  # place on the goal axis
    kind: str
    word: str  # of the goal
    other: str  # in its place
    texts: tuple[str, ...]  # as the encoder reads them: phrasings in templates
    phrasings: tuple[str, ...]
    same_as: int | None  # the goal of the set that says this; None: none does
    may_hold: bool  # together with the goal, as the goal set was told


def counterfactuals(goals: GoalSet) -> tuple[Counterfactual, ...]:
    """Counterfactuals of every goal of a set, goal by goal; those that are goals come first."""
    exchangeable = {family: _exchangeable(goals, family) for family in _families(goals)}
    said = _sayings(goals)
    together = _together(goals)
    found: list[Counterfactual] = []
    for place, goal in enumerate(goals.goals):
        exchanged = _of_goal(goals, place, exchangeable[goal.family], said, together[place])
        own = [
            one
            for one in exchanged
            if one.same_as is None or goals.goals[one.same_as].family == goal.family
        ]
        own.sort(key=lambda one: one.same_as is None)
        found += own[:MOST]
    return tuple(found)


def neighbours(goals: GoalSet) -> Mapping[str, Bools]:
    """By kind, (G, G) pairs of goals that are one exchanged word apart."""
    count = len(goals.goals)
    pairs = {kind: np.zeros((count, count), bool) for kind in KINDS}
    for one in counterfactuals(goals):
        if one.same_as is not None:
            pairs[one.kind][one.goal, one.same_as] = True
            pairs[one.kind][one.same_as, one.goal] = True
    return pairs


def _of_goal(
    goals: GoalSet,
    place: int,
    exchangeable: Mapping[str, list[str]],
    said: Mapping[str, list[int]],
    together: set[int],
) -> Iterator[Counterfactual]:
    goal = goals.goals[place]
    own = {normalised(text) for text in (*goal.texts, *goal.spoken)}
    words = dict.fromkeys(word for text in goal.texts for word in _words(text))
    for word in words:
        for other in exchangeable.get(word, []):
            swapped = [_swap(text, word, other) for text in goal.texts]
            phrasings = tuple(dict.fromkeys(text for text in swapped if text is not None))
            if any(normalised(text) in own for text in phrasings):
                continue
            named = [g for text in phrasings for g in said.get(normalised(text), [])]
            same_as = next((g for g in named if g != place), None)
            if same_as is not None:
                phrasings = goals.goals[same_as].texts
            texts = Prompt(phrasings, goals.family_templates(goal.family)).texts
            kind, may_hold = _kind(word, other), same_as in together
            yield Counterfactual(place, kind, word, other, texts, phrasings, same_as, may_hold)


def _words(text: str) -> list[str]:
    return [part.casefold() for part in _WORD.findall(text) if part[0].isalnum()]


def _swap(text: str, word: str, other: str) -> str | None:
    """The text with the first `word` exchanged; None: it does not have it."""
    parts = _WORD.findall(text)
    for place, part in enumerate(parts):
        if part.casefold() == word:
            return "".join((*parts[:place], other, *parts[place + 1 :]))
    return None


def _kind(word: str, other: str) -> str:
    if word in COLOURS and other in COLOURS:
        return "colour"
    return "relation" if frozenset((word, other)) in OPPOSITES else "object"


def _families(goals: GoalSet) -> dict[str, None]:
    return dict.fromkeys(goal.family for goal in goals.goals)


def _exchangeable(goals: GoalSet, family: str) -> dict[str, list[str]]:
    """By word of a family's texts, what it may be exchanged for: words of the family first."""
    slots: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    vocabulary: dict[str, None] = {}
    for goal in (goal for goal in goals.goals if goal.family == family):
        for text in goal.texts:
            words = _words(text)
            vocabulary.update(dict.fromkeys(words))
            for place, word in enumerate(words):
                slots[(*words[:place], "", *words[place + 1 :])][word] = None
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for slot, words_of in slots.items():
        if len(slot) > 1:  # of a text of one word, anything could take the place
            for word in words_of:
                found[word].update(dict.fromkeys(other for other in words_of if other != word))
    colours = [word for word in vocabulary if word in COLOURS]
    tried = dict.fromkeys((*colours, *_TRIED))
    for word in vocabulary:
        if word in COLOURS:
            found[word].update(dict.fromkeys(c for c in tried if c != word))
        for pair in OPPOSITES:
            if word in pair:
                found[word].update(dict.fromkeys(pair - {word}))
    return {word: list(others)[:_EXCHANGED] for word, others in found.items()}


def _sayings(goals: GoalSet) -> dict[str, list[int]]:
    said: dict[str, list[int]] = defaultdict(list)
    for place, goal in enumerate(goals.goals):
        for text in goal.texts:
            said[normalised(text)].append(place)
    return said


def _together(goals: GoalSet) -> list[set[int]]:
    place = {goal.id: i for i, goal in enumerate(goals.goals)}
    found: list[set[int]] = [set() for _ in goals.goals]
    for group in goals.may_be_true_together:
        places = {place[goal_id] for goal_id in group}
        for own in places:
            found[own] |= places
    return found
