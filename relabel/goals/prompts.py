"""From a goal set to the distinct prompts it is scored with.

A prompt is one point in the embedding space: the average over every phrasing of a text put
into every template. A goal is one prompt, and so is each of its negatives and its baseline.
Goals share prompts, so each distinct prompt is listed, embedded and compared once.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.goals import Frame, Goal, GoalSet
from schemas.texts import brief, normalised

_NOTES: Final = 10  # of a kind
_LISTED: Final = 5  # goals in a note


@dataclass(frozen=True)
class Prompt:
    """Phrasings, the templates that each of them is put into, and frames."""

    phrasings: tuple[str, ...]
    templates: tuple[str, ...]
    examples: tuple[Frame, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The strings whose embeddings are averaged."""
        # replace, not format: a template may hold braces of its own
        return tuple(
            t.replace("{}", phrasing) for phrasing in self.phrasings for t in self.templates
        )

    @property
    def said(self) -> Hashable:
        """Equal for prompts that say the same to people."""
        return tuple(map(normalised, self.phrasings)), self.templates, self.examples

    @property
    def title(self) -> str:
        """For people: a phrasing, or a frame."""
        return self.phrasings[0] if self.phrasings else frame_text(self.examples[0])


Alike = Mapping[Prompt, Hashable]  # equal values: prompts that the encoder cannot tell apart


@dataclass(frozen=True, eq=False)
class Prompts:
    """A goal set resolved into prompts: P distinct ones for G goals.

    Prompts lie family by family, goals before null prompts, so that the candidates of a
    family are usually one contiguous run.
    """

    texts: tuple[tuple[str, ...], ...]  # P prompts; each the strings whose embeddings are averaged
    goal: NDArray[np.int64]  # (G,) prompt of each goal
    negatives: tuple[NDArray[np.int64], ...]  # per goal: sorted prompts, never the goal's own
    baseline: NDArray[np.int64] | None  # (G,) prompt of each goal's baseline; None: one lacks it
    notes: tuple[str, ...] = ()  # what was left out because texts are alike, for people
    examples: tuple[tuple[Frame, ...], ...] = ()  # P: frames averaged with the texts; (): none has

    @property
    def frames(self) -> tuple[tuple[Frame, ...], ...]:
        """P, of each prompt."""
        return self.examples or ((),) * len(self.texts)

    def title(self, prompt: int) -> str:
        """What a prompt says, for people and to be compared: strings and frames, by " | "."""
        return " | ".join([*self.texts[prompt], *map(frame_text, self.frames[prompt])])


class _Book:
    """Numbers distinct prompts in order of first use."""

    def __init__(self) -> None:
        self._index: dict[tuple[tuple[str, ...], tuple[Frame, ...]], int] = {}

    def add(self, prompt: Prompt) -> int:
        return self._index.setdefault((prompt.texts, prompt.examples), len(self._index))

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        return tuple(texts for texts, _ in self._index)

    @property
    def examples(self) -> tuple[tuple[Frame, ...], ...]:
        """Empty if no prompt has any."""
        found = tuple(examples for _, examples in self._index)
        return found if any(found) else ()


def resolve_prompts(goals: GoalSet, alike: Alike | None = None) -> Prompts:
    """Distinct prompts of a goal set, and which of them each goal is scored against.

    The automatic negatives of a goal are the other goals of its family and the family's null
    prompts, without the goals that share a `may_be_true_together` group with it. Whatever is
    alike to the goal, or to one of its phrasings, is no negative of it, and of negatives that
    are alike one is taken. With `max_negatives`, that many of the other goals are drawn; null
    prompts always stay. The draw depends on the goal set's seed, the goal's id and the ids
    drawn from, so neither on the order of the goals nor on the process.

    Args:
        goals: a checked goal set.
        alike: which of `goal_prompts(goals)` the encoder cannot tell apart, from
            `relabel.goals.readings`; None: those that say the same to people.

    Returns:
        The prompts. A goal may end up with no negatives; reward functions that need some
        refuse it when they are bound.

    Example:
        >>> prompts = resolve_prompts(GoalSet.from_texts(["lift the ball", "lift the box"]))
        >>> prompts.texts
        (('lift the ball',), ('lift the box',), ('an empty room',))
        >>> prompts.negatives[0].tolist()
        [1, 2]
    """
    if alike is None:
        alike = {prompt: prompt.said for prompt in goal_prompts(goals)}
    book = _Book()
    own = _own_prompts(goals, book)
    rivals = _Rivals(goals, alike, own, book)
    negatives = tuple(np.sort(rivals.of(goal)) for goal in goals.goals)
    baseline = _baselines(goals, book)
    goal = np.array([own[g.id] for g in goals.goals], dtype=np.int64)
    return Prompts(book.texts, goal, negatives, baseline, rivals.notes(), book.examples)


