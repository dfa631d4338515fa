"""Dataset directories as they come: not whole, not fetched, far away, or badly described."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relabel.inspection.inspection import inspect_source
from relabel.source.opening import open_dataset
from relabel.source.source import Episode, Source
from relabel.testing import serialize_episode, write_rlds, write_shard
from schemas.errors import RelabelError, SourceError
from schemas.object_stores import open_url
from schemas.slices import Slice
from tests import buckets, small

Change = Callable[[dict[str, Any]], object]


def told(directory: Path, change: Change, file: str = "dataset_info.json") -> str:
    """Writes the small source with another description; its directory."""
    if not directory.exists():
        small.write_source(directory)
    content = json.loads((directory / file).read_text())
    change(content)
    (directory / file).write_text(json.dumps(content))
    return str(directory)


def split(**values: Any) -> Change:
    """Changes the only split: None takes a key away."""

    def change(info: dict[str, Any]) -> None:
        info["splits"][0].update(values)
        for key in [key for key, value in values.items() if value is None]:
            del info["splits"][0][key]

    return change


def step_features(content: dict[str, Any]) -> dict[str, Any]:
    steps = content["featuresDict"]["features"]["steps"]["sequence"]["feature"]
    features: dict[str, Any] = steps["featuresDict"]["features"]
    return features


def episodes(source: Source) -> list[str]:
    """Ids of all episodes that can be read."""
    pieces = [Slice(0, 1, r.split, r.shard, r.start, r.stop) for r in source.extent.part]
    items = (item for piece in pieces for item in source.read(piece, ["action"]))
    return [item.id for item in items if isinstance(item, Episode)]


IDS = ["train/0/0", "train/0/1", "train/0/2", "train/1/0", "train/1/1"]


# --- what the description leaves out, or tells wrongly


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (split(numBytes=None), None),
        (split(numBytes="0"), None),
        (split(filepathTemplate=None), None),
        (split(shardLengths=None), "does not say how many records"),
        (lambda info: info.pop("splits"), "does not say how many records"),
        (lambda info: info.pop("fileFormat"), None),
        (split(shardLengths=["2", "2"]), r"00000-of-00002 \(holds 3, told 2\): more records"),
        (split(shardLengths=["1", "1"]), r"00001-of-00002 \(holds 2, told 1\): more records"),
        (split(shardLengths=["0", "2"]), r"00000-of-00002 \(holds 3, told 0\): more records"),
    ],
)
def test_every_record_is_read_whatever_is_told(
    tmp_path: Path, change: Change, note: str | None
) -> None:
    directory = told(tmp_path / "src", change)
    source = Source.open(directory, "train")
    assert episodes(source) == IDS
    assert source.spec.shard_lengths == (3, 2)
    report = inspect_source(directory)
    (row,) = report.splits
    assert (row.episodes, row.found, row.shards) == (5, 5, 2)
    size = sum(path.stat().st_size for path in (tmp_path / "src").glob("*.tfrecord-*"))
    assert size - 16 * 5 <= row.bytes <= size
    notes = " ".join(source.extent.notes())
    assert set(source.extent.notes()) <= set(report.notes)
    assert (note is None) == (notes == "")
    if note is not None:
        assert re.search(note, notes)


def test_records_told_and_not_there_are_dead_letters(tmp_path: Path) -> None:
    source = Source.open(told(tmp_path / "src", split(shardLengths=["3", "4"])), "train")
    assert episodes(source) == IDS
    assert source.spec.shard_lengths == (3, 4)
    letters = list(source.read(Slice(0, 1, "train", 1, 0, 4), ["action"]))[2:]
    assert [getattr(letter, "episode_id", None) for letter in letters] == ["train/1/2", "train/1/3"]
    (note,) = source.extent.notes()
    assert "(holds 2, told 4): fewer records" in note


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (split(shardLengths=["x", "2"]), r"splits.0.shardLengths.0: .* got \"x\""),
        (split(shardLengths=["-1", "2"]), r"splits.0.shardLengths.0: .* got \"-1\""),
        (split(shardLengths="5"), r"splits.0.shardLengths: .* got \"5\""),
        (split(numBytes="many"), r"splits.0.numBytes: .* got \"many\""),
        (split(name=None), r"splits.0.name: .* got nothing"),
        (lambda info: info.update(splits="train"), r"splits: .* got \"train\""),
        (lambda info: info.pop("name"), r"name: .* got nothing"),
        (lambda info: info.pop("version"), r"version: .* got nothing"),
        (lambda info: info.update(version="one"), r"version: .* got \"one\""),
        (lambda info: info.update(fileFormat="zip"), r"fileFormat: .* got \"zip\""),
        (lambda info: info.update(speed=3), r"no field named \"speed\""),
        (lambda info: info.update(fileFormat="array_record"), r"but the files here are tfrecord"),
    ],
)
def test_a_broken_field_of_the_info_is_named(tmp_path: Path, change: Change, text: str) -> None:
    with pytest.raises(SourceError, match=rf"src/dataset_info.json: .*{text}") as raised:
        open_dataset(told(tmp_path / "src", change))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: step_features(c)["action"].pop("pythonClassName"), "steps.action: .*class name"),
        (lambda c: step_features(c)["reward"]["tensor"].update(dtype="float3"), "steps.reward: "),
        (lambda c: step_features(c).update(discount=5), "steps.discount: "),
        (
            lambda c: step_features(c)["observation"]["featuresDict"]["features"]["state"].update(
                pythonClassName="x.y.Z"
            ),
            "steps.observation.state: .*x.y.Z",
        ),
    ],
)
def test_a_broken_feature_is_named(tmp_path: Path, change: Change, text: str) -> None:
    with pytest.raises(SourceError, match=rf"src/features.json: {text}") as raised:
        open_dataset(told(tmp_path / "src", change, "features.json"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read: JSONDecodeError"),
        ("[]", "expected a JSON object, got list"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
    ],
)
def test_a_description_that_is_none_is_named(
    tmp_path: Path, file: str, text: str, reason: str
) -> None:
    small.write_source(tmp_path / "src")
    (tmp_path / "src" / file).write_text(text)
    with pytest.raises(SourceError, match=rf"src/{file}: .*{reason}"):
        open_dataset(str(tmp_path / "src"))


def test_without_an_info_it_is_no_dataset(tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    (tmp_path / "src/dataset_info.json").unlink()
    with pytest.raises(SourceError, match=r"not a TFDS dataset \(no dataset_info.json\)"):
        open_dataset(str(tmp_path / "src"))


# --- shards that are not there


def test_a_dataset_not_copied_whole_says_what_can_be_read(tmp_path: Path) -> None:
    source = small.write_source(tmp_path / "src")
    Path(source.paths[1]).unlink()
    whole = Source.open(str(tmp_path / "src"), "train")
    with pytest.raises(SourceError, match=r"00001-of-00002: .*not copied whole.*'train\[:3\]'"):
        whole.extent.check()
    part = Source.open(str(tmp_path / "src"), "train[:3]")
    part.extent.check()
    assert episodes(part) == IDS[:3]
    report = inspect_source(str(tmp_path / "src"))
    assert report.splits[0].shards_missing == 1
    assert "the file is missing" in report.notes[0]


def test_shards_of_another_number_are_named(tmp_path: Path) -> None:
    directory = told(tmp_path / "src", split(shardLengths=["5"]))
    expected = (
        "train.tfrecord-00000-of-00001: the shard is missing; the dataset was not copied whole, or "
        "dataset_info.json is of another version: its shardLengths do not go with "
        "small-train.tfrecord-00000-of-00002"
    )
    with pytest.raises(SourceError, match=re.escape(expected)):
        Source.open(directory, "train").extent.check()
    report = inspect_source(directory)
    assert expected in str(report.error)
    assert report.next_command is None


def test_pointers_instead_of_shards_are_named(tmp_path: Path) -> None:
    source = small.write_source(tmp_path / "src")
    Path(source.paths[1]).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(SourceError, match="00001-of-00002: is a Git LFS pointer"):
        inspect_source(str(tmp_path / "src"))


# --- other places


@pytest.mark.parametrize(
    ("directory", "text"),
    [
        ("file:///data/1.0.0", "given as a path: /data/1.0.0"),
        ("file://data/1.0.0", "given as a path: /data/1.0.0"),
        ("hdfs://host/data", "expected a path or gs://, s3://, got hdfs://"),
    ],
)
def test_a_url_that_cannot_be_opened_says_why(directory: str, text: str) -> None:
    with pytest.raises(RelabelError, match=text) as raised:
        open_dataset(directory)
    assert "no such directory" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs")])
def test_a_library_that_is_not_installed_names_its_extra(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError(f"Install the library of {scheme}")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(RelabelError, match=rf"pip install 'vlm-relabel\[{extra}\]'"):
        open_dataset(f"{scheme}://bucket/data/1.0.0")


@pytest.fixture
def bucket(s3: str, tmp_path: Path) -> str:
    """The small source behind an S3 endpoint."""
    small.write_source(tmp_path / "src")
    remote, path = open_url("s3://bucket/small/1.0.0")
    remote.put(f"{tmp_path}/src", path, recursive=True)
    return "s3://bucket/small/1.0.0"


def test_a_source_on_an_object_store_is_read(bucket: str, tmp_path: Path) -> None:
    source = Source.open(bucket, "train")
    assert episodes(source) == IDS
    local = Source.open(str(tmp_path / "src"), "train")
    assert source.spec == local.spec
    assert [s.found for s in source.extent.shards] == [s.found for s in local.extent.shards]
    assert inspect_source(bucket).splits == inspect_source(local.directory).splits
    with pytest.raises(SourceError, match="s3://bucket/none: no such directory"):
        Source.open("s3://bucket/none", "train")
    with pytest.raises(SourceError, match=rf"did you mean {bucket}\?"):
        Source.open("s3://bucket/small", "train")


def test_an_endpoint_that_is_not_there_is_no_missing_directory(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    buckets.hurry(monkeypatch)
    buckets.forget_endpoints()
    with pytest.raises(SourceError, match="s3://bucket/x: cannot be looked at: "):
        Source.open("s3://bucket/x", "train")


# --- splits


def test_without_a_train_split_the_others_are_proposed(tmp_path: Path) -> None:
    write_rlds(
        tmp_path / "src", small.features(), small.episodes((2, 2)), shard_lengths=[2], split="val"
    )
    with pytest.raises(SourceError, match=r"no split 'train'; there are val; .*--split val,"):
        Source.open(str(tmp_path / "src"), "train")
    assert "--split val " in inspect_source(str(tmp_path / "src")).next_command


def test_train_is_proposed_where_it_is(tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    more = small.episodes((2,))
    write_rlds(tmp_path / "src", small.features(), more, shard_lengths=[1], split="a")
    assert "--split train " in inspect_source(str(tmp_path / "src")).next_command


def test_a_split_that_only_its_files_tell_of(tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    shutil.copy(
        tmp_path / "src/small-train.tfrecord-00001-of-00002",
        tmp_path / "src/small-test.tfrecord-00000-of-00001",
    )
    assert episodes(Source.open(str(tmp_path / "src"), "test")) == ["test/0/0", "test/0/1"]


def test_records_behind_a_split_that_is_told_empty(tmp_path: Path) -> None:
    directory = told(tmp_path / "src", split(shardLengths=["0", "0"]))
    assert episodes(Source.open(directory, "train")) == IDS


def test_a_shard_written_behind_the_description(tmp_path: Path) -> None:
    source = small.write_source(tmp_path / "src")
    items = [serialize_episode(small.features(), small.one_episode(i, 2)) for i in range(4)]
    write_shard(Path(source.paths[1]), items, "tfrecord")
    assert episodes(Source.open(source.directory, "train"))[3:] == [
        f"train/1/{index}" for index in range(4)
    ]


@pytest.mark.parametrize("template", ["{DATASET}-{SPLIT}-{NO_SUCH}", "{", "{DATASET"])
def test_a_template_that_names_no_file_is_told(tmp_path: Path, template: str) -> None:
    directory = tmp_path / "source"
    small.write_source(directory)
    path = directory / "dataset_info.json"
    content = json.loads(path.read_text())
    content["splits"][0]["filepathTemplate"] = template
    path.write_text(json.dumps(content))
    with pytest.raises(SourceError, match=r"dataset_info\.json: the dataset description cannot"):
        Source.open(str(directory), "train")
