"""The frames of a store that may be asked about: the highest scores of each goal, and a sample.

One pass over the scores. Memory is that of the sample and of the highest scores, whatever the
number of frames: some 600 MB for 1,000 goals of a million frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import (
    Evidence,
    Floats,
    Ints,
    Tell,
    apart,
    axes,
    frame_key,
    frame_keys,
    places_in,
)
from relabel.evaluation.selection import Answers, Pool
from schemas import fields
from schemas.labels import Labels
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import matrix

SAMPLE: Final = 8192  # frames drawn at random, the same for all goals
TOP: Final = 512  # frames of the highest scores, of each goal
_BATCH_SCORES: Final = 1 << 22  # read at once


@dataclass(frozen=True, eq=False)
class Candidates:
    """Frames of G goals; a frame's key is the place of its episode and its step."""

    sample: Ints  # (n,) keys, rising in the order of the store
    sample_score: Floats  # (n, G); NaN: missing, or not looked at
    top: Ints  # (m, G) keys
    top_score: Floats  # (m, G); NaN: fewer frames than m
    count: Ints  # (G,) frames that have a score; all frames, if scores were not looked at
    scored: bool  # scores were looked at

    @cached_property
    def keys(self) -> Ints:
        """(F,) of every candidate, rising: a candidate's number is its place here."""
        known = self.top[np.isfinite(self.top_score)]
        return np.unique(np.concatenate([self.sample, known]))

    def numbers(self, keys: Ints) -> Ints:
        """(k,) numbers of frames; -1: no candidate."""
        place = np.searchsorted(self.keys, keys)
        return np.where(np.isin(keys, self.keys), place, -1)

    def pool(self, goal: int) -> Pool:
        """What may be asked about for one goal."""
        sampled = np.isfinite(self.sample_score[:, goal])
        top = np.isfinite(self.top_score[:, goal])
        own = np.concatenate([self.top[top, goal], self.sample[sampled]])
        score = np.concatenate([self.top_score[top, goal], self.sample_score[sampled, goal]])
        number = int(top.sum())
        keys, first = np.unique(own, return_index=True)  # of equal ones, that among the top
        order = np.lexsort((first, -score[first]))
        chosen = first[order]
        rank = np.where(
            chosen < number,
            np.arange(1, len(chosen) + 1),
            self._rank_in_sample(goal, score[chosen], number),
        )
        rank = np.minimum(np.maximum.accumulate(rank), self.count[goal])
        episode, _ = apart(keys[order])
        frame = np.searchsorted(self.keys, keys[order])
        return Pool(
            frame, episode, score[chosen].astype(float), rank.astype(float), int(self.count[goal])
        )

    def any_pool(self, goal: int) -> Pool:
        """The sample alone, whatever its scores; of frames that have one, if any was looked at."""
        keys = self.sample
        if self.scored:
            keys = keys[np.isfinite(self.sample_score[:, goal])]
        episode, _ = apart(keys)
        none = np.zeros(len(keys))
        return Pool(np.searchsorted(self.keys, keys), episode, none, none + 1, len(keys))

    def _rank_in_sample(self, goal: int, score: Floats, top: int) -> NDArray[np.float64]:
        """(k,) how many frames of the goal score as high, judged by the sample."""
        own = self.sample_score[:, goal]
        own = np.sort(own[np.isfinite(own)])
        if not len(own):
            return np.full(len(score), top + 1.0)
        as_high = len(own) - np.searchsorted(own, score)
        return np.asarray(np.maximum(as_high * (self.count[goal] / len(own)), top + 1.0))


def read_candidates(
    store: Store,
    manifest: RewardManifest,
    goals: Sequence[int],
    *,
    seed: int = 0,
    scores: bool = True,
    tell: Tell | None = None,
) -> Candidates:
    """Looks through the frames of a reward set.

    Args:
        store: holds it.
        manifest: of the reward set.
        goals: places on the goal axis, G of them.
        seed: of the sample.
        scores: look at scores; otherwise only at which frames there are.
        tell: told how many slices were read.
    """
    files = {piece.file for piece in store.slices}
    frames = sum(f.rows for f in manifest.files if f.table == manifest.table and f.file in files)
    episode_ids, _, _ = axes(store, manifest)
    episode_of = {episode_id: place for place, episode_id in enumerate(episode_ids)}
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(frames, min(frames, SAMPLE), replace=False, shuffle=False))
    found = _Found(rows, list(goals), manifest.goals, scores)
    for done, piece in enumerate(store.slices, start=1):
        for keys, values in _batches(store, manifest, piece, episode_of, scores):
            found.add(keys, values)
        if tell is not None:
            tell(done, len(store.slices))
    return found.candidates()


