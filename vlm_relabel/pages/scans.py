"""One reading of a reward set: counts, examples, and which goals are rewarded in which episode.

Rows are read some at a time, so that memory does not grow with their number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas import fields
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import matrix
from vlm_relabel.pages.examples import Extremes, Frames
from vlm_relabel.pages.grids import Grid, ScoreCounts

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Tell = Callable[[int, int], None]  # of slices: done, in all

_VALUES: Final = 1 << 20  # read at once
_SAMPLED: Final = 1 << 18  # scores that thresholds are chosen by
_SLICES: Final = 32  # that these are from, at most


@dataclass(frozen=True, eq=False)
class Scan:
    """What there is to say of a reward set without any truth."""

    frames: int  # T
    missing: Ints  # (G,) frames without a score
    rewarded: Bools  # (E, G) whether an action of the episode is rewarded
    rewards: Ints  # (G,) rewarded actions
    actions: int  # that have a reward, of any size
    tally: ScoreCounts | None  # of all scores; None: they are not stored
    own: Ints | None  # (G,) frames above the goal's own threshold
    examples: Mapping[int, dict[str, list[Any]]]  # by goal, of those that were asked for


def sample(store: Store, manifest: RewardManifest) -> Floats:
    """Some finite scores of a reward set: of the first frames of slices at equal distances."""
    pieces = store.slices[:: -(-len(store.slices) // _SLICES)]
    rows = max(1, _SAMPLED // manifest.goals // len(pieces))
    parts = [np.zeros(0, np.float32)]
    for piece in pieces:
        batches = store.batches(manifest.table, piece, [fields.SCORE], rows=rows)
        parts += [matrix(batch.column(0)).reshape(-1) for batch in itertools.islice(batches, 1)]
    found = np.concatenate(parts)
    return found[np.isfinite(found)]


def scan(
    store: Store,
    manifest: RewardManifest,
    episode_of: Mapping[str, int],
    grid: Grid | None,
    thresholds: Sequence[float | None],
    *,
    show: Sequence[int] = (),
    most: int = 8,
    tell: Tell | None = None,
) -> Scan:
    """Reads a reward set once.

    Args:
        store: holds it.
        manifest: of the reward set.
        episode_of: place of every episode of the store.
        grid: thresholds to count at; None: there are no scores.
        thresholds: G, of the goals; None: it has none.
        show: goals whose examples are wanted.
        most: examples of a kind.
        tell: told of every slice.
    """
    goals = manifest.goals
    rewarded = np.zeros((len(episode_of), goals), bool)
    rewards, missing, own = np.zeros((3, goals), np.int64)
    tally = None if grid is None else grid.tally(goals)
    limits = np.array([np.inf if t is None else t for t in thresholds], np.float32)
    per_episode = 1 + (most - 1) // max(1, len(episode_of))
    extremes = {g: Extremes(thresholds[g], most, per_episode) for g in show}
    frames = actions = 0
    for done, piece in enumerate(store.slices):
        for episode, step, scores, values in _batches(store, manifest, piece, episode_of):
            frames += len(values)
            actions += int((~np.isnan(values)).any(axis=1).sum())
            paid = values > 0
            rewards += paid.sum(axis=0)
            starts = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
            rewarded[episode[starts]] |= np.logical_or.reduceat(paid, starts, axis=0)
            if tally is not None:
                tally.add(scores)
                missing += np.isnan(scores).sum(axis=0)
                own += (scores > limits).sum(axis=0)
                for goal, found in extremes.items():
                    known = np.isfinite(scores[:, goal])
                    found.add(Frames(episode[known], step[known], scores[known, goal]))
        if tell is not None:
            tell(done + 1, len(store.slices))
    examples = {goal: found.examples for goal, found in extremes.items()}
    has_own = tally is not None and bool(np.isfinite(limits).any())
    return Scan(
        frames, missing, rewarded, rewards, actions, tally, own if has_own else None, examples
    )


def _batches(
    store: Store,
    manifest: RewardManifest,
    piece: Slice,
    episode_of: Mapping[str, int],
) -> Iterator[tuple[Ints, Ints, Floats, Floats]]:
    """Episodes (n,), steps (n,), scores and rewards (n, G) of a slice, some rows at a time."""
    columns = [fields.EPISODE_ID, fields.STEP]
    columns += [fields.SCORE] if manifest.scores else []
    columns += [fields.REWARD]
    rows = max(1, _VALUES // manifest.goals)
    for batch in store.batches(manifest.table, piece, columns, rows=rows):
        episode = places(batch.column(fields.EPISODE_ID), episode_of)
        step = batch.column(fields.STEP).to_numpy(zero_copy_only=False).astype(np.int64)
        none = np.zeros((len(batch), 0), np.float32)
        score = matrix(batch.column(fields.SCORE)) if manifest.scores else none
        yield episode, step, score, matrix(batch.column(fields.REWARD))


def places(ids: pa.Array, episode_of: Mapping[str, int]) -> Ints:
    """(n,) places of episodes, of their ids."""
    encoded = ids.dictionary_encode()
    known = [episode_of.get(name, -1) for name in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(known, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)])
