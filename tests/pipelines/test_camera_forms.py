"""The same pixels in every form that a camera can have: one embedding, through the whole job."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from pipelines import jobs
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from relabel.source.source import Source
from relabel.testing import encoded_image, load_pixel_mean_encoder, write_rlds
from schemas import fields
from schemas.dead_letters import read_dead_letters
from schemas.enums import Fusion
from schemas.errors import DeadLetterError, SourceError, StoreError
from schemas.store import Store
from schemas.tables import matrix
from schemas.verify import verify_store

CASES = Path(__file__).parents[2] / "../shared/cases"
LENGTHS = (3, 2, 0, 1)
SIZE = (16, 20)
kinds = tfds.features

COLOUR_FORMS: dict[str, tuple[Any, Any]] = {  # camera → feature, value from (H, W, 3) uint8
    "image": (kinds.Image(shape=(None, None, 3)), encoded_image),
    "tensor": (kinds.Tensor(shape=(*SIZE, 3), dtype=np.uint8), lambda x: x),
    "zipped": (kinds.Tensor(shape=(*SIZE, 3), dtype=np.uint8, encoding="zlib"), lambda x: x),
    "rgba": (
        kinds.Tensor(shape=(*SIZE, 4), dtype=np.uint8),
        lambda x: np.concatenate([x, 255 - x[..., :1]], axis=2),
    ),
    "unit": (kinds.Tensor(shape=(*SIZE, 3), dtype=np.float32), lambda x: np.float32(x / 255)),
    "half": (kinds.Tensor(shape=(*SIZE, 3), dtype=np.float16), lambda x: np.float16(x / 255)),
    "string": (np.str_, encoded_image),
    "text": (kinds.Text(), encoded_image),
    "stack": (kinds.Tensor(shape=(2, *SIZE, 3), dtype=np.uint8), lambda x: np.stack([255 - x, x])),
    "first": (
        kinds.Tensor(shape=(3, *SIZE), dtype=np.uint8),
        lambda x: np.moveaxis(x, 2, 0).copy(),
    ),
}
GREY_FORMS: dict[str, tuple[Any, Any]] = {  # likewise from (H, W) uint8
    "image": (kinds.Image(shape=(*SIZE, 1)), lambda x: x[..., None]),
    "tensor": (kinds.Tensor(shape=(*SIZE, 1), dtype=np.uint8), lambda x: x[..., None]),
    "plane": (kinds.Tensor(shape=SIZE, dtype=np.uint8), lambda x: x),
    "unit": (
        kinds.Tensor(shape=(*SIZE, 1), dtype=np.float32),
        lambda x: np.float32(x / 255)[..., None],
    ),
    "frames": (
        kinds.Tensor(shape=(4, *SIZE), dtype=np.uint8),
        lambda x: np.stack([255 - x, x // 2, x // 3, x]),
    ),
    "last": (
        kinds.Tensor(shape=(*SIZE, 4), dtype=np.uint8),
        lambda x: np.stack([255 - x, x // 2, x // 3, x], axis=-1),
    ),
}
NAMED = {"first": "first=channels-first", "last": "last=stack-last"}


def pixels(episode: int, step: int, *channels: int) -> np.ndarray:
    """(H, W[, 3]) uint8 of noise around a level of its own."""
    rng = np.random.default_rng((episode, step))
    return rng.integers(30 * step, 30 * step + 90, (*SIZE, *channels), dtype=np.uint8)


def write(directory: Path, forms: dict[str, tuple[Any, Any]], *channels: int) -> Path:
    observation = {name: feature for name, (feature, _) in forms.items()}
    features = kinds.FeaturesDict(
        {
            "steps": kinds.Dataset(
                {"observation": observation, "is_first": np.bool_, "is_last": np.bool_}
            )
        }
    )
    episodes = [
        {
            "steps": [
                {
                    "observation": {
                        name: make(pixels(e, t, *channels)) for name, (_, make) in forms.items()
                    },
                    "is_first": t == 0,
                    "is_last": t + 1 == length,
                }
                for t in range(length)
            ]
        }
        for e, length in enumerate(LENGTHS)
    ]
    return write_rlds(directory, features, episodes, shard_lengths=(3, 1))


def embedding(source: Path, *cameras: str, **more: Any) -> EmbedOptions:
    how = {"batch_size": 2, "dtype": "float32", "episodes_per_slice": 1, **more}
    return EmbedOptions(str(source), "train", cameras, load_pixel_mean_encoder, **how)


def job(store: Path, **more: Any) -> JobOptions:
    return JobOptions(str(store), threads=1, **more)


def embeddings_of(store: Store) -> dict[str, np.ndarray]:
    return {
        e.camera.removeprefix("observation."): matrix(
            store.read(e.table).column(fields.EMBEDDING), "float64"
        )
        for e in store.embeddings()
    }


def expected(*channels: int) -> np.ndarray:
    """What `PixelMeanEncoder` must say of each frame, computed beside it."""
    means = [
        np.broadcast_to(
            pixels(e, t, *channels).reshape(-1, *channels).mean(axis=0, dtype=np.float64), 3
        )
        for e, length in enumerate(LENGTHS)
        for t in range(length)
    ]
    vectors = np.array([[*(mean / 255), 0.1] for mean in means])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("forms", "channels"), [(COLOUR_FORMS, (3,)), (GREY_FORMS, ())])
def test_the_same_pixels_in_every_form_have_one_embedding(
    forms: dict[str, tuple[Any, Any]], channels: tuple[int, ...], tmp_path: Path
) -> None:
    source = write(tmp_path / "source", forms, *channels)
    cameras = [NAMED.get(name, name) for name in forms]
    jobs.embed(job(tmp_path / "store"), embedding(source, *cameras))
    store = Store.open(str(tmp_path / "store"))
    found = embeddings_of(store)
    assert set(found) == set(forms)
    for name, vectors in found.items():
        np.testing.assert_allclose(vectors, expected(*channels), atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(vectors, found["image"], err_msg=name)
    proposed = {"plane", *NAMED} ^ set(forms) | ({"last"} & set(forms))
    columns = store.read("steps").column_names
    asked_for_only = {f"observation.{name}" for name in set(forms) - proposed}
    assert {name for name in columns if name.startswith("observation.")} == asked_for_only
    assert all(not problems for _, problems in verify_store(store))


@pytest.mark.parametrize(("forms", "channels"), [(COLOUR_FORMS, (3,)), (GREY_FORMS, ())])
def test_kept_frames_are_files_of_the_same_pixels(
    forms: dict[str, tuple[Any, Any]], channels: tuple[int, ...], tmp_path: Path
) -> None:
    source = write(tmp_path / "source", forms, *channels)
    jobs.embed(job(tmp_path / "store"), embedding(source, "image", keep_frames=True))
    store = Store.open(str(tmp_path / "store"))
    steps, frames = (
        store.read("steps"),
        [pixels(e, t, *channels) for e, length in enumerate(LENGTHS) for t in range(length)],
    )
    for camera in set(store.manifest.cameras) - {"observation.last"}:
        column = steps.column(camera)
        assert column.type == pa.binary()
        for file, frame in zip(column.to_pylist(), frames, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), frame)


def test_another_layout_is_another_table(tmp_path: Path) -> None:
    source = write(tmp_path / "source", GREY_FORMS)
    jobs.embed(job(tmp_path / "store"), embedding(source, "last"))
    with pytest.raises(Exception, match='form: stored "pixels", asked for "stack-last"'):
        jobs.embed(job(tmp_path / "store"), embedding(source, "last=stack-last"))


def test_a_float_that_leaves_the_range_later_is_one_dead_letter(tmp_path: Path) -> None:
    forms = {"unit": COLOUR_FORMS["unit"]}
    wild = {"unit": (forms["unit"][0], lambda x: np.float32(x / 255) + (x.min() >= 60))}
    source = write(tmp_path / "source", wild, 3)
    with pytest.raises(SourceError, match=r"float32 from .* frames are uint8, or floats in"):
        jobs.embed(job(tmp_path / "store"), embedding(source, "unit"))


def test_sampled_or_not_every_frame_keeps_to_the_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relabel.source.source._SAMPLED_RECORDS", 1)

    def value(frame: np.ndarray) -> np.ndarray:
        wrong = np.array_equal(frame, pixels(1, 1, 3))
        return np.float32(frame / 255) + wrong

    source = write(tmp_path / "source", {"unit": (COLOUR_FORMS["unit"][0], value)}, 3)
    with pytest.raises(DeadLetterError, match=r"expected floats in \[0, 1\], got 1"):
        jobs.embed(job(tmp_path / "store"), embedding(source, "unit"))
    jobs.embed(job(tmp_path / "store", max_dead_ratio=0.5), embedding(source, "unit"))
    store = Store.open(str(tmp_path / "store"))
    (table,) = store.embeddings()
    (letter,) = read_dead_letters(store, table.table, table.files).to_pylist()
    assert (letter["episode_id"], letter["step"]) == ("train/0/1", 1)
    assert np.isnan(embeddings_of(store)["unit"]).all(axis=1).tolist() == [0, 0, 0, 0, 1, 0]
    blank = store.read(table.table).column(fields.BLANK).to_pylist()
    assert blank == [False] * 4 + [None, False]


# --- the cases that people reported


def case(name: str) -> Path:
    path = CASES / name / "1.0.0"
    if not path.is_dir():
        pytest.skip(f"no {path}: made-up datasets that are not part of the repository")
    return path


def relabelled(name: str, store: Path, *cameras: str, **how: Any) -> Store:
    what = ScoreOptions(load_pixel_mean_encoder, "field:language_instruction", **how)
    jobs.relabel(job(store), embedding(case(name), *cameras), what)
    return Store.open(str(store))


@pytest.mark.parametrize("name", ["tensor_image", "bytes_image", "gray_feature"])
def test_reported_cameras_are_read_as_tfds_reads_them(name: str, tmp_path: Path) -> None:
    store = relabelled(name, tmp_path / "store", "observation/image")
    episodes = tfds.builder_from_directory(str(case(name))).as_dataset(split="train")
    frames = [step["observation"]["image"].numpy() for e in episodes for step in e["steps"]]
    if isinstance(frames[0], bytes):
        frames = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in frames]
    encoder = load_pixel_mean_encoder()
    colours = [np.repeat(f, 3, axis=2) if f.shape[2] == 1 else f for f in frames]
    found = embeddings_of(store)["image"]
    np.testing.assert_allclose(found, encoder.encode_images(colours), atol=1e-6)
    scores = matrix(store.read("rewards/v1").column(fields.SCORE))
    assert np.isfinite(scores).all()


def test_depth_is_no_camera() -> None:
    source = Source.open(str(case("gray_feature")), "train")
    assert source.cameras == ("observation.image",)
    assert set(source.found.refused) == {"observation.depth", "observation.depthf"}
    for name, told in (("depth", "uint16 is depth"), ("depthf", "float32 is depth")):
        with pytest.raises(SourceError, match=f"observation/{name} is no camera: {told}"):
            source.resolve_cameras([name])


# --- cameras that show nothing


def test_an_all_black_camera_is_noted(tmp_path: Path) -> None:
    told = "observation/image: shows one colour only in 3 of 3 sampled episodes"
    assert any(told in note for note in Source.open(str(case("zeros")), "train").notes())
    what = embedding(case("zeros"), "image")
    report = jobs.embed(job(tmp_path / "store"), what)
    told = "observation/image: shows one colour only in 3 of 3 episodes"
    assert any(told in note for note in report.notes)


def wrist_missing(tmp_path: Path, **how: Any) -> Store:
    what = ScoreOptions(
        load_pixel_mean_encoder, "field:language_instruction", reward="cosine", **how
    )
    embed = embedding(case("wristmissing"), "image", "wrist", accept_empty=True)
    jobs.relabel(job(tmp_path / "store"), embed, what)
    return Store.open(str(tmp_path / "store"))


def test_empty_images_are_dead_letters_until_they_are_accepted(tmp_path: Path) -> None:
    what = embedding(case("wristmissing"), "image", "wrist")
    with pytest.raises(DeadLetterError, match="--skip-blank-cameras accepts it"):
        jobs.embed(job(tmp_path / "store"), what)
    report = jobs.embed(
        job(tmp_path / "store"),
        embedding(case("wristmissing"), "image", "wrist", accept_empty=True),
    )
    assert report.frames_new == 0, "nothing is computed twice"
    assert "observation/wrist: has no image in 2 of 8 episodes" in " ".join(report.notes)
    assert all(not problems for _, problems in verify_store(Store.open(report.store)))


@pytest.mark.parametrize("fusion", [Fusion.MEAN, Fusion.MAX])
def test_a_missing_wrist_camera_does_not_count(fusion: Fusion, tmp_path: Path) -> None:
    store = wrist_missing(tmp_path, fusion=fusion, skip_blank_cameras=True)
    assert store.rewards("v1").skip_blank_cameras
    for name, camera in (("front", "image"), ("wrist", "wrist")):
        more = ScoreOptions(
            load_pixel_mean_encoder,
            "field:language_instruction",
            name=name,
            reward="cosine",
            cameras=(camera,),
        )
        jobs.score(job(tmp_path / "store"), more)
    fused, front, wrist = (
        matrix(store.read(f"rewards/{name}").column(fields.SCORE))
        for name in ("v1", "front", "wrist")
    )
    missing = np.isnan(wrist).all(axis=1)
    ids = np.array(store.read("steps").column(fields.EPISODE_ID).to_pylist())
    assert set(ids[missing]) == {"train/0/1", "train/0/5"}
    both = (front + wrist) / 2 if fusion is Fusion.MEAN else np.maximum(front, wrist)
    expected_scores = np.where(missing[:, None], front, both)
    np.testing.assert_allclose(fused, expected_scores, atol=1e-6)


def test_without_the_option_such_a_frame_has_no_score(tmp_path: Path) -> None:
    store = wrist_missing(tmp_path)
    assert not store.rewards("v1").skip_blank_cameras
    scores = matrix(store.read("rewards/v1").column(fields.SCORE))
    steps = store.read("steps").column(fields.EPISODE_ID).to_pylist()
    empty = np.isin(steps, ["train/0/1", "train/0/5"])
    np.testing.assert_array_equal(np.isnan(scores).all(axis=1), empty)


def black(when: Any) -> Any:
    """Frames as PNG, black where `when` says so of the frame."""
    return lambda frame: encoded_image(frame * np.uint8(not when(frame)))


def test_black_frames_do_not_count_and_a_frame_that_no_camera_sees_has_no_score(
    tmp_path: Path,
) -> None:
    def at(*places: tuple[int, int]) -> Any:
        return lambda frame: any(np.array_equal(frame, pixels(*place, 3)) for place in places)

    image = kinds.Image(shape=(None, None, 3))
    forms = {"front": (image, black(at((0, 1)))), "wrist": (image, black(at((0, 1), (1, 0))))}
    source = write(tmp_path / "source", forms, 3)
    goals = tmp_path / "goals.yaml"
    goals.write_text("name: g\ngoals:\n- {id: r, texts: [red]}\n- {id: b, texts: [blue]}\n")
    what = ScoreOptions(
        load_pixel_mean_encoder, str(goals), reward="cosine", skip_blank_cameras=True
    )
    jobs.relabel(job(tmp_path / "store"), embedding(source, "front", "wrist"), what)
    store = Store.open(str(tmp_path / "store"))
    blanks = {
        e.camera: store.read(e.table).column(fields.BLANK).to_pylist() for e in store.embeddings()
    }
    assert blanks["observation.front"] == [False, True, False, False, False, False]
    assert blanks["observation.wrist"] == [False, True, False, True, False, False]
    prompts = load_pixel_mean_encoder().encode_texts(["red", "blue"])
    direct = (expected(3) @ prompts.T).astype(np.float32)
    direct[1] = np.nan
    scores = matrix(store.read("rewards/v1").column(fields.SCORE))
    np.testing.assert_allclose(scores, direct, atol=1e-6)
    assert all(not problems for _, problems in verify_store(store))


def test_episodes_without_a_frame_are_not_blank(tmp_path: Path) -> None:
    steps = kinds.Dataset({"front": kinds.Image(shape=(None, None, 3)), "action": np.float32})
    lit = [{"front": encoded_image(pixels(0, t, 3)), "action": 1.0} for t in range(2)]
    items = [{"steps": own} for own in (lit, [], lit)]
    source = tmp_path / "source"
    write_rlds(source, kinds.FeaturesDict({"steps": steps}), items, shard_lengths=[3])
    done = jobs.embed(job(tmp_path / "store"), embedding(source, "front"))
    assert (done.episodes, done.episodes_empty) == (3, 1)
    assert not any(note.startswith("front:") for note in done.notes)


def test_an_older_store_does_not_know_which_frames_are_blank(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "store-1.0"
    goals = tmp_path / "goals.yaml"
    goals.write_text("name: g\ngoals:\n- {id: r, texts: [red]}\n- {id: b, texts: [blue]}\n")
    what = ScoreOptions(load_pixel_mean_encoder, str(goals), skip_blank_cameras=True, name="new")
    with pytest.raises(StoreError, match="--skip-blank-cameras needs to know which frames"):
        jobs.score(job(golden, dry_run=True), what)
