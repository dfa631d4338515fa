"""Decoding of stored images, and their geometry against open_clip's own transform."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from relabel.frames.decoding import Fit, decode_frame, fit_frame
from schemas.errors import FrameError


def _encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _noise(mode: str = "RGB", size: tuple[int, int] = (40, 24)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def test_png_is_decoded_exactly() -> None:
    image = _noise()
    frame = decode_frame(_encoded(image))
    assert frame.shape == (24, 40, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, np.asarray(image))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_png_mode_becomes_rgb_as_pillow_does(mode: str) -> None:
    encoded = _encoded(_noise(mode))
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decode_frame(encoded), expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_jpeg_mode_becomes_rgb_as_pillow_does(mode: str) -> None:
    encoded = _encoded(_noise("RGB").convert(mode), "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decode_frame(encoded), expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("kept", [0.02, 0.25, 0.5, 0.9])
def test_a_truncated_image_is_an_error_with_its_cause(kind: str, kept: float) -> None:
    encoded = _encoded(_noise(size=(64, 64)), kind)
    with pytest.raises(FrameError, match="expected a whole JPEG, PNG or WebP") as caught:
        decode_frame(encoded[: int(len(encoded) * kept)])
    assert caught.value.__cause__ is not None
    assert "object at 0x" not in str(caught.value)


@pytest.mark.parametrize("encoded", [b"", b"\x00" * 100, b"not an image", b"\xff\xd8\xff\xe0"])
def test_garbage_is_an_error(encoded: bytes) -> None:
    with pytest.raises(FrameError, match=f"got {len(encoded)} bytes"):
        decode_frame(encoded)


def test_a_damaged_png_is_an_error() -> None:
    encoded = bytearray(_encoded(_noise()))
    encoded[len(encoded) // 2] ^= 0xFF
    with pytest.raises(FrameError):
        decode_frame(bytes(encoded))


def test_other_formats_are_an_error() -> None:
    with pytest.raises(FrameError, match="not recognised"):
        decode_frame(_encoded(_noise(), "BMP"))


def test_sixteen_bits_are_an_error_rather_than_clipped() -> None:
    depth = Image.fromarray(np.full((4, 4), 40_000, np.uint16))
    with pytest.raises(FrameError, match="expected 8 bits a channel, got Pillow mode 'I;16"):
        decode_frame(_encoded(depth))


def test_an_image_of_absurd_size_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(FrameError, match="decompression bomb"):
        decode_frame(_encoded(_noise()))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("shortest", Fit(resized=(224, 298), pad=(0, 0, 0, 0), crop=(0, 37))),
        ("longest", Fit(resized=(168, 224), pad=(0, 0, 28, 28), crop=(0, 0))),
        ("squash", Fit(resized=(224, 224), pad=(0, 0, 0, 0), crop=(0, 0))),
    ],
)
def test_a_camera_frame_is_fitted(mode: str, expected: Fit) -> None:
    assert fit_frame((480, 640), (224, 224), mode) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_the_window_lies_inside_the_padded_frame(mode: str, size: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    for height, width in random.integers(1, 200, (300, 2)).tolist():
        fit = fit_frame((height, width), size, mode)  # type: ignore[arg-type]
        padded = (fit.resized[0] + sum(fit.pad[2:]), fit.resized[1] + sum(fit.pad[:2]))
        assert all(0 <= fit.crop[axis] <= padded[axis] - size[axis] for axis in (0, 1))
        assert min(fit.resized) >= 1


@pytest.mark.parametrize("frame_size", [(1, 1000), (1000, 1)])
def test_no_side_vanishes(frame_size: tuple[int, int]) -> None:
    assert sorted(fit_frame(frame_size, (32, 32), "longest").resized) == [1, 32]
