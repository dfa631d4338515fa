"""`docs/sources.md`, its section on cameras, row by row: what is found, noted and refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from relabel.frames.camera_frames import frame_of, newest
from relabel.source.source import Source
from relabel.testing import encoded_image
from schemas.errors import SourceError
from tests.relabel.odd_sources import LENGTHS, Odd
from tests.relabel.video_files import video_file

PAGE = Path(__file__).parents[3] / "docs" / "sources.md"
kinds = tfds.features
H, W = 16, 24
FRAME = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
GREY = np.ascontiguousarray(FRAME[..., 0])
GREY_FRAME = np.stack([GREY] * 3, axis=-1)
SMALL = np.ascontiguousarray(FRAME[:8, :8])


def tensor(value: np.ndarray) -> tuple[Any, Any]:
    return kinds.Tensor(shape=value.shape, dtype=value.dtype.type), value


def of(pair: tuple[Any, Any], name: str = "odd") -> Odd:
    kind, value = pair
    told: Callable[[int, int], Any] = lambda episode, step: value  # noqa: E731
    return Odd({name: (kind, told)})


IMAGES = kinds.Sequence(kinds.Image(shape=(None, None, 3)))


def whole(kind: Any, more: int = 0) -> Odd:
    """Images of an episode, as many as it has steps and `more`."""
    return Odd(episode={"odd": (kind, lambda e: [encoded_image(FRAME)] * (LENGTHS[e] + more))})


# form → feature with the value of every step, and the frame that it must become
FORMS: dict[str, tuple[Odd, np.ndarray | None]] = {
    "`Image` of 8 bits": (of((kinds.Image(shape=(None, None, 3)), encoded_image(FRAME))), FRAME),
    "`Image` of one channel": (of((kinds.Image(shape=(H, W, 1)), GREY[..., None])), GREY_FRAME),
    "uint8 (H, W, 3)": (of(tensor(FRAME)), FRAME),
    "uint8 (H, W, 1)": (of(tensor(GREY[..., None])), GREY_FRAME),
    "uint8 (H, W, 4)": (of(tensor(np.concatenate([FRAME, GREY[..., None]], 2))), FRAME),
    "uint8 (k, H, W)": (of(tensor(np.stack([255 - GREY, GREY]))), GREY_FRAME),
    "uint8 (k, H, W, 3)": (of(tensor(np.stack([255 - FRAME, FRAME]))), FRAME),
    "floats in [0, 1], (H, W, 3)": (of(tensor(np.float32(FRAME / 255))), FRAME),
    "JPEG, PNG or WebP files as strings": (of((np.str_, encoded_image(FRAME))), FRAME),
    "`Video` of the episode": (whole(kinds.Video(shape=(None, H, W, 3))), FRAME),
    "list of images of the episode": (whole(IMAGES), FRAME),
    "list of images of the episode, not one per step": (whole(IMAGES, more=1), None),
    "video file of the episode, as a string": (
        Odd(episode={"odd": (np.str_, lambda e: video_file([FRAME] * LENGTHS[e]))}),
        FRAME,
    ),
    "uint8 (H, W)": (of(tensor(GREY)), GREY_FRAME),
    "uint8 smaller than 16 × 16": (of(tensor(SMALL)), SMALL),
    "uint8 (3, H, W)": (of(tensor(np.moveaxis(FRAME, 2, 0).copy())), FRAME),
    "uint8 (H, W, 9)": (of(tensor(np.stack([255 - GREY] * 8 + [GREY], -1))), GREY_FRAME),
    "`Image` of 8 bits, called depth": (
        of((kinds.Image(shape=(H, W, 3)), FRAME), "my_depth"),
        FRAME,
    ),
    "`Image` of 16 bits": (
        of((kinds.Image(shape=(H, W, 1), dtype=np.uint16), np.zeros((H, W, 1), np.uint16))),
        None,
    ),
    "`Image` of floats": (
        of((kinds.Image(shape=(H, W, 1), dtype=np.float32), np.zeros((H, W, 1), np.float32))),
        None,
    ),
    "uint16 (H, W)": (of(tensor(np.zeros((H, W), np.uint16))), None),
    "floats (H, W)": (of(tensor(np.zeros((H, W), np.float32))), None),
    "floats (H, W, 1), called depth": (
        of(tensor(np.zeros((H, W, 1), np.float32)), "depth_image"),
        None,
    ),
    "floats outside [0, 1], (H, W, 3)": (of(tensor(FRAME.astype(np.float32))), None),
    "int32 (H, W, 3)": (of(tensor(FRAME.astype(np.int32))), None),
    "GIF files as strings": (of((np.str_, b"GIF89a\x00\xff\xfe\x01")), None),
    "text": (of((kinds.Text(), "open the drawer")), None),
    "vector": (of(tensor(np.zeros(7, np.float32))), None),
    "black frames": (of((kinds.Image(shape=(H, W, 3)), FRAME * 0)), FRAME * 0),
    "empty images": (of((np.str_, b"")), None),
}
LAYOUTS = {"uint8 (3, H, W)": "channels-first", "uint8 (H, W, 9)": "stack-last"}


def rows() -> list[list[str]]:
    section = PAGE.read_text("utf-8").split("## Cameras")[1].split("\n## ")[0]
    table = section.split("| layout |")[0]
    cells = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [
        [cell.strip() for cell in (*own, "", "", "")[:4]]
        for own in cells
        if own[0].strip() not in ("form", "---")
    ]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_page_and_the_forms_are_the_same() -> None:
    assert [row[0] for row in rows()] == list(FORMS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_camera_is_read_as_the_page_says(row: list[str], tmp_path: Path) -> None:
    form, read, noted, refused = row
    odd, frame = FORMS[form]
    if form == "empty images":
        odd = Odd({"odd": (np.str_, lambda e, t: encoded_image(FRAME) if e else b"")})
    source = Source.open(str(odd.write(tmp_path / "src")), "train")
    name = f"episode_metadata.{next(iter(odd.episode))}" if odd.episode else next(iter(odd.steps))
    proposed = re.split("[:,]", read)[0] == "camera"
    assert (name in source.cameras) == proposed
    assert all(text in " ".join(source.notes()) for text in quoted(noted))
    if refused:
        with pytest.raises(SourceError, match=f"{name} is no camera") as error:
            source.resolve_cameras([name])
        assert all(text in str(error.value) for text in quoted(refused)), error.value
    if frame is None:
        return
    layout = f"{name}={LAYOUTS[form]}" if form in LAYOUTS else name
    (camera, how), *_ = source.resolve_cameras([layout]).items()
    (episode, *_) = source.sampled([camera, "action"], {camera: how})
    for value in episode.steps[camera]:
        np.testing.assert_array_equal(frame_of(newest(value, how)), frame)
