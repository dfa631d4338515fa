"""A disk that fills while an agent is trained: one sentence, and the same command goes on."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offline_rl import checkpoints, frames, training
from offline_rl.run_config import TrainConfig
from schemas.errors import RunError
from tests.offline_rl.runs import assert_same_weights, config_of, run

SENTENCE = "cannot be written: No space left on device; make room on the disk, then type the same"


@pytest.fixture(scope="module")
def config(playground_store: Path) -> TrainConfig:
    return config_of(playground_store, "iql", 30, log_every=2, checkpoint_every=5, keep=2)


@pytest.fixture(scope="module")
def whole(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(config, out)
    return out


def check_same(out: Path, whole: Path) -> None:
    names = [path.name for path in checkpoints.checkpoints(whole)]
    assert [path.name for path in checkpoints.checkpoints(out)] == names
    assert checkpoints.damaged(out) == []
    assert_same_weights(checkpoints.checkpoints(out)[-1], checkpoints.checkpoints(whole)[-1])
    assert training.metrics(out) == training.metrics(whole)
    assert sorted(files(out)) == sorted(files(whole))


def files(out: Path) -> list[str]:
    return [str(path.relative_to(out)) for path in out.rglob("*")]


@pytest.mark.parametrize("number", [1, 2, 4, 5, 9, 10, 17, 18, 30, 41])
def test_a_disk_that_fills_at_any_moment(
    config: TrainConfig, whole: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of a run is synced; from one of them on, there is no room."""
    fsync, calls = os.fsync, [0]

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError) as told:
        run(config, tmp_path / "run")
    assert SENTENCE in str(told.value)
    assert str(tmp_path / "run") in str(told.value)
    assert not list(tmp_path.rglob(".tmp-*"))  # what is half written would take the last room
    assert checkpoints.damaged(tmp_path / "run") == []
    monkeypatch.setattr(os, "fsync", fsync)
    run(config, tmp_path / "run")
    check_same(tmp_path / "run", whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is mounted with less room than the run takes."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def resize(place: Path, kilobytes: int) -> None:
    words = ["mount", "-o", f"remount,size={kilobytes}k", str(place)]
    subprocess.run(words, check=True)


def test_a_disk_that_is_full_again_and_again(
    config: TrainConfig, whole: Path, small_disk: Path
) -> None:
    out, said = small_disk / "run", list[str]()
    for kilobytes in range(16, 4096, 24):
        resize(small_disk, kilobytes)
        try:
            run(config, out)
            break
        except RunError as error:
            said.append(str(error))
    assert len(said) >= 5
    assert all(SENTENCE in text for text in said)
    check_same(out, whole)


def test_a_cache_that_has_no_room_is_refused(
    config: TrainConfig, tmp_path: Path, small_disk: Path
) -> None:
    resize(small_disk, 4)
    with pytest.raises(RunError, match=SENTENCE):
        run(config, tmp_path / "run", cache=small_disk / "cache")
    resize(small_disk, 4096)
    run(config, tmp_path / "run", cache=small_disk / "cache")
    assert len(list((small_disk / "cache").glob("*.npy"))) == 2


def test_room_for_a_cache_is_taken_before_it_is_written_to(small_disk: Path) -> None:
    """A file in memory that finds no room later ends the process."""
    path = small_disk / "cache" / "frames.npy"
    with pytest.raises(RunError, match=SENTENCE):
        frames._allocate(path, (1 << 20, 64))
    assert list(path.parent.iterdir()) == []
    assert frames._allocate(path, (8, 64)).shape == (8, 64)


@pytest.mark.parametrize("change", [{"grad_step": "x"}, {"losses": 3}, {"replay": []}, "deep"])
def test_a_state_that_a_stranger_sealed_is_refused_in_a_sentence(
    config: TrainConfig, tmp_path: Path, change: Any
) -> None:
    out = tmp_path / "run"
    run(config, out)
    folder = checkpoints.checkpoints(out)[-1]
    stored = json.loads((folder / "state.json").read_text())
    text = "[" * 100_000 if change == "deep" else json.dumps({**stored, **change})
    (folder / "state.json").write_text(text)
    (folder / "seal.json").unlink()
    checkpoints._seal(folder)
    with pytest.raises(RunError, match=r"training cannot go on from it: .*remove that folder"):
        run(config.model_copy(update={"steps": 40}), out)
    (out / "metrics.jsonl").open("a").write('[]\n{"step": []}\n' + "[" * 100_000 + "\n")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    run(config, out)
    assert [line["step"] for line in training.metrics(out)] == [*range(2, 31, 2)]
