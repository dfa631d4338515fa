"""Small video files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import av
import numpy as np


def video_file(pictures: Sequence[np.ndarray], container: str = "matroska") -> bytes:
    """A video of (H, W, 3) uint8 pictures, without loss."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=container) as output:
        track: Any = output.add_stream("ffv1", rate=10)
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt = "bgr0"
        for picture in pictures:
            output.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(track.encode())
    return stream.getvalue()
