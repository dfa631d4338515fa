"""Parts of splits are those that TFDS reads, shard by shard."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
import tensorflow_datasets as tfds
from hypothesis import given

from relabel.source.extent import resolve
from relabel.source.source import Source
from relabel.testing import write_rlds
from schemas.errors import SourceError
from schemas.slices import Run
from tests import small

LENGTHS = {"train": [3, 0, 4, 2], "val": [5]}
bound = st.one_of(st.none(), st.integers(-9, 9))


def ids(instruction: str) -> list[str]:
    runs = resolve(instruction, LENGTHS, "here")
    return [f"{r.split}/{r.shard}/{i}" for r in runs for i in range(r.start, r.stop)]


ALL_TRAIN = [f"train/{s}/{i}" for s, n in enumerate(LENGTHS["train"]) for i in range(n)]
ALL_VAL = [f"val/0/{i}" for i in range(5)]


@given(bound, bound)
def test_absolute_bounds_are_those_of_a_python_slice(start: int | None, stop: int | None) -> None:
    expected = ALL_TRAIN[start:stop]
    text = f"train[{'' if start is None else start}:{'' if stop is None else stop}]"
    if text == "train[:]" or not expected:
        with pytest.raises(SourceError):
            ids(text)
    else:
        assert ids(text) == expected


@pytest.mark.parametrize("percent", [0, 1, 5, 6, 10, 16, 17, 33, 50, 66, 90, 99, 100])
def test_percent_are_rounded_as_tfds_does(percent: int) -> None:
    count = round(percent * 9 / 100)  # TFDS: "closest"
    if count:
        assert ids(f"train[:{percent}%]") == ALL_TRAIN[:count]
    if count < 9:
        assert ids(f"train[{percent}%:]") == ALL_TRAIN[count:]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("train", ALL_TRAIN),
        ("all", ALL_TRAIN + ALL_VAL),
        ("val+train", ALL_TRAIN + ALL_VAL),
        ("train[-1:]+val[:2]", ALL_TRAIN[-1:] + ALL_VAL[:2]),
        ("train[5:7]+train[:2]", ALL_TRAIN[:2] + ALL_TRAIN[5:7]),
        ("train[2:6]+train[:4]", ALL_TRAIN[:6]),  # each once
        ("train[1shard:]", ALL_TRAIN[3:]),
    ],
)
def test_unions_are_read_in_stored_order(instruction: str, expected: list[str]) -> None:
    assert ids(instruction) == expected


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        ("train[5:100]", "train holds 9 episodes"),
        ("train[:150%]", "holds"),
        ("train[abc]", "Unrecognized split format"),
        ("all[:50%]", "expected forms are"),
        ("train[3:3]", "holds no episode"),
        ("train[5:2]", "holds no episode"),
        ("train[1:2:3]", "Unrecognized split format"),
    ],
)
def test_what_is_no_part_is_refused_in_one_line(instruction: str, text: str) -> None:
    with pytest.raises(SourceError, match=text) as raised:
        resolve(instruction, LENGTHS, "here")
    assert "\n" not in str(raised.value)


def test_runs_lie_within_shards() -> None:
    assert resolve("train[2:8]", LENGTHS, "here") == (
        Run("train", 0, 2, 3), Run("train", 2, 0, 4), Run("train", 3, 0, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    "instruction", ["train", "train[:3]", "train[-2:]", "train[20%:70%]", "val[1:]", "all"]
)
def test_tfds_reads_the_same_episodes(tmp_path: Path, instruction: str) -> None:
    small.write_source(tmp_path / "src")
    more = [small.one_episode(index, 2) for index in range(10, 13)]
    write_rlds(tmp_path / "src", small.features(), more, shard_lengths=[1, 2], split="val")
    source = Source.open(str(tmp_path / "src"), instruction)
    from schemas.slices import Slice

    ours = [
        item.metadata["seed"]  # type: ignore[union-attr]
        for run in source.extent.part
        for item in source.read(Slice(0, 1, run.split, run.shard, run.start, run.stop), ["action"])
    ]
    builder = tfds.builder_from_directory(str(tmp_path / "src"))
    read = tfds.ReadConfig(interleave_cycle_length=1)
    theirs = builder.as_dataset(split=instruction, read_config=read, shuffle_files=False)
    assert ours == [int(e["episode_metadata"]["seed"]) for e in tfds.as_numpy(theirs)]
