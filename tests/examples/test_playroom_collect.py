"""The collected dataset: true RLDS, right last step, same seed same episodes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.playroom import view
from examples.playroom.collect import collect, main
from examples.playroom.goals import GOAL_INDEX

tfds = pytest.importorskip("tensorflow_datasets")
rlds = pytest.importorskip("rlds")

Episodes = list[dict[str, Any]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("playroom") / "1.0.0"
    collect(out, count=24, seed=7, split="train", shards=3)
    collect(out, count=4, seed=7, split="test", shards=1)
    return out


@pytest.fixture(scope="module")
def episodes(directory: Path) -> Episodes:
    dataset = tfds.builder_from_directory(str(directory)).as_dataset(split="train")
    whole = dataset.map(lambda e: {**e, "steps": e["steps"].batch(1000).get_single_element()})
    return list(tfds.as_numpy(whole))


def test_it_opens_as_rlds_with_both_splits(directory: Path) -> None:
    builder = tfds.builder_from_directory(str(directory))
    assert builder.info.full_name == "playroom/1.0.0"
    splits = builder.info.splits
    assert {name: info.shard_lengths for name, info in splits.items()} == {
        "train": [8, 8, 8],
        "test": [4],
    }
    assert rlds.rlds_types.is_valid_rlds_dataset(builder.as_dataset(split="test"))
    names = {path.name for path in directory.glob("*tfrecord*")}
    assert "playroom-train.tfrecord-00002-of-00003" in names


def test_steps_are_marked_and_the_last_is_only_an_observation(episodes: Episodes) -> None:
    ends = set()
    for episode in episodes:
        steps = episode["steps"]
        length = len(steps["action"])
        assert np.flatnonzero(steps["is_first"]).tolist() == [0]
        assert np.flatnonzero(steps["is_last"]).tolist() == [length - 1]
        assert not steps["is_terminal"][:-1].any()
        assert steps["action"][-1] == steps["reward"][-1] == steps["discount"][-1] == 0
        terminal = bool(steps["is_terminal"][-1])
        assert steps["discount"][:-1].tolist() == [1.0] * (length - 2) + [1.0 - terminal]
        assert terminal or length == 41
        ends.add(terminal)
    assert ends == {True, False}


def test_rewards_are_the_truth_of_the_commanded_goal_one_frame_later(episodes: Episodes) -> None:
    for episode in episodes:
        steps, metadata = episode["steps"], episode["episode_metadata"]
        goal = GOAL_INDEX[metadata["goal_id"].decode()]
        truth = steps["truth"][:, goal]
        assert steps["reward"][:-1].tolist() == truth[1:].tolist()
        assert not steps["truth"][0].any()
        ended = metadata["policy"] != b"play" and truth.any()
        assert bool(steps["is_terminal"][-1]) == ended


def test_every_image_is_the_frame_it_says(episodes: Episodes) -> None:
    for episode in episodes[:6]:
        steps = episode["steps"]
        for image, truth, held_out in zip(
            steps["observation"]["image"], steps["truth"], steps["held_out"], strict=True
        ):
            scene = view.scene_of(view.tiles_of(image))
            assert bool(held_out) == view.is_held_out(image)
            assert truth[:9].tolist() == [scene.front == thing for thing in range(9)]
        assert steps["observation"]["state"].shape == (len(steps["action"]), view.STATE_SIZE)


def test_the_behaviour_is_mixed(episodes: Episodes) -> None:
    policies = {episode["episode_metadata"]["policy"].decode() for episode in episodes}
    assert policies == {"random", "noisy-expert", "expert", "play"}
    assert len({episode["episode_metadata"]["goal_id"] for episode in episodes}) > 10


def test_same_options_same_episodes_in_another_process(directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "1.0.0"
    words = ("--out", str(out), "--episodes", "24", "--seed", "7", "--shards", "3")
    command = [sys.executable, "-m", "examples.playroom.collect", *words]
    subprocess.run(command, check=True, capture_output=True)
    names = sorted(path.name for path in out.glob("*-train.tfrecord-*"))
    assert names == sorted(path.name for path in directory.glob("*-train.tfrecord-*"))
    for name in names:
        assert examples(out / name) == examples(directory / name), name


def examples(path: Path) -> list[Any]:
    """The records of a file, as messages: equal whatever the order of their fields."""
    tensorflow = pytest.importorskip("tensorflow")
    records = tensorflow.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [tensorflow.train.Example.FromString(record) for record in records]


def test_nothing_is_overwritten(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="has a split 'train' already"):
        main(["--out", str(directory), "--episodes", "2", "--shards", "1"])
    with pytest.raises(SystemExit, match="3 shards, 2 episodes"):
        main(["--out", str(directory / "new"), "--episodes", "2", "--shards", "3"])
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "play" in capsys.readouterr().out
