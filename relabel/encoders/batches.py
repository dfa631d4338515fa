"""Frames and texts in lots that an encoder takes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.errors import FrameError

if TYPE_CHECKING:
    from relabel.frames.decoding import Frame


def check_frames(frames: Sequence[Frame]) -> None:
    """Refuses what is not an RGB image of 8 bits a channel.

    Raises:
        FrameError: the text names the frame's index.
    """
    for index, frame in enumerate(frames):
        rgb = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
        if not rgb or frame.dtype != np.uint8:
            raise FrameError(
                f"frame {index} of {len(frames)}: expected uint8[H, W, 3], "
                f"got {frame.dtype}{list(frame.shape)}"
            )


def rows_by_shape(frames: Sequence[Frame]) -> list[list[int]]:
    """Indices of the frames of each size, sizes in order of appearance."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        rows.setdefault(frame.shape, []).append(index)
    return list(rows.values())


def batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """The items in their order, at most `size` at once."""
    return [items[start : start + size] for start in range(0, len(items), size)]
