"""Which transitions of some trajectories reach their goal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offline_rl.outcomes import Ints, Trajectories
from schemas import fields
from schemas.goal_basis import basis
from schemas.goal_datasets import GoalDatasetManifest
from schemas.store import Store
from schemas.tables import matrix

Bools = NDArray[np.bool_]


def reached(store: Store, dataset: GoalDatasetManifest, rows: Trajectories) -> Bools:
    """Whether each transition is a success, as `build-goals` understands it.

    Of a potential difference the score of the next frame decides, which is read from the store:
    what an action added says nothing about where it led.

    Args:
        store: of the dataset.
        dataset: its manifest.
        rows: trajectories of it, over the frames of the whole store.

    Returns:
        (N,) for the transitions, trajectory after trajectory.
    """
    made_of = basis(store, dataset)
    if made_of.binary:
        return rows.rewards >= 1 + dataset.options.step_reward
    above = np.float32(made_of.above)
    if not made_of.difference:
        return rows.rewards > above
    within = np.arange(len(rows.rewards)) - np.repeat(rows.offset, rows.count)
    frame = np.repeat(rows.first, rows.count) + within + 1
    scores = _scores(store, made_of.table, frame, np.repeat(rows.goal, rows.count))
    found: Bools = scores > above
    return found


def _scores(store: Store, table: str, frame: Ints, goal: Ints) -> NDArray[np.float32]:
    """(N,) scores of frames of the store for goals, read slice by slice."""
    found = np.empty(len(frame), np.float32)
    order = np.argsort(frame, kind="stable")
    row = 0
    for piece in store.slices:
        rows = store.rows(table, piece.file)
        low, high = np.searchsorted(frame[order], [row, row + rows])
        own = order[low:high]
        if len(own):
            column = store.read_slices(table, [piece], [fields.SCORE]).column(fields.SCORE)
            found[own] = matrix(column)[frame[own] - row, goal[own]]
        row += rows
    return found
