"""The confusion of goals and episodes: does goal i claim frames in episodes of goal j?

share[i, j]    j: whose episodes     find the ball    find the box    lift the ball
i: claims
find the ball                              0.98             0.03            0.61
find the box                               0.02             0.99            0.00
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.claims import (
    Bounds,
    ClaimBlock,
    bounds_of,
    claim_blocks,
    places_with_frames,
)
from relabel.evaluation.commanded import commanded_goals
from relabel.evaluation.evidence import Bools, Evidence, Floats, GoalFrames, Ints, Tell, axes
from schemas.store import Store

Basis = Literal["truth", "commands", "claims"]
_CHUNK: Final = 8192  # episodes that are counted at once


@dataclass(frozen=True, eq=False)
class Confusion:
    """What G goals do in each other's episodes: row i is who claims, column j whose episodes.

    A goal claims a frame if its score is above its bound. Which are the episodes of goal j, and
    which frames are looked at, depends on what is known:

        basis        episodes of goal j                     frames of goal i that are looked at
        "truth"      goal j holds at a frame, as labels     i is not j: frames where goal i is known
                     or the column of truth say             not to hold; i is j: where it holds
        "commands"   their instruction names goal j         all that have a score
        "claims"     goal j claims a frame of them          all that have a score

    So with truth, share[i, j] off the diagonal holds false positives alone, and share[j, j] is the
    share of successful episodes in which the success was seen. Without truth, goal i may really
    have been reached in an episode of goal j.
    """

    basis: Basis
    goal_ids: tuple[str, ...]  # G
    families: tuple[str, ...]  # G
    episodes: NDArray[np.int64]  # (G, G) episodes of goal j that have a frame of i to be looked at
    share: Floats  # (G, G) of these: goal i claims such a frame. NaN without any
    rise: Floats  # (G, G) of these: likewise, but does not claim the first one of them
    bounds: Bounds

    def worst(self, least: int = 1) -> list[tuple[int, int]]:
        """Places (i, j), i not j, by share, then by episodes; highest first, none of share 0.

        Args:
            least: episodes that there must be.
        """
        wrong = (self.episodes >= least) & (np.nan_to_num(self.share) > 0)
        np.fill_diagonal(wrong, False)
        i, j = np.nonzero(wrong)
        order = np.lexsort((-self.episodes[i, j], -self.share[i, j]))
        return list(zip(i[order].tolist(), j[order].tolist(), strict=True))


def confusion(
    store: Store,
    rewards: str,
    evidence: Evidence | None = None,
    *,
    above: float | None = None,
    tell: Tell | None = None,
) -> Confusion:
    """The confusion matrix of a reward set.

    Its basis is the truth, if there is evidence; else the instructions of the episodes, if one of
    them names a goal of the set; else the rewards themselves. Memory: E * G / 2 bytes of E
    episodes, and 12 bytes of each of the G * G pairs, beside a block of frames.

    Args:
        store: holds the reward set.
        rewards: its name.
        evidence: of the same reward set; None: nothing is known.
        above: what a goal claims a frame above; None: its threshold (`claims.bounds_of`).
        tell: told how many slices were read; with evidence, evidence tells.

    Raises:
        StoreError: no such reward set, or it is unfinished or damaged.
    """
    bounds = bounds_of(store, rewards, above)
    if evidence is not None:
        of_truth = TruthConfusion(evidence, bounds)
        for frames in evidence:
            of_truth.add(frames)
        return of_truth.result()
    of_claims = ClaimsConfusion(store, rewards, bounds, commanded_goals(store, rewards))
    for block in claim_blocks(store, rewards, bounds, tell):
        of_claims.add(block)
    return of_claims.result()


@dataclass(eq=False)
class _EpisodeSets:
    """Per goal some sets of episodes, as bits (E, G / 8)."""

    goals: int
    positive: NDArray[np.uint8]  # episodes of the goal
    known: NDArray[np.uint8]  # that have a frame of the goal to be looked at
    claimed: NDArray[np.uint8]  # such a frame is claimed
    rising: NDArray[np.uint8]  # likewise, but not the first one

    @classmethod
    def none(cls, episodes: int, goals: int) -> _EpisodeSets:
        def empty() -> NDArray[np.uint8]:
            return np.zeros((episodes, -(-goals // 8)), np.uint8)

        return cls(goals, empty(), empty(), empty(), empty())

    def put(self, name: str, episodes: Ints, goals: Ints) -> None:
        """Adds pairs of an episode and a goal."""
        bits: NDArray[np.uint8] = getattr(self, name)
        np.bitwise_or.at(bits, (episodes, goals >> 3), (128 >> (goals & 7)).astype(np.uint8))

    def rows(self, name: str, start: int) -> Floats:
        """(n, G) of the episodes from `start` on: 1 where they are in the goal's set."""
        bits = getattr(self, name)[start : start + _CHUNK]
        return np.unpackbits(bits, axis=1, count=self.goals).astype(np.float32)

    def counts(self, name: str) -> Ints:
        """(G,) episodes in each goal's set."""
        starts = range(0, len(self.positive), _CHUNK)
        none = np.zeros(self.goals, np.int64)
        return sum((self.rows(name, s).sum(axis=0).astype(np.int64) for s in starts), none)


