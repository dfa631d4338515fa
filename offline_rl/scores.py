"""Scores of frames for goals, read from a store: those of a reward set, or of a column of truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from offline_rl.outcomes import Ints
from schemas import fields
from schemas.goal_basis import Basis, truth_values
from schemas.store import Store
from schemas.tables import matrix


def stored_scores(store: Store, basis: Basis, frame: Ints, goal: Ints) -> NDArray[np.float32]:
    """(N,) scores of frames (N,) of the store for goals (N,), read slice by slice.

    Args:
        store: of the scores.
        basis: what a dataset is made of.
        frame: rows over all slices.
        goal: places on the goal axis.
    """
    column = fields.SCORE if basis.column is None else basis.column
    found = np.empty(len(frame), np.float32)
    order = np.argsort(frame, kind="stable")
    ordered = frame[order]
    row = 0
    for piece in store.slices:
        rows = store.rows(basis.table, piece.file)
        low, high = np.searchsorted(ordered, [row, row + rows])
        own = order[low:high]
        if len(own):
            content = store.read_slices(basis.table, [piece], [column]).column(column)
            found[own] = _matrix(content, basis)[frame[own] - row, goal[own]]
        row += rows
    return found


def _matrix(content: pa.ChunkedArray, basis: Basis) -> NDArray[np.float32]:
    return matrix(content if basis.column is None else truth_values(content))
