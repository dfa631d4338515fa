"""Which episodes and goals a report shows in full, where there are too many to show all."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def chosen_goals(
    families: Sequence[str], rewarded: Sequence[int], precision: Sequence[float], most: int
) -> list[int]:
    """Places of goals to show: of every family in turn, the worst and the most rewarded ones.

    Args:
        families: G.
        rewarded: G, how often each is rewarded.
        precision: G, average precision; NaN: not known.
        most: goals to show.

    Returns:
        At most so many places, rising.
    """
    goals = range(len(families))
    if len(families) <= most:
        return list(goals)
    queues = []
    for family in dict.fromkeys(families):
        own = [goal for goal in goals if families[goal] == family]
        paid = sorted(own, key=lambda goal: (-rewarded[goal], goal))
        bad = [goal for goal in own if np.isfinite(precision[goal])]
        bad.sort(key=lambda goal: (precision[goal], goal))
        queues.append(_alternating([bad, paid]))
    return sorted(itertools.islice(_alternating(queues), most))


def chosen_episodes(
    lengths: Sequence[int],
    rewarded: Sequence[Bools],
    true: Bools | None,
    first: Iterable[int],
    most: int,
) -> list[int]:
    """Places of episodes to show: successes, false alarms, misses, disagreements, and others.

    Args:
        lengths: E, frames of each.
        rewarded: of reward sets of the same goals, (E, G) whether an episode is rewarded.
        true: (E, G) whether a goal is true in an episode; None: not known.
        first: places to show before all others.
        most: episodes to show.

    Returns:
        At most so many places, rising.
    """
    there = np.flatnonzero(np.asarray(lengths) > 0)
    if len(there) <= most:
        return [int(place) for place in there]
    queues = [_each_goal(paid if true is None else paid & true) for paid in rewarded[:1]]
    if true is not None:
        queues += [_by_count(paid & ~true) for paid in rewarded]
        queues += [_by_count(~paid & true) for paid in rewarded]
    queues += [_by_count(a != b) for a, b in itertools.combinations(rewarded, 2)]
    spread = there[np.unique(np.linspace(0, len(there) - 1, most).astype(int))]
    queues += [[int(place) for place in spread], [int(place) for place in there]]
    known = {int(place) for place in there}
    wanted = (place for place in itertools.chain(first, _alternating(queues)) if place in known)
    return sorted(itertools.islice(dict.fromkeys(wanted), most))


def _each_goal(succeeds: Bools) -> list[int]:
    """An episode in which each goal succeeds, goal by goal, then a second one of each."""
    columns = [np.flatnonzero(column).tolist() for column in succeeds.T]
    return list(_alternating(columns))


def _by_count(marked: Bools) -> list[int]:
    """Episodes with any mark, those with the most first."""
    count = marked.sum(axis=1)
    order = np.argsort(-count, kind="stable")
    return [int(place) for place in order if count[place]]


def _alternating(queues: Iterable[Iterable[int]]) -> Iterable[int]:
    """The first of each queue, the second of each, …; every number once."""
    turns = itertools.zip_longest(*queues)
    return dict.fromkeys(n for turn in turns for n in turn if n is not None)
