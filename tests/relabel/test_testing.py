"""The fakes that are shipped: they must be right before anything is tested with them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relabel.source.source import Source
from relabel.testing import (
    PixelMeanEncoder,
    encoded_image,
    load_pixel_mean_encoder,
    write_rlds,
)
from schemas.encoders import EncoderSpec
from tests import small


def test_a_frame_is_its_mean_colour() -> None:
    frame = np.zeros((2, 4, 3), np.uint8)
    frame[0, :, 0] = 255  # half of it red
    expected = np.array([0.5, 0, 0, 0.1]) / np.hypot(0.5, 0.1)
    encoder = PixelMeanEncoder()
    (embedding,) = encoder.encode_images([frame])
    np.testing.assert_allclose(embedding, expected, atol=1e-6)
    assert embedding.dtype == np.float32
    assert encoder.encode_images([]).shape == (0, 4)
    assert encoder.calls == [1, 0]


def test_a_text_is_the_colour_it_names() -> None:
    red, grey = PixelMeanEncoder().encode_texts(["a red box", "a box"])
    np.testing.assert_allclose(red, np.array([1, 0, 0, 0.1]) / np.hypot(1, 0.1), atol=1e-6)
    np.testing.assert_allclose(grey[:3], grey[0])
    np.testing.assert_allclose(np.linalg.norm([red, grey], axis=1), 1, atol=1e-6)


def test_red_frames_are_nearest_to_red() -> None:
    encoder = PixelMeanEncoder()
    frames = [np.full((3, 3, 3), colour, np.uint8) for colour in np.eye(3, dtype=np.uint8) * 255]
    cosines = encoder.encode_images(frames) @ encoder.encode_texts(["red", "green", "blue"]).T
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "frame",
    [np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8)],
)
def test_the_fake_refuses_what_an_encoder_must_not_get(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8, got"):
        PixelMeanEncoder().encode_images([frame])


def test_versions_have_fingerprints_of_their_own() -> None:
    one, two = PixelMeanEncoder(0).spec, PixelMeanEncoder(1).spec
    assert one.fingerprint != two.fingerprint
    assert one.key != two.key
    assert EncoderSpec.model_validate_json(one.model_dump_json()) == one


def test_the_loader_travels_to_workers() -> None:
    assert pickle.loads(pickle.dumps(load_pixel_mean_encoder))().spec == PixelMeanEncoder().spec


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_encoded_images(kind: str) -> None:
    frame = np.full((3, 5, 3), 90, np.uint8)
    with Image.open(io.BytesIO(encoded_image(frame, kind))) as image:  # type: ignore[arg-type]
        assert image.format == kind
        np.testing.assert_allclose(np.asarray(image), frame, atol=2 if kind == "JPEG" else 0)


def test_a_split_is_written_once(tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    with pytest.raises(FileExistsError, match=r"has a split .train. already"):
        small.write_source(tmp_path / "src")


def test_splits_stand_side_by_side(tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    write_rlds(tmp_path / "src", small.features(), small.episodes((4,)), shard_lengths=[1],
               split="val")  # fmt: skip
    splits = {s: Source.open(str(tmp_path / "src"), s).episodes for s in ("train", "val")}
    assert splits == {"train": 5, "val": 1}


def test_the_same_episodes_are_the_same_files(source_dir: Path, tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    assert small.tree(tmp_path / "src") == small.tree(source_dir)
