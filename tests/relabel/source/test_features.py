"""Feature specifications as flat columns: names, types, shapes, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from relabel.source.examples import EpisodeParser
from relabel.source.features import Features, read_features
from relabel.source.source import Episode, Source
from relabel.testing import serialize_episode
from schemas.errors import EpisodeError, SourceError
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import FieldSpec
from tests import small
from tests.relabel import exotic

kinds = tfds.features


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return exotic.write(tmp_path_factory.mktemp("exotic") / "1.0.0")


def spec(source: Source, name: str) -> FieldSpec:
    leaves = (*source.features.steps, *source.features.metadata)
    return next(leaf.spec for leaf in leaves if leaf.spec.name == name)


@pytest.mark.parametrize(
    ("name", "kind", "dtype", "shape"),
    [
        ("observation.image", "image", "uint8", ()),
        ("observation.zipped", "tensor", "float32", (2, 3)),
        ("observation.packed", "tensor", "float64", (2,)),
        ("observation.half", "tensor", "float16", (2,)),
        ("observation.bytes", "tensor", "uint8", (3,)),
        ("observation.flags", "tensor", "bool", (2,)),
        ("observation.label", "tensor", "int64", ()),
        ("observation.box", "tensor", "float32", (4,)),
        ("observation.words", "text", "object", (2,)),
        ("observation.word", "text", "object", ()),
        ("observation.blob", "tensor", "object", ()),
        ("observation.blobs", "tensor", "object", (2,)),
        ("phrasings", "text", "object", (None,)),
        ("observation.numbers", "tensor", "int64", (None,)),
        ("observation.points", "tensor", "float32", (None, 2)),
        ("observation.arm.joints.angle", "tensor", "float32", (1,)),
        ("action.move", "tensor", "float32", (2,)),
        ("is_first", "tensor", "bool", ()),
        ("language", "text", "object", ()),
        ("file", "text", "object", ()),
        ("robot", "tensor", "int64", ()),
        ("pose", "tensor", "float32", (2,)),
    ],
)
def test_every_kind_of_feature_has_a_column(
    source: Source, name: str, kind: Any, dtype: str, shape: tuple[int | None, ...]
) -> None:
    assert spec(source, name) == FieldSpec(name=name, kind=kind, dtype=dtype, shape=shape)


def test_integers_that_spell_a_text_are_one(source: Source) -> None:
    name = "observation.codes"
    assert spec(source, name) == FieldSpec(name=name, kind="text", dtype="object", codes=True)
    assert spec(source, "observation.bytes").kind == "tensor"


def test_what_cannot_be_a_column_is_left_out_with_its_reason(source: Source) -> None:
    assert source.features.left_out == {
        "observation.deep": "shape [None, None] has more than one open length",
        "observation.table": "a Dataset feature cannot be a column",
        "observation.records": "a Sequence of several values cannot be a column",
        "thumbnail": "an image of the whole episode",
        "steps.step": "there is a column 'step' already",
        "n": "there is a column 'n' already",
    }


def test_columns_are_in_order_and_distinct(source: Source) -> None:
    names = [leaf.spec.name for leaf in source.features.steps]
    assert names == sorted(names)
    assert len(set(names)) == len(names) == 24
    assert [leaf.spec.name for leaf in source.features.metadata] == ["file", "n", "pose", "robot"]
    assert source.features.cameras == ("observation.image",)


def test_every_kind_of_column_goes_into_a_store(
    source: Source, tmp_path: Path, row_groups_of_three: None
) -> None:
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source, keep=True))
    small.embed(store, source, small.source_tables(store, []))
    steps, episodes = store.read("steps"), store.read("episodes")
    raw = [step for episode in exotic.episodes() for step in episode["steps"]]

    def column(name: str) -> list[Any]:
        return steps.column(name).to_pylist()

    observations = [step["observation"] for step in raw]
    for name in ("zipped", "packed", "half", "bytes", "flags"):
        assert column(f"observation.{name}") == [o[name].ravel().tolist() for o in observations]
    assert column("observation.image") == [o["image"] for o in observations]
    assert column("observation.numbers") == [o["numbers"] for o in observations]
    assert column("observation.points") == [
        [x for point in o["points"] for x in point] for o in observations
    ]
    assert column("observation.label") == [o["label"] for o in observations]
    assert column("observation.words") == [o["words"] for o in observations]
    assert column("observation.word") == [o["word"] for o in observations]
    assert column("observation.blob") == [o["blob"] for o in observations]
    assert column("observation.blobs") == [o["blobs"] for o in observations]
    assert column("observation.codes") == ["öffne die tür"] * len(raw)
    assert column("phrasings") == [step["phrasings"] for step in raw]
    assert column("observation.box") == [[0, 0.25, 0.5, 1]] * len(raw)
    assert column("language") == ["öffne"] * len(raw)
    assert episodes.column("episode_metadata.n").to_pylist() == [0, 7, 14, 21]
    assert episodes.column("episode_metadata.robot").to_pylist() == [0, 1, 0, 1]
    poses = [episode["pose"].tolist() for episode in exotic.episodes()]
    assert episodes.column("episode_metadata.pose").to_pylist() == poses
    assert episodes.column("language").to_pylist() == ["öffne", "öffne", None, "öffne"]


def test_an_empty_episode_keeps_types_and_shapes(source: Source) -> None:
    names = [leaf.spec.name for leaf in source.features.steps]
    (episode,) = source.read(Slice(0, 1, "train", 0, 2, 3), names)
    assert isinstance(episode, Episode)
    assert episode.length == 0
    for leaf in source.features.steps:
        values = episode.steps[leaf.spec.name]
        assert len(values) == 0
        if isinstance(values, np.ndarray):
            assert values.shape[1:] == leaf.spec.shape
            assert values.dtype == leaf.spec.dtype


# --- other feature specifications


def flat(step: Any, **metadata: Any) -> Features:
    features = kinds.FeaturesDict({"steps": kinds.Dataset(step), **metadata})
    return read_features(features, "here")


def test_language_fields_come_first() -> None:
    text = kinds.Text()
    found = flat({"a": text, "natural_language": text, "z_instruction": text, "n": np.int64})
    assert found.text_fields == ("natural_language", "z_instruction", "a")
    assert found.language_fields == ("natural_language", "z_instruction")


def test_texts_of_steps_before_those_of_the_episode() -> None:
    text = kinds.Text()
    found = flat(
        {"note": text, "task": text, "language_b": text},
        episode_metadata={"language_a": text, "file": text, "goal": text},
    )
    assert found.text_fields == (
        *("language_b", "episode_metadata.language_a", "task", "episode_metadata.goal"),
        *("note", "episode_metadata.file"),
    )
    assert found.language_fields == found.text_fields[:4]


def test_where_no_name_sounds_like_language_all_texts_of_steps_may_be() -> None:
    text = kinds.Text()
    found = flat({"b": text, "a": np.str_}, episode_metadata={"file": text})
    assert found.language_fields == ("a", "b")


def test_videos_and_sound_are_left_out() -> None:
    found = flat(
        {"clip": kinds.Video(shape=(None, 2, 2, 3)), "sound": kinds.Audio(), "x": np.int64}
    )
    assert [leaf.spec.name for leaf in found.steps] == ["x"]
    assert found.left_out == {
        "clip": "a Video feature cannot be a column",
        "sound": "an Audio feature cannot be a column",
    }


def test_steps_of_a_single_feature_are_named_steps() -> None:
    assert [leaf.spec.name for leaf in flat(np.float32).steps] == ["steps"]


@pytest.mark.parametrize(
    ("features", "got"),
    [
        (kinds.FeaturesDict({"label": np.int64, "image": kinds.Image()}), "image, label"),
        (kinds.FeaturesDict({"steps": kinds.Tensor(shape=(2,), dtype=np.float32)}), "Tensor"),
        (kinds.Text(), "Text"),
    ],
)
def test_what_is_not_rlds(features: Any, got: str) -> None:
    with pytest.raises(SourceError, match=rf"here: not RLDS: .*got the features: .*{got}") as error:
        read_features(features, "here")
    assert "https://github.com/google-research/rlds" in str(error.value)


# --- the parser by itself


def parser(columns: list[str]) -> EpisodeParser:
    return EpisodeParser(read_features(small.features(), "here"), columns)


def records() -> Iterator[bytes]:
    return (serialize_episode(small.features(), episode) for episode in small.episodes())


def test_parsing_without_columns_gives_the_metadata() -> None:
    steps, metadata = parser([]).parse(next(records()))
    assert list(steps) == ["is_first", "is_last", "is_terminal"]  # they bound the episode
    assert metadata == {"file": "/raw/é0.h5", "seed": 100}


def test_names_that_are_no_column_are_passed_over() -> None:
    steps, _ = parser(["action", "nothing"]).parse(next(records()))
    assert sorted(steps) == ["action", "is_first", "is_last", "is_terminal"]


@pytest.mark.parametrize("record", [b"\xff\xff", b"", b"abc"])
def test_bytes_that_are_no_episode(record: bytes) -> None:
    with pytest.raises(EpisodeError, match="the record does not parse"):
        parser(["action"]).parse(record)
