"""One frame out of each form that a camera can have.

    form              value of a step                  frame
    image, encoded    a JPEG, PNG or WebP file         as Pillow decodes it
    frames            likewise, one of the episode     likewise
    pixels            (H, W) or (H, W, 1|3|4)          itself
    channels-first    (1|3|4, H, W)                    its axes turned
    stack             (k, H, W) or (k, H, W, 1|3|4)    the last of the first axis
    stack-last        (H, W, k)                        the last of the last axis
    video             (H, W, 3), one of the episode    itself

Tensors are uint8, or floats in [0, 1] that are multiplied by 255 and rounded. Grey becomes RGB; a
fourth channel is dropped, as Pillow does.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from relabel.frames.decoding import Frame, check_size, decode_frame
from schemas.enums import CameraForm
from schemas.errors import FrameError
from schemas.tables import Array

_ONE_COLOUR: Final = 2  # levels between a channel's darkest and brightest pixel, at most
_SPARSE: Final = 16  # pixels looked at first, each way


def newest(value: Any, form: CameraForm) -> Any:
    """The part of a step's value that is embedded: a file's bytes, or (H, W) or (H, W, C)."""
    match form:
        case CameraForm.STACK:
            return value[-1]
        case CameraForm.STACK_LAST:
            return value[..., -1]
        case CameraForm.CHANNELS_FIRST:
            return np.moveaxis(value, 0, -1)
    return value


def frame_of(picture: bytes | Array | FrameError) -> Frame:
    """A file's bytes, or a tensor, as a frame.

    Args:
        picture: as `newest` gives it; an error in the place of one is raised.

    Returns:
        (H, W, 3) uint8; it may be read-only.

    Raises:
        FrameError: as `decode_frame`; or a float lies outside [0, 1].
    """
    if isinstance(picture, FrameError):
        raise picture
    if isinstance(picture, bytes):
        return decode_frame(picture)
    check_size(*picture.shape[:2])
    levels = picture if picture.dtype == np.uint8 else _levels(picture)
    if levels.ndim == 2:
        levels = levels[..., None]
    if levels.shape[2] == 1:
        levels = np.broadcast_to(levels, (*levels.shape[:2], 3))
    return np.ascontiguousarray(levels[..., :3])


def _levels(values: Array) -> Array:
    scaled = np.rint(values.astype(np.promote_types(values.dtype, np.float32)) * 255)
    if not ((scaled >= 0) & (scaled <= 255)).all():  # NaN is neither
        low, high = values.min(), values.max()
        raise FrameError(
            f"image: expected floats in [0, 1], got {low:g} to {high:g}; the camera does not keep "
            "to the range that its other frames have"
        )
    levels: Frame = scaled.astype(np.uint8)
    return levels


def is_one_colour(frame: Frame) -> bool:
    """Whether a frame shows nothing: black, or any other colour all over."""
    sparse = frame[::_SPARSE, ::_SPARSE]
    return all(bool((np.ptp(part, axis=(0, 1)) <= _ONE_COLOUR).all()) for part in (sparse, frame))


def as_png(frame: Frame) -> bytes:
    """A frame as a PNG file, which keeps every value; grey if it is grey."""
    grey = bool((frame == frame[..., :1]).all())
    stream = io.BytesIO()
    Image.fromarray(frame[..., 0] if grey else frame).save(stream, "PNG")
    return stream.getvalue()


def kept_files(values: Sequence[Any], form: CameraForm) -> list[bytes | None]:
    """What a steps table keeps of a camera: files as they are, frames as PNG.

    Args:
        values: of an episode's steps.
        form: of the camera.

    Returns:
        One per step; None where there is no frame, such as floats outside [0, 1].
    """
    return [v if isinstance(v, bytes) else _kept(v, form) for v in values]


def _kept(value: Any, form: CameraForm) -> bytes | None:
    frame = seen(value, form)
    return None if frame is None else as_png(frame)


def seen(value: Any, form: CameraForm) -> Frame | None:
    """The frame of a step's value; None where there is none, as its dead letter says."""
    try:
        return frame_of(newest(value, form))
    except Exception:  # the dead letter of the frame says why
        return None