def frame_text(frame: Frame) -> str:
    """A frame, for people."""
    return f"{frame[0]} step {frame[1]}"


def goal_prompts(goals: GoalSet) -> dict[Prompt, str]:
    """Every prompt that a goal set can be scored with, and each phrasing of a goal by itself.

    Returns:
        Whose each prompt is, for error texts: the first goal that needs it, and what for.
    """
    owners: dict[Prompt, str] = {}
    for goal in goals.goals:
        for prompt in (whole_prompt(goals, goal), *_phrasings(goals, goal)):
            owners.setdefault(prompt, f"goal {goal.id}")
    for goal in goals.goals:
        shared = "null prompt" if goals.negatives_of(goal) == "auto" else "shared negative"
        owner = shared if goal.negatives == "auto" else f"goal {goal.id}, negative"
        for prompt in _told_negatives(goals, goal):
            owners.setdefault(prompt, owner)
        baseline = _baseline(goals, goal)
        if baseline is not None:
            owners.setdefault(baseline, f"goal {goal.id}, baseline")
    return owners


def whole_prompt(goals: GoalSet, goal: Goal) -> Prompt:
    """The prompt of a goal: all its phrasings and its examples together."""
    frames = tuple(example.frame for example in goal.examples)
    return Prompt(goal.texts, goals.family_templates(goal.family), frames)


def _phrasings(goals: GoalSet, goal: Goal) -> list[Prompt]:
    return [_single(goals, goal, text) for text in goal.texts]


def _single(goals: GoalSet, goal: Goal, text: str) -> Prompt:
    return Prompt((text,), goals.family_templates(goal.family))


def _told_negatives(goals: GoalSet, goal: Goal) -> list[Prompt]:
    """Negatives that the goal set gives in words: texts, or null prompts beside other goals."""
    texts = goals.negatives_of(goal)
    told = goals.family_null_prompts(goal.family) if texts == "auto" else texts
    return [_single(goals, goal, text) for text in told]


def _baseline(goals: GoalSet, goal: Goal) -> Prompt | None:
    text = goals.baseline if goal.baseline is None else goal.baseline
    return None if text is None else _single(goals, goal, text)


def _own_prompts(goals: GoalSet, book: _Book) -> dict[str, int]:
    """Prompt of each goal id; also enters null prompts, right behind their family's goals."""
    own: dict[str, int] = {}
    for family in dict.fromkeys(goal.family for goal in goals.goals):
        members = [goal for goal in goals.goals if goal.family == family]
        own.update({goal.id: book.add(whole_prompt(goals, goal)) for goal in members})
        automatic = [goal for goal in members if goals.negatives_of(goal) == "auto"]
        for null in _told_negatives(goals, automatic[0]) if automatic else ():
            book.add(null)
    return own


class _Family:
    """The goals of one family in the order of their ids, what each says and its prompt."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._said: list[Hashable] = []
        self._prompts: list[int] = []
        self._of: dict[Hashable, list[int]] = defaultdict(list)  # prompts by what they say

    def add(self, goal_id: str, said: Hashable, prompt: int) -> None:
        """The next goal."""
        self._place[goal_id] = len(self._place)
        self._said.append(said)
        self._prompts.append(prompt)
        self._of[said].append(prompt)

    def without(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Prompts of all but these goals; of those that say the same, the first."""
        left_out = [self._place[goal_id] for goal_id in ids if goal_id in self._place]
        if len(self._of) == len(self._said):  # nothing is said twice: a thousand goals, fast
            return np.delete(self._array, left_out)
        first: dict[Hashable, int] = {}
        for place in np.delete(np.arange(len(self._said)), left_out).tolist():
            first.setdefault(self._said[place], self._prompts[place])
        return np.array(list(first.values()), np.int64)

    def is_among(self, said: Hashable, prompts: NDArray[np.int64]) -> bool:
        """Whether one of these prompts of the family says this."""
        return said in self._of and bool(np.isin(self._of[said], prompts).any())

    @cached_property
    def _array(self) -> NDArray[np.int64]:
        return np.array(self._prompts, np.int64)


