"""From a goal set to the distinct prompts it is scored with, and their embeddings.

A prompt is one point in the embedding space: the average over every phrasing of a text put
into every template. A goal is one prompt, and so is each of its negatives and its baseline.
Goals share prompts, so each distinct prompt is listed, embedded and compared once.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import EncoderError
from schemas.goals import Goal, GoalSet
from schemas.texts import normalised


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


class _Book:
    """Numbers distinct prompts in order of first use."""

    def __init__(self) -> None:
        self._index: dict[tuple[str, ...], int] = {}

    def add(self, phrasings: Iterable[str], templates: Sequence[str]) -> int:
        # replace, not format: a template may hold braces of its own
        texts = tuple(t.replace("{}", phrasing) for phrasing in phrasings for t in templates)
        return self._index.setdefault(texts, len(self._index))

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        return tuple(self._index)


def resolve_prompts(goals: GoalSet) -> Prompts:
    """Distinct prompts of a goal set, and which of them each goal is scored against.

    The automatic negatives of a goal are the other goals of its family and the family's null
    prompts, without the goals that share a `may_be_true_together` group with it and without
    anything that says the same as one of its own texts (compared by `normalised`). With
    `max_negatives`, that many of the other goals are drawn; null prompts always stay. The
    draw depends on the goal set's seed, the goal's id and the ids drawn from, so neither on
    the order of the goals nor on the process.

    Args:
        goals: a checked goal set.

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
    book = _Book()
    own = _own_prompts(goals, book)
    rivals = _Rivals(goals, own)
    negatives = tuple(_negatives(goals, goal, rivals, book) for goal in goals.goals)
    baseline = _baselines(goals, book)
    goal = np.array([own[g.id] for g in goals.goals], dtype=np.int64)
    return Prompts(book.texts, goal, negatives, baseline)


def _own_prompts(goals: GoalSet, book: _Book) -> dict[str, int]:
    """Prompt of each goal id; also enters null prompts, right behind their family's goals."""
    own: dict[str, int] = {}
    for family in dict.fromkeys(goal.family for goal in goals.goals):
        templates = goals.family_templates(family)
        members = [goal for goal in goals.goals if goal.family == family]
        own.update({goal.id: book.add(goal.texts, templates) for goal in members})
        if any(goals.negatives_of(goal) == "auto" for goal in members):
            for null in goals.family_null_prompts(family):
                book.add((null,), templates)
    return own


class _Rivals:
    """Which goals of a family may be negatives of a goal."""

    def __init__(self, goals: GoalSet, own: dict[str, int]) -> None:
        self._own = own
        self._family: dict[str, list[Goal]] = defaultdict(list)
        self._saying: dict[str, set[str]] = defaultdict(set)  # normalised text -> goal ids
        self._together: dict[str, set[str]] = defaultdict(set)  # goal id -> goal ids
        for goal in sorted(goals.goals, key=lambda goal: goal.id):  # order must not matter
            self._family[goal.family].append(goal)
            for text in goal.texts:
                self._saying[normalised(text)].add(goal.id)
        for group in goals.may_be_true_together:
            for goal_id in group:
                self._together[goal_id].update(group)

    def of(self, goal: Goal) -> list[int]:
        """Distinct prompts of the goals that `goal` competes with, in the order of their ids."""
        friends = {goal.id} | self._together[goal.id]
        friends.update(*(self._saying[normalised(text)] for text in goal.texts))
        others = (self._own[g.id] for g in self._family[goal.family] if g.id not in friends)
        return list(dict.fromkeys(others))


def _negatives(goals: GoalSet, goal: Goal, rivals: _Rivals, book: _Book) -> NDArray[np.int64]:
    templates = goals.family_templates(goal.family)
    texts = goals.negatives_of(goal)
    if texts != "auto":
        return _sorted({book.add((text,), templates) for text in texts})
    said = {normalised(text) for text in goal.texts}
    nulls = [n for n in goals.family_null_prompts(goal.family) if normalised(n) not in said]
    others = _sample(rivals.of(goal), goals.max_negatives, f"{goals.seed}:{goal.id}")
    return _sorted({*others, *(book.add((null,), templates) for null in nulls)})


def _sorted(prompts: set[int]) -> NDArray[np.int64]:
    return np.array(sorted(prompts), dtype=np.int64)


def _sample(prompts: list[int], count: int | None, key: str) -> list[int]:
    """`count` of the prompts, drawn without replacement by a generator seeded from `key`."""
    if count is None or count >= len(prompts):
        return prompts
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest())  # `hash` differs per process
    chosen = np.random.default_rng(seed).choice(len(prompts), size=count, replace=False)
    return [prompts[i] for i in chosen]


def _baselines(goals: GoalSet, book: _Book) -> NDArray[np.int64] | None:
    texts = [goals.baseline if g.baseline is None else g.baseline for g in goals.goals]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        return None
    templates = (goals.family_templates(goal.family) for goal in goals.goals)
    pairs = zip(known, templates, strict=True)
    return np.array([book.add((text,), family) for text, family in pairs], dtype=np.int64)


def embed_prompts(
    prompts: Prompts, encode_texts: Callable[[Sequence[str]], NDArray[np.floating]]
) -> NDArray[np.float32]:
    """Embeddings of all prompts: strings embedded, normalised, averaged, normalised again.

    The ensembling of Radford et al. 2021 (arXiv 2103.00020, section 3.1.4).

    Args:
        prompts: P prompts.
        encode_texts: text tower of the encoder, n strings -> (n, D), any norm. Called once,
            with each distinct string once.

    Returns:
        (P, D) float32, unit norm.

    Raises:
        EncoderError: the encoder gave another shape, or an embedding without a direction.
    """
    index = {text: i for i, text in enumerate(dict.fromkeys(t for p in prompts.texts for t in p))}
    strings = list(index)
    embedded = np.asarray(encode_texts(strings), dtype=np.float64)
    if embedded.ndim != 2 or len(embedded) != len(strings):
        raise EncoderError(
            f"text encoder: expected embeddings of shape ({len(strings)}, D), got {embedded.shape}"
        )
    single = _unit(embedded, strings)
    means = [single[[index[text] for text in texts]].mean(axis=0) for texts in prompts.texts]
    return _unit(np.stack(means), [" + ".join(t) for t in prompts.texts]).astype(np.float32)


def _unit(vectors: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if bad.size:
        raise EncoderError(
            f"text encoder: expected embeddings of finite, positive norm, got norm "
            f"{norms[bad[0], 0]} for {names[bad[0]]!r} ({bad.size} of {len(names)} prompts); "
            "the weights are likely broken or the precision too low"
        )
    return np.asarray(vectors / norms)
