"""Frames as arrays: decoding of stored images, how large one may be, and where it lands in a
model's input.

Nothing here needs torch, so that decoding can run in any thread or process.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from schemas.dead_letters import EMPTY_IMAGE
from schemas.errors import FrameError

Frame = npt.NDArray[np.uint8]  # (H, W, 3)
ResizeMode = Literal["shortest", "longest", "squash"]

MAX_PIXELS: Final = 1 << 25  # of one frame: 8K video still fits
MAX_SIDES_RATIO: Final = 32  # longer side / shorter side; resizing the shorter one bounds the rest

FORMATS: Final = ("JPEG", "PNG", "WEBP")  # Pillow's names
_FILE_STARTS: Final = {
    rb"\xff\xd8\xff": "JPEG",
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"RIFF....WEBP": "WEBP",
    rb"GIF8[79]a": "GIF",
    rb"BM....\x00\x00\x00\x00": "BMP",
    rb"II\*\x00|MM\x00\*": "TIFF",
    rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51": "JPEG 2000",
    rb"....ftypavi[fs]": "AVIF",
}
# Modes of 8 bits or fewer a channel; convert("RGB") would clip 16-bit and float images.
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
# What Pillow raises on bytes that are not, or only in part, an image.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def file_format(value: bytes) -> str | None:
    """Name of the image format that a file's first bytes tell; None: of none."""
    return next((n for start, n in _FILE_STARTS.items() if re.match(start, value, re.DOTALL)), None)


def check_size(height: int, width: int) -> None:
    """Refuses a frame that would become huge, before anything is decoded or resized.

    Raises:
        FrameError: it has no pixel, more than `MAX_PIXELS`, or sides of a ratio beyond
            `MAX_SIDES_RATIO` (the shorter one is resized to the model's input).
    """
    told = f"image: {height} x {width} pixels (height x width)"
    if min(height, width) < 1:
        raise FrameError(f"{told}: expected at least one")
    if height * width > MAX_PIXELS:
        raise FrameError(f"{told}: at most {MAX_PIXELS:,} pixels are read, which no camera exceeds")
    if max(height, width) > MAX_SIDES_RATIO * min(height, width):
        raise FrameError(
            f"{told}: one side is more than {MAX_SIDES_RATIO} times the other; it is no camera's "
            "frame, and resized it would fill the memory"
        )


def decode_frame(encoded: bytes) -> Frame:
    """Decode one stored JPEG, PNG or WebP image.

    Gray, palette, CMYK and transparent images become RGB as `Image.convert("RGB")` makes
    them (transparency is dropped, not blended), which is what open_clip's transform does.

    Args:
        encoded: The whole file, as stored in a step.

    Returns:
        (H, W, 3) uint8; it may be read-only.

    Raises:
        FrameError: If the bytes are none, are cut off, are of another format, have more than 8
            bits a channel, or the image is larger than `check_size` lets pass. The cause is
            Pillow's own error, if it found the fault.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (4, 2), 128).save(buffer, "PNG")
        >>> decode_frame(buffer.getvalue()).shape
        (2, 4, 3)
    """
    if not encoded:
        raise FrameError(EMPTY_IMAGE)
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            check_size(image.height, image.width)
            if image.mode == "RGB":
                return np.asarray(image)  # convert() would copy it
            if image.mode in _MODES:
                return np.asarray(image.convert("RGB"))
            mode = image.mode
    except _DECODE_ERRORS as error:
        raise FrameError(_describe_failure(encoded, error)) from error
    raise FrameError(
        f"image: expected 8 bits a channel, got Pillow mode {mode!r} ({len(encoded)} bytes); "
        "depth maps and other 16-bit images cannot be embedded: choose another camera"
    )


def _describe_failure(encoded: bytes, error: Exception) -> str:
    """What was found instead of an image, with the first bytes to recognise it by."""
    start = encoded[:8].hex(" ")
    # Pillow names the buffer object ("<_io.BytesIO object at 0x…>"); the address says nothing.
    reason = "not recognised" if isinstance(error, UnidentifiedImageError) else str(error)
    return (
        f"image: expected a whole JPEG, PNG or WebP, got {len(encoded)} bytes starting with "
        f"{start} ({reason}); the record is probably truncated or holds another format"
    )


@dataclass(frozen=True)
class Fit:
    """How a frame is laid into a model's input: resize, then pad, then crop."""

    resized: tuple[int, int]  # (height, width) after resizing
    pad: tuple[int, int, int, int]  # (left, right, top, bottom) pixels of fill colour
    crop: tuple[int, int]  # (top, left) of the kept window, after padding


def fit_frame(frame_size: tuple[int, int], size: tuple[int, int], mode: ResizeMode) -> Fit:
    """Where open_clip's inference transform puts a frame in a model's input.

    The roundings are those of torchvision's `Resize` and `CenterCrop` and of open_clip's
    `ResizeKeepRatio` and `CenterCropOrPad`; one pixel of difference moves every patch.

    Args:
        frame_size: (height, width) of the frame.
        size: (height, width) of the model's input.
        mode: "shortest" fills the input and crops the rest, "longest" shows the whole
            frame and pads the rest, "squash" ignores the frame's proportions.

    Returns:
        The steps to take, in pixels.

    Raises:
        FrameError: it would have more than `MAX_PIXELS` after resizing.

    Example:
        >>> fit_frame((480, 640), (224, 224), "shortest")
        Fit(resized=(224, 298), pad=(0, 0, 0, 0), crop=(0, 37))
    """
    resized = _resized(frame_size, size, mode)
    if resized[0] * resized[1] > MAX_PIXELS:
        raise FrameError(
            f"image: {frame_size[0]} x {frame_size[1]} pixels would become {resized[0]} x "
            f"{resized[1]} for an input of {size[0]} x {size[1]}; at most {MAX_PIXELS:,} are made"
        )
    missing = (max(size[0] - resized[0], 0), max(size[1] - resized[1], 0))
    pad = (missing[1] // 2, (missing[1] + 1) // 2, missing[0] // 2, (missing[0] + 1) // 2)
    extra = (resized[0] + missing[0] - size[0], resized[1] + missing[1] - size[1])
    return Fit(resized, pad, (round(extra[0] / 2), round(extra[1] / 2)))


def _resized(
    frame_size: tuple[int, int], size: tuple[int, int], mode: ResizeMode
) -> tuple[int, int]:
    """Height and width of the whole frame after resizing."""
    height, width = frame_size
    if mode == "squash":
        return size
    if mode == "shortest" and size[0] == size[1]:
        long = int(size[0] * max(frame_size) / min(frame_size))  # torchvision rounds down
        return (long, size[1]) if height > width else (size[0], long)
    ratios = (height / size[0], width / size[1])
    ratio = max(ratios) if mode == "longest" else min(ratios)
    return max(round(height / ratio), 1), max(round(width / ratio), 1)
