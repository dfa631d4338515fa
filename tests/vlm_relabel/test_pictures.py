"""Frames that people look at are those of the source, whatever form they are stored in."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from relabel.source.source import Source
from schemas.errors import SourceError, StoreError
from schemas.store import Store
from tests import small
from tests.pipelines import small_source
from tests.small import FRONT, WRIST
from vlm_relabel.pictures import open_pictures, thumbnail, webp

WANTED = {"train/0/1": [0], "train/1/0": [1, 4], "train/9/9": [0], "nothing": [3]}


@pytest.fixture(scope="module")
def source(source_dir: Path) -> Source:
    return Source.open(str(source_dir), "train")


@pytest.fixture
def store(source: Source, tmp_path: Path, row_groups_of_three: None) -> Store:
    return small.build_store(tmp_path / "small.store", source)


def told(store: Store, command: str | None) -> Store:
    """The store with a steps table that was made by another command."""
    steps = store.table_manifest("steps")
    small.rewrite_manifest(store, steps.model_copy(update={"command": command}))
    return Store.open(store.location)


def expected() -> list[tuple[str, int, list[list[int]]]]:
    places = (("train/0/1", 0, 1), ("train/1/0", 1, 3), ("train/1/0", 4, 3))
    return [
        (name, step, [small.frame(episode, step, camera)[0, 0].tolist() for camera in (0, 1)])
        for name, step, episode in places
    ]


def near(found: list[tuple[str, int, list[list[int]]]]) -> bool:
    pairs = list(zip(found, expected(), strict=True))
    return all(
        a[:2] == b[:2] and np.abs(np.array(a[2]) - np.array(b[2])).max() < 12 for a, b in pairs
    )


def colours(store: Store, source: str | None = None) -> list[tuple[str, int, list[list[int]]]]:
    pictures = open_pictures(store, source=source)
    assert pictures.cameras == (FRONT, WRIST)
    return [
        (episode_id, step, [f[0, 0].tolist() for f in picture if f is not None])
        for episode_id, step, picture in pictures.each(WANTED)
    ]


def test_frames_come_from_where_the_store_was_made(store: Store, source_dir: Path) -> None:
    words = f"vlm-relabel relabel --source '{source_dir}' --camera front"
    assert near(colours(told(store, words)))
    assert near(colours(told(store, f"vlm-relabel embed --source={source_dir}")))


def test_a_source_that_has_moved_is_named(store: Store, source_dir: Path) -> None:
    gone = told(store, "vlm-relabel relabel --source /gone/1.0.0")
    assert near(colours(gone, str(source_dir)))
    with pytest.raises(SourceError, match=r"/gone/1\.0\.0"):
        open_pictures(gone)
    with pytest.raises(SourceError, match=r"does not say where its source is.*--source"):
        open_pictures(told(store, None))


def test_another_source_is_refused(store: Store, tmp_path: Path) -> None:
    other = small_source.write_source(tmp_path / "other")
    with pytest.raises(StoreError, match="belongs to another source"):
        open_pictures(store, source=str(other))


def test_kept_frames_need_no_source(source: Source, tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "kept"), small.store_manifest(source, keep=True))
    small.embed(store, source, small.source_tables(store))
    assert near(colours(told(store, "vlm-relabel relabel --source /gone")))


def test_a_frame_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    items = small.episodes()
    items[3]["steps"][1]["observation"]["front"] = b"not an image"
    source = small.write_source(tmp_path / "bad" / "1.0.0", items)
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store))
    found = list(open_pictures(store, source=str(source.directory)).each({"train/1/0": [1, 2]}))
    assert [[f is None for f in picture] for _, _, picture in found] == [[1, 0], [0, 0]]


def test_a_thumbnail_shows_the_cameras_side_by_side() -> None:
    red, blue = np.zeros((40, 60, 3), np.uint8), np.zeros((20, 20, 3), np.uint8)
    red[..., 0], blue[..., 2] = 250, 250
    whole = thumbnail((red, blue), 20)
    assert whole is not None and whole.size == (50, 20)
    assert (whole.getpixel((0, 0)), whole.getpixel((40, 10))) == ((250, 0, 0), (0, 0, 250))
    half = thumbnail((None, blue), 50)
    assert half is not None and half.getpixel((0, 0)) == (128, 128, 128)
    assert thumbnail((None, None), 20) is None
    stored = Image.open(io.BytesIO(webp(whole)))
    assert (stored.format, stored.size) == ("WEBP", (50, 20))
