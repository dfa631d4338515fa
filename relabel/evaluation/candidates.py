"""The frames of a store that may be asked about: the highest scores of each goal, and a sample.

One pass over the scores. Memory is that of the sample and of the highest scores, whatever the
number of frames: 1,000 goals take some 50 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

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
        if len(self.top):
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
        self._top = np.empty((0, len(goals)), np.int64)
        self._top_score = np.empty((0, len(goals)), np.float32)
        self._count = np.zeros(len(goals), np.int64)
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
        self._raise_top(keys, wanted)

    def _raise_top(self, keys: Ints, values: Floats) -> None:
        tall = np.concatenate([self._top_score, values])
        every = np.concatenate(
            [self._top, np.broadcast_to(keys[:, None], (len(keys), len(self._goals)))]
        )
        if len(tall) > TOP:
            key = np.where(np.isfinite(tall), -tall, np.float32(np.inf))
            best = np.argpartition(key, TOP - 1, axis=0)[:TOP]
            best.sort(axis=0)  # in the order of the store
            tall, every = (np.take_along_axis(a, best, axis=0) for a in (tall, every))
        self._top, self._top_score = every, tall

    def candidates(self) -> Candidates:
        keys = np.concatenate(self._keys) if self._keys else np.empty(0, np.int64)
        width = len(self._goals)
        blank = np.full((len(keys), width), np.nan, np.float32)
        found = np.concatenate(self._scores) if self._scores else blank
        return Candidates(
            keys, found if self._looks else blank, self._top, self._top_score, self._count
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
