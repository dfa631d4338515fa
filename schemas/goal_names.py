"""Which goals an instruction names."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from schemas import fields
from schemas.store import Store
from schemas.texts import normalised


def goal_names(store: Store, rewards: str) -> dict[str, frozenset[int]]:
    """The goals of a reward set by the texts that name them, for commanded trajectories.

    A goal is named by its phrasings as they were given, without templates, and by the texts
    that its `spoken` lists.

    Args:
        store: holds the reward set.
        rewards: its name.

    Returns:
        Places on the goal axis, by `normalised` text.

    Raises:
        StoreError: no such reward set, or its goals cannot be read.
    """
    return names_of(_texts(store, rewards))


def names_of(goals: Iterable[Iterable[str]]) -> dict[str, frozenset[int]]:
    """Places of goals by `normalised` text, of the texts that name each."""
    named: dict[str, frozenset[int]] = {}
    for goal, texts in enumerate(goals):
        for text in map(normalised, texts):
            named[text] = named.get(text, frozenset()) | {goal}
    return named


def _texts(store: Store, rewards: str) -> list[list[str]]:
    goals: pa.Table = store.goals(rewards)
    if fields.PHRASINGS not in goals.column_names:  # format 1.x: templated texts alone
        return [[*goal.texts, *goal.spoken] for goal in store.goal_set(rewards).goals]
    columns = (goals.column(name).to_pylist() for name in (fields.PHRASINGS, fields.SPOKEN))
    return [[*phrasings, *spoken] for phrasings, spoken in zip(*columns, strict=True)]
