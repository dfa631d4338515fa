"""Whether scores follow the instructions of the episodes: a check that needs no label.

An episode that is told to reach goal j should score higher for j than other episodes do. So, of E
episodes that are told something, and the J goals that any of them is told to reach:

    best[e, j]    the highest score for goal j of a frame of episode e
    rank[e, j]    share of the other episodes whose best[., j] is lower; a tie counts half
    lift          mean of rank[e, j] over episodes e and the goals j that they are told to reach

0.5 is chance. How often as large a lift would come about by chance is told by trying other
assignments of the J instructions to the J goals: if others fit as well, scores do not follow the
words. Episodes of one instruction may look alike for other reasons, which is why instructions are
exchanged, and not episodes; few instructions can therefore prove little.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from relabel.evaluation.claims import ClaimBlock
from relabel.evaluation.evidence import Floats, Ints

_MOST: Final = 4096  # episodes that are compared
_DRAWS: Final = 999  # other assignments


@dataclass(frozen=True)
class Instructed:
    """How far scores follow instructions."""

    lift: float  # 0.5: not at all, 1: as far as can be
    p: float  # share of assignments that fit as well, the true one included
    instructions: int  # J
    episodes: int  # E


@dataclass(eq=False)
class BestScores:
    """The highest scores of the episodes that are told something."""

    told: tuple[Ints, Ints]  # pairs of an episode and a goal, from `commanded_goals`
    episodes: Ints  # (N,) places in the store of episodes with frames
    best: dict[int, Floats] = field(default_factory=dict)  # by episode, (J,)

    def __post_init__(self) -> None:
        self.goals = np.unique(self.told[1])  # (J,)
        every = np.unique(self.told[0])
        self.chosen = set(every[:: -(-len(every) // _MOST)].tolist()) if len(every) else set()

    def add(self, block: ClaimBlock) -> None:
        """Looks at the frames of a block."""
        if not self.chosen:
            return
        own = self.episodes[block.first : block.first + len(block.lengths)]
        best = np.fmax.reduceat(block.values[:, self.goals], block.starts, axis=0)
        for episode, values in zip(own.tolist(), best, strict=True):
            if episode in self.chosen:
                self.best[episode] = values

    def result(self, seed: int = 0) -> Instructed | None:
        """The lift; None: fewer than two instructions or episodes have scores."""
        episodes = [e for e, values in self.best.items() if np.isfinite(values).all()]
        if len(episodes) < 2 or len(self.goals) < 2:
            return None
        row = {episode: place for place, episode in enumerate(episodes)}
        kept = np.array([episode in row for episode in self.told[0].tolist()], bool)
        rows = np.array([row[e] for e in self.told[0][kept].tolist()], np.int64)
        goals = np.searchsorted(self.goals, self.told[1][kept])
        if len(np.unique(goals)) < 2:
            return None
        mean = _mean_ranks(np.stack([self.best[e] for e in episodes]), rows, goals)
        weight = np.bincount(goals, minlength=len(self.goals))
        used = np.flatnonzero(weight)
        mean, weight = mean[np.ix_(used, used)], weight[used] / weight.sum()
        lift = float(weight @ np.diag(mean))
        rng, places = np.random.default_rng(seed), np.arange(len(used))
        others = [weight @ mean[places, rng.permutation(places)] for _ in range(_DRAWS)]
        p = (1 + sum(other >= lift - 1e-9 for other in others)) / (1 + _DRAWS)
        return Instructed(lift, p, len(used), len(episodes))


def _mean_ranks(best: Floats, rows: Ints, goals: Ints) -> Floats:
    """(J, J) mean rank, for goal j, of the episodes that are told to reach goal i.

    Args:
        best: (E, J).
        rows: (N,) episodes of pairs.
        goals: (N,) goals of pairs, 0 to J - 1.
    """
    count = len(best)
    ranks = np.empty(best.shape, np.float64)
    for j, column in enumerate(best.T):
        ordered = np.sort(column)
        lower = np.searchsorted(ordered, column, "left")
        equal = np.searchsorted(ordered, column, "right") - lower - 1
        ranks[:, j] = (lower + equal / 2) / (count - 1)
    total = np.zeros((best.shape[1],) * 2)
    np.add.at(total, goals, ranks[rows])
    number = np.bincount(goals, minlength=best.shape[1])
    return np.asarray(total / np.maximum(number, 1)[:, None])
