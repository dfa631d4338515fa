"""One frame out of each form: pixel by pixel, and what cannot be one."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from relabel.frames.camera_frames import as_png, frame_of, is_one_colour, kept_files, newest
from relabel.frames.decoding import decode_frame
from schemas.enums import CameraForm
from schemas.errors import FrameError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
GREY_FRAME = np.stack([GREY] * 3, axis=-1)
OTHER = RNG.integers(0, 256, (3, 20, 30), dtype=np.uint8)


def frame(value: np.ndarray, form: str = "pixels") -> np.ndarray:
    return frame_of(newest(value, CameraForm(form)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_level_survives_floats(dtype: str) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    floats = (levels / 255).astype(dtype)
    np.testing.assert_array_equal(frame(floats), np.repeat(levels, 3, axis=2))


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (COLOURS, "pixels", COLOURS),
        (GREY, "pixels", GREY_FRAME),
        (GREY[..., None], "pixels", GREY_FRAME),
        (np.concatenate([COLOURS, GREY[..., None]], axis=2), "pixels", COLOURS),
        (np.moveaxis(COLOURS, 2, 0), "channels-first", COLOURS),
        (np.stack([*OTHER, GREY]), "stack", GREY_FRAME),
        (np.stack([GREY_FRAME, COLOURS]), "stack", COLOURS),
        (np.stack([*OTHER, GREY], axis=-1), "stack-last", GREY_FRAME),
    ],
)
def test_each_layout_becomes_the_frame(value: np.ndarray, form: str, expected: np.ndarray) -> None:
    made = frame(value, form)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_array_equal(frame(np.float32(value / 255), form), expected)


@pytest.mark.parametrize("bad", [1.01, -0.01, 255.0, np.nan, np.inf])
def test_a_float_outside_the_range_is_an_error(bad: float) -> None:
    values = np.zeros((20, 30, 3), np.float32)
    values[3, 4, 1] = bad
    with pytest.raises(FrameError, match=r"expected floats in \[0, 1\], got"):
        frame(values)


def test_one_colour() -> None:
    plain = np.broadcast_to(np.uint8([9, 200, 0]), (40, 50, 3)).copy()
    assert is_one_colour(plain)
    plain[33, 7] += 2  # what JPEG makes of a plain frame
    assert is_one_colour(plain)
    plain[33, 7] += 1
    assert not is_one_colour(plain)


def test_what_is_kept_is_the_file_or_a_png_of_the_frame() -> None:
    file = as_png(COLOURS)
    assert kept_files([b"any file", b""], CameraForm.IMAGE) == [b"any file", b""]
    assert kept_files(COLOURS[None], CameraForm.PIXELS) == [file]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), COLOURS)
    (grey,) = kept_files(GREY[None, ..., None] / np.float32(255), CameraForm.PIXELS)
    assert grey is not None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(grey))), GREY)
    assert kept_files(np.full((1, 16, 16, 3), 2.0), CameraForm.PIXELS) == [None]


def bare_png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("width", "height", "told"),
    [
        (1_000_000, 1, "1 x 1000000 pixels .* more than 32 times the other"),
        (1, 1_000_000, "1000000 x 1 pixels .* more than 32 times the other"),
        (9_000, 9_000, "at most 33,554,432 pixels"),
    ],
)
def test_a_huge_frame_is_refused_before_it_is_decoded(width: int, height: int, told: str) -> None:
    with pytest.raises(FrameError, match=told):
        decode_frame(bare_png(width, height))


def test_a_tensor_of_extreme_shape_is_refused() -> None:
    with pytest.raises(FrameError, match="more than 32 times the other"):
        frame_of(np.zeros((16, 16 * 33, 3), np.uint8))
    with pytest.raises(FrameError, match="expected at least one"):
        frame_of(np.zeros((0, 16, 3), np.uint8))
    assert frame_of(np.zeros((16, 16 * 32, 3), np.uint8)).shape == (16, 512, 3)
