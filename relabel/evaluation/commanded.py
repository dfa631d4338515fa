"""Which goals the episodes of a store are told to reach, by their instructions."""

from __future__ import annotations

import numpy as np

from relabel.evaluation.evidence import Ints
from relabel.goals.instructions import commands, language_columns
from schemas import fields
from schemas.goal_names import goal_names
from schemas.slices import Slice
from schemas.store import Store
from schemas.texts import normalised


def commanded_goals(store: Store, rewards: str) -> tuple[Ints, Ints]:
    """Pairs of an episode and a goal of a reward set that it is told to reach, each once.

    Args:
        store: with steps and episodes.
        rewards: name of the reward set.

    Returns:
        (N,) places of episodes in the store and (N,) places of goals, by episode. Empty where no
        instruction names a goal, or the source has none.

    Raises:
        StoreError: no such reward set; steps or episodes are unfinished.
    """
    named = goal_names(store, rewards)
    found, first = [np.zeros((0, 2), np.int64)], 0
    for piece in store.slices:
        pairs, count = _of_slice(store, piece, named)
        own = np.array(pairs, np.int64).reshape(-1, 2)
        own[:, 0] += first
        found.append(own)
        first += count
    episodes, goals = np.unique(np.concatenate(found), axis=0).T
    return episodes, goals


def _of_slice(
    store: Store, piece: Slice, named: dict[str, frozenset[int]]
) -> tuple[list[tuple[int, int]], int]:
    """Pairs of an episode of the slice and a goal; how many episodes there are."""
    spoken, whole = language_columns(store.manifest)
    episodes = store.read_slices("episodes", [piece], [fields.LENGTH, *whole])
    steps = [store.read_slices("steps", [piece], [name]).column(name) for name in spoken]
    nothing: frozenset[int] = frozenset()
    told = commands(
        steps,
        [episodes.column(name) for name in whole],
        episodes.column(fields.LENGTH).to_numpy().astype(np.int64),
        lambda text: named.get(normalised(text), nothing),
        holds=False,
    )
    pairs = [(place, one.goal) for place, own in enumerate(told) for one in own]
    return pairs, episodes.num_rows
