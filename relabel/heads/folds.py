"""Which labels of a goal are left out together."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

FOLDS = 4

Grouping = Literal["episodes", "frames"]


def folds_of(
    label: NDArray[np.bool_], episode: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Grouping] | None:
    """Parts of a goal's labels; without any one part both yes and no are left.

    Frames of one episode are alike, so they are left out together, if that is possible: if not, as
    where all positives are of one episode, each frame is by itself.

    Args:
        label: (n,).
        episode: (n,) a number for each episode.

    Returns:
        (n,) number of each label's part, and what was kept together; None: too few labels.
    """
    groupings: tuple[tuple[Grouping, NDArray[np.int64]], ...] = (
        ("episodes", episode),
        ("frames", np.arange(len(label))),
    )
    for name, group in groupings:
        fold = _dealt(label, group)
        if all(_has_both(label[fold != part]) for part in np.unique(fold)) and fold.any():
            return fold, name
    return None


def _dealt(label: NDArray[np.bool_], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups dealt out in turn, those with most positives first."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    positives = np.bincount(inverse, weights=label)
    order = np.lexsort((first, -positives))
    part = np.empty(len(order), np.int64)
    part[order] = np.arange(len(order)) % FOLDS
    return np.asarray(part[inverse])


def _has_both(label: NDArray[np.bool_]) -> bool:
    return bool(label.any() and not label.all())
