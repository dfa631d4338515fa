"""Sources: our reader against TFDS's own, damage, discovery, and what a last step means."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from relabel.frames.decoding import decode_frame
from relabel.source.source import Episode, Source, is_action
from relabel.testing import (
    encoded_image,
    serialize_episode,
    write_rlds,
    write_shard,
)
from schemas.dead_letters import DeadLetter
from schemas.enums import LastStep
from schemas.errors import SourceError
from schemas.slices import Slice, plan_slices
from tests import small
from tests.relabel import exotic

kinds = tfds.features


def read_all(source: Source, columns: Sequence[str] | None = None) -> list[Episode | DeadLetter]:
    names = [leaf.spec.name for leaf in source.features.steps] if columns is None else columns
    pieces = plan_slices(source.spec.split, source.spec.shard_lengths, 2)
    return [item for piece in pieces for item in source.read(piece, names)]


def whole(items: list[Episode | DeadLetter]) -> list[Episode]:
    assert all(isinstance(item, Episode) for item in items), items
    return [item for item in items if isinstance(item, Episode)]


def told(source: Source) -> list[str]:
    """The notes, without those on cameras: the frames of the small source are of one colour."""
    return [note for note in source.notes() if "one colour only" not in note]


# --- TFDS as the oracle


def check_column(ours: Any, theirs: list[Any], spec: Any, where: str) -> None:
    """Every value of one column of one episode, type and shape included."""
    assert len(ours) == len(theirs), where
    if spec.kind == "text":
        assert ours == [as_text(value, spec) for value in theirs], where
        return
    if spec.kind == "tensor" and None not in spec.shape:
        assert isinstance(ours, np.ndarray), where
        assert ours.dtype == np.dtype(spec.dtype), where
        assert ours.shape == (len(theirs), *spec.shape), where
    for mine, other in zip(ours, theirs, strict=True):
        if spec.kind == "image":
            assert mine == other, where
        else:
            np.testing.assert_array_equal(np.ravel(mine), np.ravel(other), err_msg=where)


def as_text(value: Any, spec: Any) -> Any:
    """A text, or its phrasings, as TFDS reads it."""
    if spec.shape:
        return [text.decode("utf-8") for text in np.ravel(value)]
    return (
        value.decode("utf-8")
        if isinstance(value, bytes)
        else bytes(value[value > 0].tolist()).decode()
    )


def check_against_tfds(source: Source) -> int:
    """Compares a whole source; the number of compared frames."""
    ours = whole(read_all(source))
    theirs = list(exotic.as_tfds_reads(source))
    assert len(ours) == len(theirs) == source.episodes
    for episode, (columns, metadata) in zip(ours, theirs, strict=True):
        assert episode.steps.keys() == columns.keys()
        for leaf in source.features.steps:
            name = leaf.spec.name
            check_column(episode.steps[name], columns[name], leaf.spec, f"{episode.id} {name}")
        assert episode.metadata.keys() == metadata.keys()
        for name, value in metadata.items():
            plain = value.decode() if isinstance(value, bytes) else value
            np.testing.assert_array_equal(episode.metadata[name], plain, err_msg=name)
    return sum(episode.length for episode in ours)


def test_the_small_source_is_read_as_tfds_reads_it(source: Source) -> None:
    assert check_against_tfds(source) == 11


def test_every_kind_of_feature_is_read_as_tfds_reads_it(tmp_path: Path) -> None:
    assert check_against_tfds(exotic.write(tmp_path / "src")) == 8


@pytest.mark.slow
def test_real_bridge_data_are_read_as_tfds_reads_them(bridge_dir: Path) -> None:
    source = Source.open(str(bridge_dir), "train")
    assert check_against_tfds(source) == 250
    assert len(source.cameras) == 4


def test_array_record_is_read_like_tfrecord(source: Source, tmp_path: Path) -> None:
    other = small.write_source(tmp_path / "src", file_format="array_record")
    assert other.file_format == "array_record"
    for one, two in zip(whole(read_all(source)), whole(read_all(other)), strict=True):
        assert (one.id, one.length, one.metadata) == (two.id, two.length, two.metadata)
        for name in one.steps:
            np.testing.assert_array_equal(one.steps[name], two.steps[name])


def test_array_record_is_read_as_tfds_reads_it(tmp_path: Path) -> None:
    source = small.write_source(tmp_path / "src", file_format="array_record")
    theirs = tfds.builder_from_directory(source.directory).as_data_source("train")
    ours = whole(read_all(source))
    assert len(theirs) == len(ours) == 5
    for episode, example in zip(ours, theirs, strict=True):
        steps = list(example["steps"])
        assert episode.length == len(steps)
        assert episode.metadata["seed"] == example["episode_metadata"]["seed"]
        for t, step in enumerate(steps):
            np.testing.assert_array_equal(episode.steps["action"][t], step["action"])
            front = decode_frame(episode.steps[small.FRONT][t])
            np.testing.assert_array_equal(front, step["observation"]["front"])


def test_episodes_are_those_that_were_written(source: Source) -> None:
    episodes = whole(read_all(source))
    assert [e.id for e in episodes] == [
        "train/0/0", "train/0/1", "train/0/2", "train/1/0", "train/1/1",
    ]  # fmt: skip
    assert [e.length for e in episodes] == list(small.LENGTHS)
    for episode, raw in zip(episodes, small.episodes(), strict=True):
        assert episode.metadata == raw["episode_metadata"]
        for t, step in enumerate(raw["steps"]):
            assert episode.steps["language_instruction"][t] == step["language_instruction"]
            assert episode.steps[small.WRIST][t] == step["observation"]["wrist"]
            np.testing.assert_array_equal(episode.steps["action"][t], step["action"])


def test_any_cut_into_slices_gives_the_same_episodes(source: Source) -> None:
    def ids(per_slice: int) -> list[str]:
        pieces = plan_slices("train", source.spec.shard_lengths, per_slice)
        return [e.id for p in pieces for e in whole(list(source.read(p, ["action"])))]

    assert ids(1) == ids(2) == ids(100)


def test_only_the_columns_asked_for_are_parsed(source: Source) -> None:
    (episode,) = whole(list(source.read(Slice(0, 1, "train", 0, 0, 1), ["action"])))
    # The flags too: they bound the episode.
    assert sorted(episode.steps) == ["action", "is_first", "is_last", "is_terminal"]


def test_reading_imports_no_tensorflow(tmp_path: Path) -> None:
    exotic.write(tmp_path / "src")
    code = (
        "import sys; from relabel.source.source import Source; from schemas.slices import Slice;"
        f"s = Source.open({str(tmp_path / 'src')!r}, 'train');"
        "names = [leaf.spec.name for leaf in s.features.steps];"
        "items = list(s.read(Slice(0, 1, 'train', 0, 0, 3), names));"
        "assert [e.length for e in items] == [3, 1, 0], items;"
        "assert 'tensorflow' not in sys.modules, 'TensorFlow was imported'"
    )
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# --- damage


def shard_of(records: list[bytes], directory: Path) -> Source:
    """A source of one shard that holds these records, whatever they are."""
    write_rlds(directory, small.features(), small.episodes((1,) * len(records)),
               shard_lengths=[len(records)])  # fmt: skip
    source = Source.open(str(directory), "train")
    write_shard(Path(source.paths[0]), records, "tfrecord")
    return Source.open(str(directory), "train")


def good_record(index: int = 0, length: int = 2) -> bytes:
    return serialize_episode(small.features(), small.one_episode(index, length))


def reasons(source: Source) -> list[str | None]:
    return [item.reason if isinstance(item, DeadLetter) else None for item in read_all(source)]


def edited(record: bytes, change: Any) -> bytes:
    """A serialized episode with its protocol buffer changed."""
    example = tf_example_pb2.Example.FromString(record)
    change(example.features.feature)
    return bytes(example.SerializeToString())


def shorten_actions(feature: Any) -> None:
    del feature["steps/action"].float_list.value[-2:]


def change_type(feature: Any) -> None:
    feature["steps/is_first"].float_list.value.extend([1.5])


def spoil_text(feature: Any) -> None:
    feature["steps/language_instruction"].bytes_list.value[1] = b"caf\xe9"


def spoil_metadata_text(feature: Any) -> None:
    feature["episode_metadata/file"].bytes_list.value[0] = b"\xff\xfe"


def drop_action(feature: Any) -> None:
    del feature["steps/action"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            shorten_actions,
            "disagree on the number of steps: 'action' has 1, the others 2; `--exclude action` re",
        ),
        (drop_action, "feature 'action' is missing from the record, though features.json has it"),
        (
            change_type,
            "feature 'is_first': expected values of bool, the record has a float_list; `--exclude "
            "is_first` reads all records without it",
        ),
    ],
)
def test_a_record_that_breaks_the_promise_is_dead_alone(
    change: Any, text: str, tmp_path: Path
) -> None:
    records = [good_record(0), edited(good_record(1), change), good_record(2)]
    first, second, third = reasons(shard_of(records, tmp_path / "src"))
    assert (first, third) == (None, None)
    assert second is not None
    assert text in second
    assert "small-train.tfrecord-00000-of-00001" in second


def test_a_text_that_is_no_text_is_lost_alone(tmp_path: Path) -> None:
    records = [good_record(0), edited(good_record(1), spoil_text), good_record(2)]
    source = shard_of([*records, edited(good_record(0), spoil_metadata_text)], tmp_path / "src")
    first, second, _, fourth = whole(read_all(source))
    assert first.steps["language_instruction"] == ["open the drawer"] * 2
    assert second.steps["language_instruction"] == ["fermé", None]
    assert (first.metadata["file"], fourth.metadata["file"]) == ("/raw/é0.h5", None)
    assert second.steps["action"].shape == (2, 2)
    assert told(source) == [
        "language_instruction: 1 sampled texts are not UTF-8 and are left out (null)",
        "episode_metadata.file: 1 sampled texts are not UTF-8 and are left out (null)",
    ]


def test_bytes_that_are_no_example_are_dead_alone(tmp_path: Path) -> None:
    records = [good_record(0), b"\xff" * 40, b"", good_record(1)]
    found = reasons(shard_of(records, tmp_path / "src"))
    assert [reason is None for reason in found] == [True, False, False, True]


def test_a_dead_letter_names_its_episode(tmp_path: Path) -> None:
    source = shard_of([good_record(0), b"\xff"], tmp_path / "src")
    _, letter = read_all(source)
    assert isinstance(letter, DeadLetter)
    assert (letter.episode_id, letter.step, letter.camera) == ("train/0/1", None, None)


def test_a_truncated_shard_loses_only_what_was_cut(source_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(source_dir, tmp_path / "src"))
    source = Source.open(str(directory), "train")
    shard, before = Path(source.paths[1]), whole(read_all(source))
    content = shard.read_bytes()
    for cut in [0, 5, 12, 700, len(content) // 2, len(content) - 1]:
        shard.write_bytes(content[:cut])
        items = read_all(source)
        assert len(items) == 5
        for item, intact in zip(items, before, strict=True):
            if isinstance(item, Episode):
                np.testing.assert_equal(dataclasses.asdict(item), dataclasses.asdict(intact))
            else:
                assert item.episode_id == intact.id
                assert "early" in item.reason
        assert isinstance(items[4], DeadLetter)


def test_a_missing_shard_is_an_error(source_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(source_dir, tmp_path / "src"))
    source = Source.open(str(directory), "train")
    Path(source.paths[1]).unlink()
    with pytest.raises(SourceError, match=r"00001-of-00002: the shard is missing"):
        read_all(source)


# --- discovery


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: no such directory"):
        Source.open(str(tmp_path / "nowhere"), "train")


def test_a_directory_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"not a TFDS dataset \(no features.json\)$"):
        Source.open(str(tmp_path), "train")


def test_one_level_above_gives_a_hint(source_dir: Path) -> None:
    with pytest.raises(SourceError, match=rf"did you mean {source_dir}\?"):
        Source.open(str(source_dir.parent), "train")


def test_a_broken_description(source_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(source_dir, tmp_path / "src"))
    (directory / "features.json").write_text("{")
    with pytest.raises(SourceError, match="description cannot be read"):
        Source.open(str(directory), "train")


def test_a_dataset_that_is_not_rlds(tmp_path: Path) -> None:
    features = kinds.FeaturesDict({"image": kinds.Image(shape=(2, 2, 3)), "label": np.int64})
    example = {"image": np.zeros((2, 2, 3), np.uint8), "label": 1}
    write_rlds(tmp_path / "src", features, [example], shard_lengths=[1])
    with pytest.raises(SourceError, match=r"not RLDS: .*'steps', got the features: image, label"):
        Source.open(str(tmp_path / "src"), "train")


def test_an_unknown_split_lists_the_splits(source: Source) -> None:
    with pytest.raises(SourceError, match=r"no split 'test'; there are train"):
        Source.open(source.directory, "test")


def test_an_empty_split_is_no_split(source_dir: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(source_dir, tmp_path / "src"))
    write_rlds(directory, small.features(), [], shard_lengths=[0], split="val")
    assert Source.open(str(directory), "train").episodes == 5
    with pytest.raises(SourceError, match=r"no split 'val'; there are train"):
        Source.open(str(directory), "val")


def test_tilde_is_the_home_directory(source_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(source_dir.parent))
    home, direct = (Source.open(p, "train") for p in (f"~/{source_dir.name}", str(source_dir)))
    assert home.spec == direct.spec
    assert [e.id for e in whole(read_all(home))] == [e.id for e in whole(read_all(direct))]


def test_fingerprint_says_which_source_it_is_and_digests_what_it_holds(
    source: Source, tmp_path: Path
) -> None:
    def digests(other: Source) -> list[str]:
        return [s.found.digest(0, s.length) for s in other.extent.shards]

    same = small.write_source(tmp_path / "same")
    assert same.spec == source.spec
    assert digests(same) == digests(source)
    items = small.episodes()
    items[0]["episode_metadata"]["file"] = "/raw/è0.h5"
    changed = small.write_source(tmp_path / "changed", items)
    assert changed.spec == source.spec
    assert digests(changed)[0] != digests(source)[0]
    assert digests(changed)[1] == digests(source)[1]
    other_format = small.write_source(tmp_path / "array", file_format="array_record")
    assert other_format.spec.fingerprint != source.spec.fingerprint


# --- cameras


@pytest.mark.parametrize(
    "name",
    ["observation/front", "observation.front", "front", "steps/observation/front", "/front/"],
)
def test_a_camera_has_several_spellings(source: Source, name: str) -> None:
    assert tuple(source.resolve_cameras([name])) == (small.FRONT,)


def test_a_camera_is_taken_once(source: Source) -> None:
    assert tuple(source.resolve_cameras(["wrist", "front", "observation/wrist"])) == (
        small.WRIST,
        small.FRONT,
    )


@pytest.mark.parametrize(("names", "text"), [(["top"], "unknown camera 'top'"), ([], "no camera")])
def test_a_wrong_camera_lists_the_cameras(source: Source, names: list[str], text: str) -> None:
    with pytest.raises(SourceError, match=text) as caught:
        source.resolve_cameras(names)
    assert "observation/front, observation/wrist" in str(caught.value)


def write_step(directory: Path, step: dict[str, Any], values: list[dict[str, Any]]) -> Source:
    """A source of one episode with these step features."""
    features = kinds.FeaturesDict({"steps": kinds.Dataset(step)})
    write_rlds(directory, features, [{"steps": values}], shard_lengths=[1])
    return Source.open(str(directory), "train")


def test_ambiguous_cameras(tmp_path: Path) -> None:
    image, pixels = kinds.Image(shape=(None, None, 3)), encoded_image(np.zeros((2, 2, 3), np.uint8))
    step = {"left": {"rgb": image}, "right": {"rgb": image}, "rgb": image}
    value = {"left": {"rgb": pixels}, "right": {"rgb": pixels}, "rgb": pixels}
    source = write_step(tmp_path / "src", step, [value])
    assert tuple(source.resolve_cameras(["rgb"])) == ("rgb",), "an exact name is not ambiguous"
    assert tuple(source.resolve_cameras(["left/rgb"])) == ("left.rgb",)
    del step["rgb"], value["rgb"]
    source = write_step(tmp_path / "src2", step, [value])
    with pytest.raises(SourceError, match=r"ambiguous camera 'rgb'; .*left/rgb, right/rgb"):
        source.resolve_cameras(["rgb"])


def test_a_source_without_images_says_so(tmp_path: Path) -> None:
    source = write_step(tmp_path / "src", {"action": np.float32}, [{"action": 1.0}])
    with pytest.raises(SourceError, match="no camera at all"):
        source.resolve_cameras(["front"])


# --- what a last step means


def test_zero_last_actions_are_fillers(source: Source) -> None:
    meaning, reason = source.detect_last_step()
    assert meaning is LastStep.FINAL_OBSERVATION
    assert reason == "0 of 4 sampled episodes end with a non-zero action"


def test_one_real_last_action_settles_it(tmp_path: Path) -> None:
    items = small.episodes()
    items[3]["steps"][-1]["action"] = np.array([0, 0.5], np.float32)
    source = small.write_source(tmp_path / "src", items)
    meaning, reason = source.detect_last_step()
    assert meaning is LastStep.CARRIES_ACTION
    assert reason == "1 of 4 sampled episodes end with a non-zero action"


def test_nan_is_a_filler(tmp_path: Path) -> None:
    items = small.episodes()
    for episode in items:
        for step in episode["steps"][-1:]:
            step["action"] = np.array([np.nan, 0], np.float32)
    assert small.write_source(tmp_path / "src", items).detect_last_step()[0] is (
        LastStep.FINAL_OBSERVATION
    )


def test_parts_of_an_action_count(tmp_path: Path) -> None:
    source = exotic.write(tmp_path / "src")  # action/move is random, action/grip counts
    assert source.detect_last_step()[0] is LastStep.CARRIES_ACTION
    assert [is_action(name) for name in ("action", "action.grip", "actions", "reaction")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_without_actions_the_last_step_is_an_observation(tmp_path: Path) -> None:
    source = write_step(tmp_path / "src", {"reward": np.float32}, [{"reward": 1.0}])
    meaning, reason = source.detect_last_step()
    assert meaning is LastStep.FINAL_OBSERVATION
    assert "no action feature" in reason


def test_without_a_readable_episode_nothing_is_claimed(tmp_path: Path) -> None:
    source = shard_of([b"\xff"], tmp_path / "src")
    assert source.detect_last_step() == (
        LastStep.FINAL_OBSERVATION,
        "no readable episode to look at",
    )


def test_real_bridge_data_carry_a_last_action(bridge_dir: Path) -> None:
    meaning, reason = Source.open(str(bridge_dir), "train").detect_last_step()
    assert meaning is LastStep.CARRIES_ACTION
    assert reason.endswith("of 20 sampled episodes end with a non-zero action")


# --- hints


def test_instructions_and_their_fields(tmp_path: Path, source: Source) -> None:
    assert source.sample_instructions() == ("open the drawer", "fermé")
    other = exotic.write(tmp_path / "src")
    assert other.features.language_fields == ("language",)
    assert other.sample_instructions() == ("öffne",)


def test_blank_text_is_no_instruction() -> None:
    steps = {"a": ["  ", "x"], "b": ["do it", "x"]}
    episode = Episode("train/0/0", 2, steps, {})
    assert episode.language(["a", "b"]) == "x"  # the first field that has any, later or not
    assert episode.language(["b", "a"]) == "do it"
    assert Episode("train/0/0", 0, {"a": []}, {}).language(["a"]) is None


def test_episodes_without_an_end_are_noted(tmp_path: Path, source: Source) -> None:
    assert told(source) == []
    items = small.episodes()
    items[0]["steps"][-1]["is_last"] = False
    (note,) = told(small.write_source(tmp_path / "src", items))
    assert note.startswith("1 of 4 sampled episodes have no step marked is_last")


@pytest.mark.parametrize(
    ("stored_bytes", "shards", "expected"),
    [
        (0, (5,), 5),
        (10, (5, 5), 10),  # far below 1 MiB: one slice may hold all of it
        (80 << 20, (40, 40), 10),  # eight slices of 10 MiB
        (8 << 40, (1 << 18,), 2),  # 32 MiB an episode, 64 MiB a slice
        (1 << 40, (10,), 1),  # never less than one episode
    ],
)
def test_default_slices_have_a_good_size(
    source: Source, stored_bytes: int, shards: tuple[int, ...], expected: int
) -> None:
    other = Source.__new__(Source)
    other.spec = source.spec.model_copy(update={"shard_lengths": shards})
    other.stored_bytes = stored_bytes
    assert min(other.default_episodes_per_slice(), sum(shards)) == expected


def test_written_metadata_are_tfds_own(source_dir: Path) -> None:
    info = json.loads((source_dir / "dataset_info.json").read_text())
    assert info["splits"][0]["shardLengths"] == ["3", "2"]
