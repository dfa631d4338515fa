"""Which labels are fitted to, and which are kept aside to see how well the fit does.

    cross-validation    episodes are dealt into folds; each fold is judged by a fit to the others
    a column of flags   frames where it is true are judged, and never fitted to

An episode's frames are alike, so an episode is never on both sides of cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import Evidence, GoalFrames, flag_column, frame_key
from schemas import fields
from schemas.store import Store
from schemas.tables import flags

Ints = NDArray[np.int64]

FOLDS: Final = 5  # at most
FITTED: Final = -1  # fold of frames that are not judged


@dataclass(frozen=True, eq=False)
class Folds:
    """The fold of every frame."""

    how: str  # for people
    count: int  # K of judged frames; 0: none is judged
    of_episode: Ints  # (E,) fold; FITTED of all episodes that have no label
    tested: Ints | None = None  # rising keys of frames that are judged, all others are fitted to

    def of(self, frames: GoalFrames) -> Ints:
        """(n,) fold of each frame, FITTED for those that are not judged."""
        if self.tested is None:
            return np.asarray(self.of_episode[frames.episode])
        keys = frame_key(frames.episode, frames.step)
        return np.where(np.isin(keys, self.tested), 0, FITTED)

    def fitted(self, fold: int) -> tuple[int, ...]:
        """Folds of the frames that the judge of a fold is fitted to."""
        return (FITTED, *(other for other in range(self.count) if other != fold))

    @property
    def final(self) -> tuple[int, ...]:
        """Folds that the calibration itself is fitted to: all, but not what a column sets aside."""
        return (FITTED,) if self.tested is not None else (FITTED, *range(self.count))


def dealt(evidence: Evidence, seed: int = 0) -> Folds:
    """Folds of cross-validation: the episodes that have labels, dealt at random."""
    known = np.full(len(evidence.episode_ids), "field" in evidence.source)
    for frames in evidence if not known.all() else ():
        known[frames.episode] = True
    places = np.random.default_rng(seed).permutation(np.flatnonzero(known))
    of_episode = np.full(len(known), FITTED, np.int64)
    count = min(FOLDS, len(places))
    if count < 2:
        return Folds("not at all: labels of one episode alone cannot be judged", 0, of_episode)
    of_episode[places] = np.arange(len(places)) % count
    return Folds(f"{count}-fold cross-validation over episodes", count, of_episode)


def set_aside(store: Store, evidence: Evidence, column: str) -> Folds:
    """Frames where a column of flags is true are judged, and all others fitted to.

    Raises:
        StoreError: no such column.
    """
    flag_column(store, column)
    place = {episode_id: i for i, episode_id in enumerate(evidence.episode_ids)}
    keys = [np.zeros(0, np.int64)]
    for piece in store.slices:
        table = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP, column])
        table = table.filter(flags(table.column(column)))
        episode = np.array([place[i] for i in table.column(fields.EPISODE_ID).to_pylist()], int)
        keys.append(frame_key(episode, table.column(fields.STEP).to_numpy()))
    none = np.full(len(place), FITTED, np.int64)
    how = f"frames where {column} is true, which were not fitted to"
    return Folds(how, 1, none, np.unique(np.concatenate(keys)))
