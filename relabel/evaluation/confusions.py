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

from relabel.evaluation.claims import Bounds, bounds_of, claim_blocks, places_with_frames
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
    ids = axes(store, store.rewards(rewards))
    if evidence is not None:
        sets, hits, rising = _by_truth(evidence, bounds)
        counted = _counted(sets, "truth", ids, bounds)
        for matrix, own in ((counted.share, hits), (counted.rise, rising)):
            np.fill_diagonal(matrix, own)
        np.fill_diagonal(counted.episodes, sets.counts("positive"))
        return counted
    sets = _by_claims(store, rewards, bounds, tell)
    pairs = commanded_goals(store, rewards)
    if len(pairs[0]):
        sets.positive[:] = 0
        sets.put("positive", *pairs)
        return _counted(sets, "commands", ids, bounds)
    return _counted(sets, "claims", ids, bounds)


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


def _by_truth(evidence: Evidence, bounds: Bounds) -> tuple[_EpisodeSets, Floats, Floats]:
    """Sets of episodes; (G,) share of each goal's in which it was seen, and seen to rise."""
    goals = len(evidence.goal_ids)
    sets = _EpisodeSets.none(len(evidence.episode_ids), goals)
    shares = np.full((2, goals), np.nan, np.float32)
    for frames in evidence:
        claimed = frames.score > bounds.above[frames.goal]
        wrong, right = (
            _episodes(frames, claimed, frames.label == label) for label in (False, True)
        )
        for name, own in zip(("known", "claimed", "rising"), wrong, strict=True):
            sets.put(name, own, np.full(len(own), frames.goal))
        sets.put("positive", right[0], np.full(len(right[0]), frames.goal))
        if len(right[0]):
            shares[:, frames.goal] = [len(own) / len(right[0]) for own in right[1:]]
    return sets, shares[0], shares[1]


def _episodes(frames: GoalFrames, claimed: Bools, rows: Bools) -> tuple[Ints, Ints, Ints]:
    """Episodes of some frames: all, those with a claim, and those that begin without one."""
    order = np.lexsort((frames.step[rows], frames.episode[rows]))
    episode, own = frames.episode[rows][order], claimed[rows][order]
    known, first = np.unique(episode, return_index=True)
    if not len(known):
        return known, known, known
    reached = np.logical_or.reduceat(own, first)
    return known, known[reached], known[reached & ~own[first]]


def _by_claims(store: Store, rewards: str, bounds: Bounds, tell: Tell | None) -> _EpisodeSets:
    """Sets of episodes, where the episodes of a goal are those that it claims a frame of."""
    places = places_with_frames(store)
    episodes = store.read("episodes", ["episode_id"]).num_rows
    sets = _EpisodeSets.none(episodes, store.rewards(rewards).goals)
    for block in claim_blocks(store, rewards, bounds, tell):
        own = places[block.first : block.first + len(block.lengths)]
        at = block.known
        known = np.logical_or.reduceat(at, block.starts, axis=0)
        claimed = np.logical_or.reduceat(block.claimed, block.starts, axis=0)
        rising = claimed & ~_at_first(block.claimed, at, block.starts)
        for name, found in zip(
            ("positive", "known", "claimed", "rising"),
            (claimed, known, claimed, rising),
            strict=True,
        ):
            getattr(sets, name)[own] = np.packbits(found, axis=1)
    return sets


def _at_first(claimed: Bools, known: Bools, starts: Ints) -> Bools:
    """(e, G) whether the first frame of each episode that has a score is claimed."""
    rows = np.where(known, np.arange(len(known))[:, None], len(known) - 1)
    first = np.minimum.reduceat(rows, starts, axis=0)
    return np.asarray(np.take_along_axis(claimed, first, axis=0))


def _counted(
    sets: _EpisodeSets,
    basis: Basis,
    ids: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
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
    return Confusion(basis, ids[1], ids[2], known.astype(np.int64), share, rise, bounds)
