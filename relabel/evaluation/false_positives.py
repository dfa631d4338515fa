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

from relabel.evaluation.claims import Bounds
from relabel.evaluation.evidence import Bools, Evidence, GoalFrames, Ints

KINDS: Final = ("absent", "before", "after")


@dataclass(frozen=True, eq=False)
class FalsePositives:
    """Of G goals and three kinds, in the order of `KINDS`."""

    frames: Ints  # (G, 3) at which the goal does not hold
    claimed: Ints  # (G, 3) of these, claimed: false positives
    episodes: Ints  # (G, 3) episodes that have such a frame
    fooled: Ints  # (G, 3) of these, those with a false positive
    positives: Ints  # (G,) frames at which the goal holds
    hits: Ints  # (G,) of these, claimed

    @property
    def known(self) -> Ints:
        """(G,) frames of which the truth is known."""
        return np.asarray(self.frames.sum(axis=1) + self.positives)


def false_positives(evidence: Evidence, bounds: Bounds) -> FalsePositives:
    """Counts them, goal by goal.

    Args:
        evidence: what is known.
        bounds: what a goal claims a frame above.
    """
    goals = len(evidence.goal_ids)
    counts = np.zeros((4, goals, len(KINDS)), np.int64)
    right = np.zeros((2, goals), np.int64)
    for frames in evidence:
        claimed = frames.score > bounds.above[frames.goal]
        kinds = _kinds(frames)
        for kind in range(len(KINDS)):
            rows = kinds == kind
            wrong = frames.episode[rows & claimed]
            figures = (rows.sum(), len(wrong), _distinct(frames.episode[rows]), _distinct(wrong))
            counts[:, frames.goal, kind] = figures
        right[:, frames.goal] = frames.label.sum(), (frames.label & claimed).sum()
    return FalsePositives(*counts, *right)


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


def near_misses(
    evidence: Evidence, bounds: Bounds, neighbours: Sequence[Bools], lengths: Ints
) -> NearMisses:
    """Whether a goal claims frames that show its neighbour.

    Memory: one bit per frame and goal.

    Args:
        evidence: what is known.
        bounds: what a goal claims a frame above.
        neighbours: N times (G, G): j is one swap of that kind away from i.
        lengths: (E,) frames of each episode.
    """
    start = np.cumsum(lengths) - lengths
    goals = len(evidence.goal_ids)
    holds = np.zeros((-(-goals // 8), int(lengths.sum())), np.uint8)
    for frames in evidence:
        rows = start[frames.episode] + frames.step
        holds[frames.goal >> 3, rows[frames.label]] |= np.uint8(128 >> (frames.goal & 7))
    masks = [np.packbits(pairs, axis=1) for pairs in neighbours]  # (G, G / 8)
    counts, others = np.zeros((2, len(masks)), np.int64), np.zeros(2, np.int64)
    for frames in evidence:
        rows = (start[frames.episode] + frames.step)[~frames.label]
        claimed = frames.score[~frames.label] > bounds.above[frames.goal]
        near = np.zeros(len(rows), bool)
        for kind, mask in enumerate(masks):
            own = np.zeros(len(rows), bool)
            for byte in np.flatnonzero(mask[frames.goal]):
                own |= (holds[byte, rows] & mask[frames.goal, byte]) > 0
            counts[:, kind] += own.sum(), (own & claimed).sum()
            near |= own
        if any(mask[frames.goal].any() for mask in masks):
            others += (~near).sum(), (~near & claimed).sum()
    return NearMisses(counts[0], counts[1], int(others[0]), int(others[1]))
