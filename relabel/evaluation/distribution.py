"""How the scores of a whole store lie: per goal a histogram of its frames, and of its episodes.

Labels are few and the store is large. What share of the frames a threshold would reward, and what
precision a calibration expects above it, is counted on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.scales import Scale, is_probability
from relabel.rewards.curves import LIMIT
from schemas import fields
from schemas.manifests import RewardManifest
from schemas.store import Store
from schemas.tables import matrix

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]
Tell = Callable[[int, int], None]  # of slices: done, in all

BINS: Final = 2048  # B; a bin is 0.016 of log-odds wide
_STANDARD: Final = 10.0  # standard deviations that the bins of other scores reach
_BATCH_SCORES: Final = 1 << 20  # read at once


@dataclass(frozen=True, eq=False)
class Distribution:
    """Counts of G goals in B bins of z. Scores beyond the ends are in the bins at the ends."""

    scale: Scale
    frames: Counts  # (G, B) frames
    episodes: Counts  # (G, B) episodes, by the highest score of their frames

    @property
    def edges(self) -> Doubles:
        """(B + 1,) z between the bins."""
        return edges_of(self.scale)

    @property
    def centres(self) -> Doubles:
        """(B,) z in the middle of the bins."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def bins(self, z: Doubles) -> NDArray[np.int64]:
        """The bin of every z, in its shape."""
        return bins_of(self.scale, z)

    def betas(self, place: NDArray[np.integer]) -> NDArray[np.float32]:
        """(G,) the score at an edge per goal: frames in bins from `place` on are above it."""
        return self.scale.scores(self.edges[place])

    def above(self) -> Counts:
        """(G, B + 1) frames in the bins from each edge on."""
        return from_top(self.frames)


def from_top(counts: NDArray[Any]) -> NDArray[Any]:
    """(..., B + 1) sums of counts (..., B) from each edge to the last bin; 0 at the last edge."""
    sums = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([sums, np.zeros_like(sums[..., :1])], axis=-1)


def edges_of(scale: Scale) -> Doubles:
    """(B + 1,) z between the bins of a scale."""
    end = LIMIT if scale.is_of_probabilities else _STANDARD
    return np.linspace(-end, end, BINS + 1)


def bins_of(scale: Scale, z: Doubles) -> NDArray[np.int64]:
    """The bin of every z, in its shape; none of them NaN."""
    edges = edges_of(scale)
    places = np.floor((z - edges[0]) * (BINS / (edges[-1] - edges[0])))
    return np.asarray(np.clip(places, 0, BINS - 1), np.int64)


def read_distribution(
    store: Store, manifest: RewardManifest, tell: Tell | None = None
) -> Distribution:
    """Reads every score of a reward set: once, or twice if they are no probabilities.

    Memory is that of the histograms, 32 KB per goal, and of one batch.

    Args:
        store: of the reward set.
        manifest: of a complete one that has scores.
        tell: told how many slices were read, and of how many.
    """
    passes = 1 if is_probability(manifest.score_range) else 2
    total, done = passes * len(store.slices), iter(range(1, passes * len(store.slices) + 1))

    def tick() -> None:
        if tell is not None:
            tell(next(done), total)

    scale = _scale(store, manifest, tick) if passes == 2 else Scale.of_probabilities(manifest.goals)
    count = _Count(scale, manifest.goals)
    for scores, steps in _batches(store, manifest, tick):
        count.add(scores, steps)
    return count.finished()


def _batches(
    store: Store, manifest: RewardManifest, tick: Callable[[], None]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Scores (n, G) and steps (n,), some frames at a time, in order."""
    rows = max(1, _BATCH_SCORES // manifest.goals)
    columns = [fields.STEP, fields.SCORE]
    for piece in store.slices:
        for batch in store.batches(manifest.table, piece, columns, rows=rows):
            yield matrix(batch.column(fields.SCORE)), batch.column(fields.STEP).to_numpy()
        tick()


def _scale(store: Store, manifest: RewardManifest, tick: Callable[[], None]) -> Scale:
    """Mean and standard deviation of each goal's scores."""
    count = np.zeros(manifest.goals)
    total, squares = np.zeros(manifest.goals), np.zeros(manifest.goals)
    for scores, _ in _batches(store, manifest, tick):
        values = np.nan_to_num(scores.astype(np.float64))
        count += (~np.isnan(scores)).sum(axis=0)
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
    known = np.maximum(count, 1)
    mean = total / known
    spread = squares / known - mean**2
    return Scale.standard(mean, np.sqrt(np.where(spread > 1e-12, spread, 0)))


class _Count:
    """Fills the histograms, batch by batch; an episode may lie in several of them."""

    def __init__(self, scale: Scale, goals: int) -> None:
        self._scale = scale
        self._offset = np.arange(goals) * BINS
        self._frames = np.zeros(goals * BINS, np.int64)
        self._episodes = np.zeros(goals * BINS, np.int64)
        self._highest = np.full(goals, -1, np.int64)  # bin, of the episode that is open

    def add(self, scores: NDArray[np.float32], steps: NDArray[np.int32]) -> None:
        """Counts some more frames."""
        if not len(scores):
            return
        z = self._scale.z(scores, slice(None))
        missing = np.isnan(z)
        places = bins_of(self._scale, np.where(missing, 0.0, z))
        flat = places + self._offset
        known = flat.ravel() if not missing.any() else flat[~missing]
        self._frames += np.bincount(known, minlength=len(self._frames))
        places[missing] = -1
        self._add_episodes(places, np.flatnonzero(steps == 0))

    def finished(self) -> Distribution:
        """The histograms of all that was added."""
        self._close(self._highest[None])
        shape = (len(self._offset), BINS)
        return Distribution(self._scale, self._frames.reshape(shape), self._episodes.reshape(shape))

    def _add_episodes(self, places: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        parts = np.unique(np.append(0, starts))
        highest = np.maximum.reduceat(places, parts, axis=0)
        if not len(starts) or starts[0] > 0:  # the first rows go on with the open episode
            highest[0] = np.maximum(highest[0], self._highest)
        else:
            self._close(self._highest[None])
        self._close(highest[:-1])
        self._highest = highest[-1]

    def _close(self, highest: NDArray[np.int64]) -> None:
        flat = (highest + self._offset)[highest >= 0]
        self._episodes += np.bincount(flat, minlength=len(self._episodes))
