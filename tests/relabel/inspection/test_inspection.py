"""`inspect_source`: what a source holds, and a next command that the parser takes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from relabel.inspection.content import LengthReport, look_at
from relabel.inspection.inspection import SourceReport, SplitReport, inspect_source
from relabel.source.episodes import Episode
from relabel.testing import write_rlds
from schemas.enums import LastStep
from schemas.errors import SourceError
from schemas.tables import FieldSpec
from tests import small
from tests.relabel import exotic

kinds = tfds.features


def test_report_of_the_small_source(source_dir: Path) -> None:
    report = inspect_source(str(source_dir))
    assert (report.name, report.version, report.file_format) == ("small", "1.0.0", "tfrecord")
    (split,) = report.splits
    size = sum(path.stat().st_size for path in source_dir.glob("*.tfrecord-*"))
    framing = 16 * 5  # TFDS counts the records alone
    assert split == SplitReport(
        name="train", episodes=5, told=5, found=5, shards=2, shards_missing=0,
        bytes=size - framing, slices=2,
    )  # fmt: skip
    assert report.cameras == ("observation/front", "observation/wrist")
    assert [spec.name for spec in report.actions] == ["action"]
    columns = [spec.name for spec in report.columns]
    assert "observation.state" in columns
    assert "action" not in columns
    assert not set(columns) & {small.FRONT, small.WRIST}
    assert [spec.name for spec in report.metadata] == ["file", "seed"]
    assert report.left_out == {}
    assert report.language_fields == ("language_instruction",)
    assert report.instructions == ("open the drawer", "fermé")
    assert report.last_step is LastStep.FINAL_OBSERVATION
    assert report.last_step_reason.startswith("0 of 4 sampled episodes")
    assert (report.sampled, report.unreadable, report.error) == (5, (), None)
    told = "shows one colour only in 4 of 4 sampled episodes"
    assert [told in note for note in report.notes[:2]] == [True, True], "its frames are plain"
    assert report.notes[2:] == ("episodes without any step: 1",)


def test_what_the_first_episodes_hold(source_dir: Path) -> None:
    """Episodes of 3, 1, 0, 5 and 2 steps; the action at step t of episode e is (t + 1, -e)."""
    report = inspect_source(str(source_dir))
    assert report.lengths == LengthReport(episodes=4, min=1, median=2.5, max=5)
    (action,) = report.actions
    assert (action.dtype, action.shape) == ("float32", (2,))
    assert (action.low, action.high) == (-4, 4)
    assert (action.lows, action.highs) == ((0, -4), (4, 0))
    front, wrist = report.frames
    assert (front.name, front.sizes, front.frames) == ("observation/front", ((4, 6),), 9)
    assert wrist.one_colour == 9
    assert [m.examples for m in report.metadata] == [
        ("/raw/é0.h5", "/raw/é1.h5", "/raw/é2.h5"),
        ("100", "101", "102"),
    ]
    text = report.language[0]
    assert (text.values, text.empty, text.examples) == (11, 0, ("open the drawer", "fermé"))


def options(command: str | None) -> dict[str, str]:
    words = shlex.split(str(command))
    assert words[:2] == ["vlm-relabel", "relabel"]
    return dict(zip(words[2::2], words[3::2], strict=True))


def test_the_next_command_relabels_this_source(tmp_path: Path) -> None:
    directory = tmp_path / "a dataset" / "1.0.0"
    small.write_source(directory)
    assert options(inspect_source(str(directory)).next_command) == {
        "--source": str(directory),
        "--split": "train",
        "--camera": "observation/front",
        "--encoder": "ViT-B-32:laion2b_s34b_b79k",
        "--goals": "field:language_instruction",
        "--store": "small.store",
    }


def bare(directory: Path, steps: dict[str, Any], values: list[dict[str, Any]]) -> SourceReport:
    """Report on a source of one episode without flags."""
    features = kinds.FeaturesDict({"steps": kinds.Dataset(steps)})
    write_rlds(directory, features, [{"steps": values}], shard_lengths=[1])
    return inspect_source(str(directory))


def test_without_a_camera_the_command_embeds_none(tmp_path: Path) -> None:
    report = bare(tmp_path / "src", {"action": np.float32}, [{"action": 1.0}])
    source = ["--source", str(tmp_path / "src"), "--split", "train"]
    assert shlex.split(str(report.next_command)) == [
        *("vlm-relabel", "embed", "--no-frames", *source, "--store", "small.store")
    ]
    assert report.error is None  # it can be read
    assert report.advice[0].startswith("the source has no frames: go on without")
    assert report.cameras == report.language_fields == report.instructions == ()


def test_without_a_camera_what_is_left_out_is_named_in_the_advice(tmp_path: Path) -> None:
    kind = kinds.Tensor(shape=(None, None, 3), dtype=np.uint8, encoding="zlib")
    value = {"action": 1.0, "frame": np.zeros((20, 20, 3), np.uint8)}
    report = bare(tmp_path / "src", {"action": np.float32, "frame": kind}, [value])
    assert "--no-frames" in shlex.split(str(report.next_command))
    (advice,) = report.advice
    assert advice.startswith("no camera is among what can be read (left out: frame): go on")


def test_what_might_be_a_camera_is_named_in_the_advice(tmp_path: Path) -> None:
    mask = kinds.Tensor(shape=(20, 20), dtype=np.uint8)
    value = {"action": 1.0, "plane": np.zeros((20, 20), np.uint8)}
    report = bare(tmp_path / "src", {"action": np.float32, "plane": mask}, [value])
    assert "--no-frames" in shlex.split(str(report.next_command))
    (advice,) = report.advice
    assert "plane: one uint8 plane may be a mask" in advice
    assert "name one with --camera" in advice


def test_without_language_texts_are_proposed(tmp_path: Path) -> None:
    image = kinds.Image(shape=(4, 4, 3))
    value = {"action": 1.0, "image": np.zeros((4, 4, 3), np.uint8)}
    report = bare(tmp_path / "src", {"action": np.float32, "image": image}, [value])
    words = shlex.split(str(report.next_command))
    assert words.count("--goals") == 2
    assert "goals of your own tasks" in report.advice[0]


def test_a_camera_that_shows_something_is_proposed_first(tmp_path: Path) -> None:
    image = kinds.Image(shape=(4, 4, 3))
    lit = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    value = {"dark": np.zeros((4, 4, 3), np.uint8), "lit": lit}
    report = bare(tmp_path / "src", {"dark": image, "lit": image}, [value])
    assert report.cameras == ("dark", "lit")
    assert options(report.next_command)["--camera"] == "lit"


def test_a_camera_without_any_frame_that_decodes_is_not_proposed(tmp_path: Path) -> None:
    kind = kinds.Tensor(shape=(16, 640, 3), dtype=np.uint8)  # too wide
    value = {"action": 1.0, "strip": np.zeros((16, 640, 3), np.uint8)}
    report = bare(tmp_path / "strip", {"action": np.float32, "strip": kind}, [value])
    assert "--no-frames" in shlex.split(str(report.next_command))
    assert report.advice == ("no sampled frame of strip can be decoded: go on without frames:",)
    lit = {"image": kinds.Image(shape=(4, 4, 3)), "strip": kind}
    black = {"image": np.zeros((4, 4, 3), np.uint8), "strip": value["strip"]}
    report = bare(tmp_path / "both", lit, [black])
    assert options(report.next_command)["--camera"] == "image"


def test_numbered_instructions_are_proposed_together_where_the_first_is_silent(
    tmp_path: Path,
) -> None:
    said = [{"task": "lift it", "task_2": "raise it", "task_3": "up", "task_type": "lift"}]
    silent = {"task": "", "task_2": "push it", "task_3": "", "task_type": "push"}
    image = {"image": np.zeros((4, 4, 3), np.uint8)}
    step = {**dict.fromkeys(silent, kinds.Text()), "image": kinds.Image(shape=(4, 4, 3))}
    features = kinds.FeaturesDict({"steps": kinds.Dataset(step)})
    for name, values in (("all", said), ("some", [*said, silent])):
        items = [{"steps": [{**value, **image}]} for value in values]
        write_rlds(tmp_path / name, features, items, shard_lengths=[len(items)])
    proposed = [
        options(inspect_source(str(tmp_path / name)).next_command)["--goals"]
        for name in ("all", "some")
    ]
    assert proposed == ["field:task", "field:task,task_2,task_3"]


def test_paths_are_not_proposed_as_goals(tmp_path: Path) -> None:
    image = kinds.Image(shape=(4, 4, 3))
    step = {"file_path": kinds.Text(), "image": image}
    value = {"file_path": "/data/7.h5", "image": np.zeros((4, 4, 3), np.uint8)}
    report = bare(tmp_path / "paths", step, [value])
    assert report.language_fields == report.instructions == ()
    assert [text.name for text in report.language] == ["file_path"]
    assert "goals of your own tasks" in report.advice[0]
    report = bare(
        tmp_path / "both", {**step, "sentence": kinds.Text()}, [{**value, "sentence": "lift it"}]
    )
    assert report.language_fields == ("sentence",)
    assert options(report.next_command)["--goals"] == "field:sentence"


def test_frames_that_do_not_decode_are_told(tmp_path: Path) -> None:
    items = small.episodes((2, 1))
    items[0]["steps"][0]["observation"]["front"] = b"no image"
    write_rlds(tmp_path / "src", small.features(), items, shard_lengths=[2])
    report = inspect_source(str(tmp_path / "src"))
    assert report.frames[0].problem is not None
    assert any(n.startswith("observation/front: image: expected a whole") for n in report.notes)
    assert options(report.next_command)["--camera"] == "observation/front"


def test_ranges_of_odd_numbers(tmp_path: Path) -> None:
    wide = kinds.Tensor(shape=(65,), dtype=np.float32)
    choice, on, number = np.int64, np.bool_, np.float32
    action = {"choice": choice, "on": on, "wide": wide, "broken": number, "nan": number}
    values = [
        {
            "choice": choice,
            "on": choice > 3,
            "wide": np.arange(65, dtype=np.float32) / np.float32(choice),
            "broken": broken,
            "nan": np.nan,
        }
        for choice, broken in ((7, 1.0), (1, np.inf), (7, np.nan))
    ]
    report = bare(tmp_path / "src", {"action": action}, [{"action": value} for value in values])
    found = {r.name: r for r in report.actions}
    told = found["action.choice"]
    assert (told.low, told.high, told.distinct, told.lows) == (1, 7, 2, ())
    told = found["action.on"]
    assert (told.low, told.high, told.distinct) == (0, 1, 2)
    told = found["action.wide"]
    assert (told.low, told.high, told.lows) == (0, 64, ())
    assert (found["action.broken"].high, found["action.broken"].not_finite) == (1, 2)
    assert (found["action.nan"].low, found["action.nan"].not_finite) == (None, 3)


def test_numbers_of_open_length_have_no_range() -> None:
    spec = FieldSpec(name="action", kind="tensor", dtype="float32", shape=(None,))
    episode = Episode("train/0/0", 2, {"action": [np.ones(1), np.ones(3)]}, {})
    (found,) = look_at([episode], cameras={}, actions=[spec], metadata=[]).actions
    assert (found.name, found.low, found.not_finite) == ("action", None, 0)


def test_records_that_cannot_be_read_come_with_the_reason(tmp_path: Path) -> None:
    directory = tmp_path / "src"
    small.write_source(directory)
    for shard in directory.glob("*.tfrecord-*"):
        content = bytearray(shard.read_bytes())
        content[20] ^= 1  # inside the first record
        shard.write_bytes(content)
    report = inspect_source(str(directory))
    assert [text.partition(":")[0] for text in report.unreadable] == ["train/0/0", "train/1/0"]
    assert all("checksum of record 0 is wrong" in text for text in report.unreadable)
    assert report.error is None
    assert report.next_command is not None


def test_a_source_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    directory = tmp_path / "src"
    small.write_source(directory)
    for shard in directory.glob("*.tfrecord-*"):
        shard.write_bytes(b"\xff" * 40)
    report = inspect_source(str(directory))
    assert len(report.unreadable) == report.sampled == 5
    assert (report.next_command, report.lengths) == (None, None)
    assert str(report.error).startswith("split train: none of the first 5 episodes can be read; ")


def test_what_is_excluded_stays_excluded(tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    report = inspect_source(str(tmp_path / "src"), exclude=["observation.wr*"], keep_merged=True)
    assert report.cameras == ("observation/front",)
    words = shlex.split(str(report.next_command))
    assert words[words.index("--exclude") + 1] == "observation.wr*"
    assert "--keep-merged" in words


def test_every_split_with_an_episode_is_listed(tmp_path: Path) -> None:
    small.write_source(tmp_path / "src")
    write_rlds(tmp_path / "src", small.features(), [], shard_lengths=[0], split="test")
    more = small.episodes((2, 2))
    write_rlds(tmp_path / "src", small.features(), more, shard_lengths=[1, 1], split="val")
    splits = inspect_source(str(tmp_path / "src")).splits
    assert {s.name: (s.episodes, s.shards) for s in splits} == {"train": (5, 2), "val": (2, 2)}


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    report = inspect_source(exotic.write(tmp_path / "src").directory)
    assert "observation.table" in report.left_out
    assert [spec.name for spec in report.actions] == ["action.grip", "action.move"]
    assert report.last_step is LastStep.CARRIES_ACTION


def test_a_source_without_episodes_is_refused(tmp_path: Path) -> None:
    write_rlds(tmp_path / "src", small.features(), [], shard_lengths=[0])
    with pytest.raises(SourceError, match="no split holds an episode"):
        inspect_source(str(tmp_path / "src"))


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such directory"):
        inspect_source(str(tmp_path / "nowhere"))


def test_report_of_the_real_bridge_data(bridge_dir: Path) -> None:
    report = inspect_source(str(bridge_dir))
    assert [(s.name, s.episodes, s.shards) for s in report.splits] == [("train", 25, 1)]
    assert report.cameras == tuple(f"observation/image_{i}" for i in range(4))
    assert report.language_fields == ("language_instruction",)
    assert "put carrot on plate" in report.instructions
    assert report.last_step is LastStep.CARRIES_ACTION
    assert options(report.next_command)["--goals"] == "field:language_instruction"
