"""Frames of a batch, in one pass over memory that is used again."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Gatherer:
    """Puts frames and what lies some steps behind them side by side.

    Args:
        frames: (F, D) float32, in memory or memory-mapped.
        width: of what is put behind each frame.
    """

    def __init__(self, frames: Floats, width: int) -> None:
        self._frames = np.ascontiguousarray(frames)
        self._tensor = _tensor(self._frames)
        self._pairs = _pairs(self._frames)
        self._pool = _Pool()
        self._width = width

    def pairs(self, frame: Ints, interval: Ints, behind: Floats | None) -> Floats:
        """(n, 2, D + width) for frames (n,), and those `interval` (n,) later.

        Args:
            frame: rows of the frames.
            interval: steps; where they lead beyond the last frame, any frame is taken.
            behind: (n, width) put behind both; None for none.
        """
        depth = self._frames.shape[1]
        pairs = self._pool.array((len(frame), 2, depth + self._width))
        seen = pairs[..., :depth]
        if (interval == 1).all():
            self._adjacent(frame, seen)
        else:
            rows = np.stack([frame, np.minimum(frame + interval, len(self._frames) - 1)], axis=1)
            flat = pairs.reshape(2 * len(frame), -1)[:, :depth]
            _gather(self._tensor, rows.reshape(-1), flat)
        if behind is not None:
            pairs[..., depth:] = behind[:, None]
        return pairs

    def _adjacent(self, frame: Ints, out: Floats) -> None:
        # The very last frame is the second one of the last pair.
        _gather(self._pairs, np.minimum(frame, len(self._pairs) - 1), out)
        if len(last := (frame == len(self._pairs)).nonzero()[0]):
            out[last, 0] = self._frames[-1]


def _tensor(frames: Floats) -> torch.Tensor:
    with warnings.catch_warnings():  # a memory map may not be written, which torch warns of
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(frames)


def _pairs(frames: Floats) -> torch.Tensor:
    """(F - 1, 2, D): every frame with the one behind it, in the same memory, for reading only."""
    tensor = _tensor(frames if len(frames) > 1 else np.repeat(frames, 2, axis=0))
    count, width = tensor.shape
    return tensor.as_strided((count - 1, 2, width), (width, width, 1))


def _gather(source: torch.Tensor, rows: Ints, out: Floats) -> None:
    """`out[:] = source[rows]` in one pass; NumPy needs a second one where `out` has gaps.

    On one thread: the rows are memory traffic, and waking another core costs more.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.index_select(source, 0, torch.from_numpy(rows), out=torch.from_numpy(out))
    finally:
        torch.set_num_threads(threads)


class _Pool:
    """Arrays that are handed out again once nobody holds them or a view of them.

    A batch of a megabyte in fresh memory costs three times as much as in pages that are mapped
    already; the C library gives such blocks back to the system at every turn.
    """

    _MOST = 4  # arrays kept; a caller that holds more gets fresh ones
    _UNUSED = 2  # references to an array that only the pool holds: the list's and the probe's

    def __init__(self) -> None:
        self._arrays: list[Floats] = []

    def array(self, shape: tuple[int, ...]) -> Floats:
        """An uninitialised array that no one else sees."""
        self._arrays = [array for array in self._arrays if array.shape == shape]
        for place in range(len(self._arrays)):
            if sys.getrefcount(self._arrays[place]) <= self._UNUSED:
                return self._arrays[place]
        fresh: Floats = np.empty(shape, np.float32)
        if len(self._arrays) < self._MOST:
            self._arrays.append(fresh)
        return fresh