class TruthConfusion:
    """A confusion matrix that is made while evidence is gone through.

    Args:
        evidence: whose frames are added; it is not gone through here.
        bounds: what a goal claims a frame above.
    """

    def __init__(self, evidence: Evidence, bounds: Bounds) -> None:
        goals = len(evidence.goal_ids)
        self._bounds = bounds
        self._ids = evidence.goal_ids, evidence.families
        self._sets = _EpisodeSets.none(len(evidence.episode_ids), goals)
        self._own = np.full((2, goals), np.nan, np.float32)  # share and rise of the diagonal

    def add(self, frames: GoalFrames) -> None:
        """Looks at the frames of a goal."""
        goal, claimed = frames.goal, frames.score > self._bounds.above[frames.goal]
        wrong, right = (
            _episodes(frames, claimed, frames.label == label) for label in (False, True)
        )
        for name, own in zip(("known", "claimed", "rising"), wrong, strict=True):
            self._sets.put(name, own, np.full(len(own), goal))
        self._sets.put("positive", right[0], np.full(len(right[0]), goal))
        if len(right[0]):
            self._own[:, goal] = [len(own) / len(right[0]) for own in right[1:]]

    def result(self) -> Confusion:
        """Of the frames that were added."""
        counted = _counted(self._sets, "truth", self._ids, self._bounds)
        for matrix, own in zip((counted.share, counted.rise), self._own, strict=True):
            np.fill_diagonal(matrix, own)
        np.fill_diagonal(counted.episodes, self._sets.counts("positive"))
        return counted


def _episodes(frames: GoalFrames, claimed: Bools, rows: Bools) -> tuple[Ints, Ints, Ints]:
    """Episodes of some frames: all, those with a claim, and those that begin without one."""
    order = np.lexsort((frames.step[rows], frames.episode[rows]))
    episode, own = frames.episode[rows][order], claimed[rows][order]
    known, first = np.unique(episode, return_index=True)
    if not len(known):
        return known, known, known
    reached = np.logical_or.reduceat(own, first)
    return known, known[reached], known[reached & ~own[first]]


class ClaimsConfusion:
    """A confusion matrix that is made while a reward set is read, without truth.

    Args:
        store: holds the reward set.
        rewards: its name.
        bounds: what a goal claims a frame above.
        told: of `commanded_goals`; the episodes of a goal are those, if there are any.
    """

    def __init__(self, store: Store, rewards: str, bounds: Bounds, told: tuple[Ints, Ints]) -> None:
        self._bounds, self._told = bounds, told
        episode_ids, *self._ids = axes(store, store.rewards(rewards))
        self._places = places_with_frames(store)
        self._sets = _EpisodeSets.none(len(episode_ids), len(self._ids[0]))

    def add(self, block: ClaimBlock) -> None:
        """Looks at the frames of a block."""
        own = self._places[block.first : block.first + len(block.lengths)]
        at = block.known
        known = np.logical_or.reduceat(at, block.starts, axis=0)
        claimed = np.logical_or.reduceat(block.claimed, block.starts, axis=0)
        rising = claimed & ~_at_first(block.claimed, at, block.starts)
        self._sets.positive[own] = self._sets.claimed[own] = np.packbits(claimed, axis=1)
        self._sets.known[own] = np.packbits(known, axis=1)
        self._sets.rising[own] = np.packbits(rising, axis=1)

    def result(self) -> Confusion:
        """Of the frames that were added."""
        basis: Basis = "commands" if len(self._told[0]) else "claims"
        if basis == "commands":
            self._sets.positive[:] = 0
            self._sets.put("positive", *self._told)
        ids, families = self._ids
        return _counted(self._sets, basis, (ids, families), self._bounds)


def _at_first(claimed: Bools, known: Bools, starts: Ints) -> Bools:
    """(e, G) whether the first frame of each episode that has a score is claimed."""
    rows = np.where(known, np.arange(len(known))[:, None], len(known) - 1)
    first = np.minimum.reduceat(rows, starts, axis=0)
    return np.asarray(np.take_along_axis(claimed, first, axis=0))


def _counted(
    sets: _EpisodeSets,
    basis: Basis,
    ids: tuple[tuple[str, ...], tuple[str, ...]],
    bounds: Bounds,
) -> Confusion:
    """Pairs of goals, from sets of episodes."""
    counts = np.zeros((3, sets.goals, sets.goals), np.float64)
    for start in range(0, len(sets.positive), _CHUNK):
        positive = sets.rows("positive", start)
        for count, name in zip(counts, ("known", "claimed", "rising"), strict=True):
            count += sets.rows(name, start).T @ positive
    known, claimed, rising = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        share, rise = ((of / known).astype(np.float32) for of in (claimed, rising))
    return Confusion(basis, ids[0], ids[1], known.astype(np.int64), share, rise, bounds)
