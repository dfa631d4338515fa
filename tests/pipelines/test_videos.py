"""Cameras that are stored once per episode: lists of images, and video files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from pipelines import jobs
from relabel.frames.videos import decode_video
from relabel.jobs.options import EmbedOptions, JobOptions
from relabel.source.source import Source
from relabel.testing import encoded_image, load_pixel_mean_encoder, write_rlds
from schemas import fields
from schemas.dead_letters import read_dead_letters
from schemas.errors import DeadLetterError, EpisodeFramesError, SourceError
from schemas.store import Store
from schemas.tables import matrix
from schemas.verify import verify_store
from tests.relabel.video_files import video_file

kinds = tfds.features
LENGTHS = (3, 2, 0, 4)
SIZE = (32, 48)


def frames(episode: int, count: int) -> list[np.ndarray]:
    """(H, W, 3) uint8, each of its own level, with a little noise."""
    rng = np.random.default_rng(episode)
    levels = [40 + 30 * step + 20 * episode for step in range(count)]
    return [rng.integers(n, n + 20, (*SIZE, 3), dtype=np.uint8) for n in levels]


KINDS: dict[str, tuple[Any, Any]] = {
    "frames": (
        kinds.Video(shape=(None, *SIZE, 3)),
        lambda pictures: [encoded_image(picture) for picture in pictures],
    ),
    "images": (
        kinds.Sequence(kinds.Image(shape=(None, None, 3))),
        lambda pictures: [encoded_image(picture) for picture in pictures],
    ),
    "matroska": (np.str_, video_file),
    "avi": (np.str_, lambda pictures: video_file(pictures, "avi")),
}


def write(directory: Path, kind: str, more: dict[int, int] | None = None) -> Path:
    """A camera of the steps, and one of the episode with `more` frames in some episodes."""
    feature, store = KINDS[kind]
    step = {"image": kinds.Image(shape=(*SIZE, 3)), "is_last": np.bool_}
    features = kinds.FeaturesDict(
        {"steps": kinds.Dataset(step), "episode_metadata": {"video": feature}}
    )
    episodes = [
        {
            "steps": [
                {"image": frame, "is_last": t + 1 == length}
                for t, frame in enumerate(frames(index, length))
            ],
            "episode_metadata": {
                "video": store(frames(index, length + (more or {}).get(index, 0)))
                if length
                else (b"" if feature is np.str_ else [])
            },
        }
        for index, length in enumerate(LENGTHS)
    ]
    return write_rlds(directory, features, episodes, shard_lengths=(3, 1))


def embed(source: Path, store: Path, *cameras: str, ratio: float = 0.0, **more: Any) -> Store:
    job = JobOptions(str(store), threads=1, max_dead_ratio=ratio)
    how = {"batch_size": 2, "dtype": "float32", "episodes_per_slice": 2, **more}
    jobs.embed(job, EmbedOptions(str(source), "train", cameras, load_pixel_mean_encoder, **how))
    return Store.open(str(store))


def vectors(store: Store, camera: str) -> np.ndarray:
    table = next(e for e in store.embeddings() if e.camera == camera)
    return matrix(store.read(table.table).column(fields.EMBEDDING))


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_has_the_embeddings_of_its_frames(kind: str, tmp_path: Path) -> None:
    source = write(tmp_path / "source", kind)
    assert Source.open(str(source), "train").cameras == ("image", "episode_metadata.video")
    store = embed(source, tmp_path / "store", "image", "video")
    one, other = vectors(store, "image"), vectors(store, "episode_metadata.video")
    assert len(one) == sum(LENGTHS)
    np.testing.assert_allclose(other, one, atol=1e-6)
    assert store.read("episodes").column_names == ["episode_id", "length", "language"]
    assert store.manifest.camera_forms["episode_metadata.video"] == (
        "frames" if kind in ("frames", "images") else "video"
    )
    assert all(not problems for _, problems in verify_store(store))


@pytest.mark.parametrize("kind", KINDS)
def test_kept_frames_of_a_video(kind: str, tmp_path: Path) -> None:
    source = write(tmp_path / "source", kind)
    store = embed(source, tmp_path / "store", "image", keep_frames=True)
    steps = store.read("steps")
    pictures = [frame for e, length in enumerate(LENGTHS) for frame in frames(e, length)]
    for name in ("image", "episode_metadata.video"):
        for file, picture in zip(steps.column(name).to_pylist(), pictures, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), picture)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [1, -1])
def test_another_number_of_frames_is_that_episodes_dead_letter(
    kind: str, more: int, tmp_path: Path
) -> None:
    source = write(tmp_path / "source", kind, {1: more})
    told = f"expected one frame per step, got {2 + more} for 2 steps"
    with pytest.raises(DeadLetterError, match=told):
        embed(source, tmp_path / "store", "image", "video")
    store = embed(source, tmp_path / "store", "image", "video", ratio=0.5)
    table = next(e for e in store.embeddings() if e.camera != "image")
    (letter,) = read_dead_letters(store, table.table, table.files).to_pylist()
    assert (letter["episode_id"], letter["step"]) == ("train/0/1", None)
    assert letter["camera"] == "episode_metadata.video"
    lost = np.isnan(vectors(store, table.camera)).all(axis=1)
    assert lost.tolist() == [False] * 3 + [True] * 2 + [False] * 4
    assert not np.isnan(vectors(store, "image")).any()
    assert all(not problems for _, problems in verify_store(store))


def test_a_list_that_never_has_one_image_per_step_is_no_camera(tmp_path: Path) -> None:
    source = Source.open(str(write(tmp_path / "source", "images", {0: 1, 1: 1, 3: 1})), "train")
    assert source.cameras == ("image",)
    with pytest.raises(SourceError, match="video is no camera: in no sampled episode has it one"):
        source.resolve_cameras(["video"])


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source.open(str(write(tmp_path / "source", "avi")), "train")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"pip install 'vlm-relabel\[video\]'"):
        source.resolve_cameras(["video"])
    source.notes()


def test_a_damaged_video_says_so() -> None:
    whole = video_file(frames(0, 3))
    assert len(decode_video(whole, 3)) == 3
    for content in (whole[:40], b"\x1a\x45\xdf\xa3" * 20, b""):
        with pytest.raises(EpisodeFramesError, match=r"bytes do not decode|got 0 for 3 steps"):
            decode_video(content, 3)


def test_a_huge_video_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relabel.frames.videos.MAX_EPISODE_PIXELS", 3 * 32 * 48 - 1)
    with pytest.raises(EpisodeFramesError, match="3 frames of 32 x 48 pixels; at most 4,607"):
        decode_video(video_file(frames(0, 3)), 3)