def _batches(
    store: Store,
    manifest: RewardManifest,
    piece: Slice,
    episode_of: dict[str, int],
    scores: bool,
) -> Iterator[tuple[Ints, Floats | None]]:
    """Keys (b,) and scores (b, all goals) of a slice, some rows at a time."""
    columns = [fields.EPISODE_ID, fields.STEP, *([fields.SCORE] if scores else [])]
    rows = max(1, _BATCH_SCORES // max(1, manifest.goals))
    for batch in store.batches(manifest.table, piece, columns, rows=rows):
        values = matrix(batch.column(fields.SCORE)) if scores else None
        yield frame_keys(batch, episode_of), values


class _Found:
    """What came by so far."""

    def __init__(self, rows: Ints, goals: list[int], width: int, scores: bool) -> None:
        self._rows = rows
        self._goals = goals
        self._all = goals == list(range(width))
        self._seen = 0
        self._keys: list[Ints] = []
        self._scores: list[Floats] = []
        self._count = np.zeros(len(goals), np.int64)
        self._top = _Top(len(goals))
        self._looks = scores

    def add(self, keys: Ints, values: Floats | None) -> None:
        first, last = np.searchsorted(self._rows, (self._seen, self._seen + len(keys)))
        own = self._rows[first:last] - self._seen
        self._seen += len(keys)
        self._keys.append(keys[own])
        if values is None:
            self._count += len(keys)
            return
        wanted = values if self._all else values[:, self._goals]
        self._scores.append(wanted[own])
        self._count += np.isfinite(wanted).sum(axis=0)
        self._top.add(keys, wanted)

    def candidates(self) -> Candidates:
        keys = np.concatenate(self._keys) if self._keys else np.empty(0, np.int64)
        blank = np.full((len(keys), len(self._goals)), np.nan, np.float32)
        found = np.concatenate(self._scores) if self._scores else blank
        top, top_score = self._top.tables()
        return Candidates(keys, found, top, top_score, self._count, self._looks)


class _Top:
    """The highest scores of every goal so far: sorted, and what came by since and may be higher."""

    def __init__(self, goals: int) -> None:
        self._floor = np.full(goals, -np.inf, np.float32)  # of each goal, once it has TOP frames
        none = np.empty(0, np.int64)
        self._parts = [_Entries(none, none, np.empty(0, np.float32))]
        self._waiting = 0

    def add(self, keys: Ints, values: Floats) -> None:
        row, goal = np.nonzero(values > self._floor)  # NaN is not
        self._parts.append(_Entries(goal, keys[row], values[row, goal]))
        self._waiting += len(row)
        if self._waiting > TOP * len(self._floor):
            self._sort()

    def _sort(self) -> tuple[_Entries, Ints]:
        """The highest so far, goal by goal and falling, and the place of each within its goal."""
        every = _Entries.together(self._parts)
        order = np.lexsort((-every.score, every.goal))
        goal = every.goal[order]
        place = np.arange(len(goal)) - np.searchsorted(goal, goal)
        kept = order[place < TOP]
        best = _Entries(every.goal[kept], every.key[kept], every.score[kept])
        place = place[place < TOP]
        last = place == TOP - 1
        self._floor[best.goal[last]] = best.score[last]
        self._parts, self._waiting = [best], 0
        return best, place

    def tables(self) -> tuple[Ints, Floats]:
        """Keys and scores (m, G)."""
        best, place = self._sort()
        shape = (int(place.max(initial=-1)) + 1, len(self._floor))
        keys, scores = np.zeros(shape, np.int64), np.full(shape, np.nan, np.float32)
        keys[place, best.goal], scores[place, best.goal] = best.key, best.score
        return keys, scores


class _Entries(NamedTuple):
    """Frames of goals, side by side."""

    goal: Ints
    key: Ints
    score: Floats

    @classmethod
    def together(cls, parts: Sequence[_Entries]) -> _Entries:
        """One after the other."""
        return cls(
            np.concatenate([part.goal for part in parts]),
            np.concatenate([part.key for part in parts]),
            np.concatenate([part.score for part in parts]),
        )


def answers_of(evidence: Evidence, goals: Sequence[int], candidates: Candidates) -> list[Answers]:
    """Earlier labels of some goals, as `choose` takes them."""
    by_goal = {frames.goal: frames for frames in evidence if frames.goal in set(goals)}
    return [
        Answers(
            candidates.numbers(frame_key(by_goal[goal].episode, by_goal[goal].step)),
            by_goal[goal].score.astype(float),
            by_goal[goal].label,
        )
        for goal in goals
    ]


def labelled_frames(
    labels: Labels, episode_ids: Sequence[str], goal_ids: Sequence[str], candidates: Candidates
) -> list[Answers]:
    """Which frames of some goals are labelled, as `draw` takes them: no score is looked at."""
    episode = places_in(episode_ids, labels.episode_id.tolist())
    numbers = candidates.numbers(frame_key(episode, labels.step))
    none = np.empty(0)
    return [
        Answers(numbers[labels.goal_id == goal_id], none, none.astype(bool)) for goal_id in goal_ids
    ]
