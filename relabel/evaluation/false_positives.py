"""Where goals claim frames that they do not hold at, kind by kind.

Every frame at which a goal is known not to hold is of one of three kinds:

    absent    of an episode in which the goal is not known to hold at any frame
    before    of an episode in which it holds, before the first frame that shows it
    after     likewise, after it

    holds     . . . . X X . .      claims     . X . . X X X .
    kind      b b b b     a a      false        b         a
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.claims import Bounds
from relabel.evaluation.evidence import Bools, GoalFrames, Ints

KINDS: Final = ("absent", "before", "after")


class FalsePositives:
    """Of G goals and three kinds, in the order of `KINDS`, of the frames that were added.

    Attributes:
        frames: (G, 3) at which the goal does not hold.
        claimed: (G, 3) of these, claimed: false positives.
        episodes: (G, 3) episodes that have such a frame.
        fooled: (G, 3) of these, those with a false positive.
        positives: (G,) frames at which the goal holds.
        hits: (G,) of these, claimed.

    Args:
        bounds: what a goal claims a frame above.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        goals = len(bounds.above)
        shape = (4, goals, len(KINDS))
        self.frames, self.claimed, self.episodes, self.fooled = np.zeros(shape, np.int64)
        self.positives, self.hits = np.zeros((2, goals), np.int64)

    def add(self, frames: GoalFrames) -> None:
        """Looks at the frames of a goal."""
        goal = frames.goal
        claimed = frames.score > self._bounds.above[goal]
        kinds = _kinds(frames)
        for kind in range(len(KINDS)):
            rows = kinds == kind
            wrong = frames.episode[rows & claimed]
            self.frames[goal, kind] = rows.sum()
            self.claimed[goal, kind] = len(wrong)
            self.episodes[goal, kind] = _distinct(frames.episode[rows])
            self.fooled[goal, kind] = _distinct(wrong)
        self.positives[goal] = frames.label.sum()
        self.hits[goal] = (frames.label & claimed).sum()

    @property
    def known(self) -> Ints:
        """(G,) frames of which the truth is known."""
        return np.asarray(self.frames.sum(axis=1) + self.positives)


def _kinds(frames: GoalFrames) -> Ints:
    """(n,) place in `KINDS`; -1: the goal holds."""
    episodes, place = np.unique(frames.episode, return_inverse=True)
    never = np.iinfo(np.int64).max
    first = np.full(len(episodes), never)
    np.minimum.at(first, place[frames.label], frames.step[frames.label])
    own = first[place]
    kinds = np.where(own == never, 0, np.where(frames.step < own, 1, 2))
    return np.where(frames.label, -1, kinds)


def _distinct(values: Ints) -> int:
    return len(np.unique(values))


# --- goals that are nearly the same -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NearMisses:
    """Frames at which another goal holds, one word away, and this one does not."""

    frames: Ints  # (N,) of each of N kinds of swaps
    claimed: Ints  # (N,) of these, claimed all the same
    others: int  # frames at which neither holds
    others_claimed: int


class TruthBits:
    """What is known of every frame, as bits: three for each frame and goal.

    Args:
        bounds: what a goal claims a frame above.
        lengths: (E,) frames of each episode.
    """

    def __init__(self, bounds: Bounds, lengths: Ints) -> None:
        self._bounds = bounds
        self._start = np.cumsum(lengths) - lengths
        self._frames = int(lengths.sum())
        shape = (3, len(bounds.above), -(-self._frames // 8))
        self._holds, self._fails, self._claims = np.zeros(shape, np.uint8)

    def add(self, frames: GoalFrames) -> None:
        """Looks at the frames of a goal."""
        rows, goal = self._start[frames.episode] + frames.step, frames.goal
        claimed = frames.score > self._bounds.above[goal]
        self._holds[goal] = self._bits(rows[frames.label])
        self._fails[goal] = self._bits(rows[~frames.label])
        self._claims[goal] = self._bits(rows[claimed])

    def _bits(self, rows: Ints) -> NDArray[np.uint8]:
        mask = np.zeros(self._frames, bool)
        mask[rows] = True
        return np.packbits(mask)

    def near_misses(self, neighbours: Sequence[Bools]) -> NearMisses:
        """Whether goals claim frames that show their neighbours.

        Args:
            neighbours: N times (G, G): j is one swap of that kind away from i.
        """
        counts, others = np.zeros((2, len(neighbours)), np.int64), np.zeros(2, np.int64)
        for goal in np.flatnonzero(np.any([pairs.any(axis=1) for pairs in neighbours], axis=0)):
            fails, claims = self._fails[goal], self._claims[goal]
            near = np.zeros_like(fails)
            for kind, pairs in enumerate(neighbours):
                own = np.bitwise_or.reduce(self._holds[pairs[goal]], axis=0, initial=0) & fails
                counts[:, kind] += _count(own), _count(own & claims)
                near |= own
            others += _count(fails & ~near), _count(fails & ~near & claims)
        return NearMisses(counts[0], counts[1], int(others[0]), int(others[1]))


def _count(bits: NDArray[np.uint8]) -> int:
    return int(np.bitwise_count(bits).sum(dtype=np.int64))
