"""`inspect_source`: what a source holds, and a next command that the parser takes."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from relabel.inspection import SplitReport, inspect_source
from relabel.testing import write_rlds
from schemas.enums import LastStep
from schemas.errors import SourceError
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
    told = "shows one colour only in 4 of 4 sampled episodes"
    assert [told in note for note in report.notes] == [True, True], "its frames are plain"


def options(command: str) -> dict[str, str]:
    words = shlex.split(command)
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


def test_without_images_the_command_embeds_none(tmp_path: Path) -> None:
    features = kinds.FeaturesDict({"steps": kinds.Dataset({"action": np.float32})})
    write_rlds(tmp_path / "src", features, [{"steps": [{"action": 1.0}]}], shard_lengths=[1])
    report = inspect_source(str(tmp_path / "src"))
    source = ["--source", str(tmp_path / "src"), "--split", "train"]
    assert shlex.split(report.next_command) == [
        *("vlm-relabel", "embed", "--no-frames", *source, "--store", "small.store")
    ]
    assert report.cameras == report.language_fields == report.instructions == ()


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