class _Rivals:
    """Which prompts are negatives of a goal."""

    def __init__(self, goals: GoalSet, alike: Alike, own: Mapping[str, int], book: _Book) -> None:
        self._goals = goals
        self._alike = alike
        self._book = book
        self._sayings = {goal.id: _sayings(goals, goal, alike) for goal in goals.goals}
        self._family: dict[str, _Family] = {}
        self._saying: dict[tuple[str, Hashable], list[str]] = defaultdict(list)  # -> goal ids
        self._together: dict[str, set[str]] = defaultdict(set)  # goal id -> goal ids
        self._left_out: dict[str, None] = {}
        for goal in sorted(goals.goals, key=lambda goal: goal.id):  # order must not matter
            family = self._family.setdefault(goal.family, _Family())
            family.add(goal.id, alike[whole_prompt(goals, goal)], own[goal.id])
            for said in self._sayings[goal.id]:
                self._saying[goal.family, said].append(goal.id)
        for group in goals.may_be_true_together:
            for goal_id in group:
                self._together[goal_id].update(group)

    def of(self, goal: Goal) -> NDArray[np.int64]:
        """Prompts that the goal is scored against; of those that are alike, the first."""
        told = self._told(goal)
        if self._goals.negatives_of(goal) != "auto":
            return np.array(list(told.values()), np.int64)
        friends = {goal.id} | self._together[goal.id]
        friends.update(*(self._saying[goal.family, said] for said in self._sayings[goal.id]))
        family = self._family[goal.family]
        key = f"{self._goals.seed}:{goal.id}"
        drawn = _sample(family.without(friends), self._goals.max_negatives, key)
        more = [prompt for said, prompt in told.items() if not family.is_among(said, drawn)]
        return np.append(drawn, np.array(more, np.int64))

    def _told(self, goal: Goal) -> dict[Hashable, int]:
        """Negatives that are given in words, without those that say what the goal says."""
        told: dict[Hashable, int] = {}
        for prompt in _told_negatives(self._goals, goal):
            text = self._sayings[goal.id].get(self._alike[prompt])
            if text is not None:
                self._note(goal, prompt.phrasings[0], text)
            elif self._alike[prompt] not in told:
                told[self._alike[prompt]] = self._book.add(prompt)
        return told

    def _note(self, goal: Goal, negative: str, text: str) -> None:
        """Notes a negative that is left out, unless the goal plainly says the same."""
        if normalised(negative) not in map(normalised, goal.texts):
            self._left_out[
                f"goal {goal.id}: its negative “{brief(negative)}” is left out, because the "
                f"encoder cannot tell it from “{brief(text)}”"
            ] = None

    def notes(self) -> tuple[str, ...]:
        """For people: goals and negatives that are left out of a goal's negatives."""
        return (*_capped(list(dict.fromkeys(self._alike_goals()))), *_capped(list(self._left_out)))

    def _alike_goals(self) -> Iterator[str]:
        """One note per set of goals that share something they say, and would compete otherwise."""
        goals = {goal.id: goal for goal in self._goals.goals}
        for (_, said), ids in self._saying.items():
            together = all(set(ids) <= self._together[goal_id] | {goal_id} for goal_id in ids)
            if not together and any(self._goals.negatives_of(goals[i]) == "auto" for i in ids):
                listed = [f"{i} (“{brief(self._sayings[i][said])}”)" for i in ids[:_LISTED]]
                more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
                yield (
                    f"goals {', '.join(listed)}{more} say the same, to the encoder or to people, "
                    "so none is a negative of another"
                )


def _sayings(goals: GoalSet, goal: Goal, alike: Alike) -> dict[Hashable, str]:
    """What a goal says as a whole and by each phrasing, with a text of it."""
    phrasings = {alike[p]: p.phrasings[0] for p in _phrasings(goals, goal)}
    return {alike[whole_prompt(goals, goal)]: goal.title, **phrasings}


def negatives_of(prompts: Prompts, goal: int) -> list[str]:
    """Negatives of the goal at a place, each with its strings and frames joined by " | "."""
    return [prompts.title(n) for n in prompts.negatives[goal]]


def _capped(notes: Sequence[str]) -> Sequence[str]:
    more = len(notes) - _NOTES
    return notes if more <= 0 else [*notes[:_NOTES], f"{more} more notes of this kind"]


def _sample(prompts: NDArray[np.int64], count: int | None, key: str) -> NDArray[np.int64]:
    """`count` of the prompts, drawn without replacement by a generator seeded from `key`."""
    if count is None or count >= len(prompts):
        return prompts
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest())  # `hash` differs per process
    return prompts[np.random.default_rng(seed).choice(len(prompts), size=count, replace=False)]


def _baselines(goals: GoalSet, book: _Book) -> NDArray[np.int64] | None:
    prompts = [_baseline(goals, goal) for goal in goals.goals]
    known = [prompt for prompt in prompts if prompt is not None]
    if len(known) < len(prompts):
        return None
    return np.array([book.add(prompt) for prompt in known], dtype=np.int64)
