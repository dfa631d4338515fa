"""`window-mean`: a reward function that sees the mean of the last frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from relabel.rewards.base import Floats
from relabel.rewards.wrapper import Wrapper

Embeddings = NDArray[np.floating]


class WindowMean(Wrapper, name="window-mean"):
    """Score and reward of `of`, seen by the mean embedding of the last `window` frames.

        f'_t = m / ||m||,   m = mean of f_{t-k+1}, ..., f_t within the episode

    with the embeddings f of frames, (D,), of unit norm. An episode's first frames have fewer to
    look back on. A smoothing of our own, from no paper.
    """

    window: int = Field(ge=1, description="a whole number >= 1")  # k

    @property
    def frames_seen(self) -> int:
        """k."""
        return self.window


def windowed(embeddings: Embeddings, ages: NDArray[np.int64], rows: slice, frames: int) -> Floats:
    """(n, D) normalised mean of the last `frames` embeddings of the same episode, per row.

    A running total would be faster for long windows, but would carry rounding, and a NaN,
    from one row to all later ones. A mean of norm 0 has no direction: NaN.
    """
    if frames == 1:
        return embeddings[rows].astype(np.float32)  # exactly the frame itself
    total = embeddings[rows].astype(np.float64)
    index = np.arange(rows.start, rows.stop)
    for back in range(1, min(frames, int(ages[rows].max()) + 1)):
        old = np.flatnonzero(ages[rows] >= back)
        total[old] += embeddings[index[old] - back]
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    unit = np.divide(total, norms, out=np.full_like(total, np.nan), where=norms > 0)
    return np.asarray(unit, dtype=np.float32)
