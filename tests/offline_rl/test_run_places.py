"""Where runs may be written: a store keeps its tables to itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offline_rl import checkpoints
from offline_rl.run_places import check_places
from schemas.errors import RunError
from schemas.store import STORE_MANIFEST
from tests.offline_rl.runs import config_of, run


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("below", ["", "runs/iql", "steps", "steps/new", "goal_datasets/gc1"])
def test_a_store_is_no_place_for_a_run(below: str, own_store: Path, tmp_path: Path) -> None:
    before = names(own_store)
    config, inside = config_of(own_store, "bc", 1), own_store / below
    what = f"lies in the store {own_store.resolve()}" if below else "is a store"
    for option, places in {
        "--out": {"out": inside},
        "--cache": {"out": tmp_path / "run", "cache": inside},
    }.items():
        with pytest.raises(RunError) as caught:
            run(config, **places)
        assert str(caught.value).startswith(f"{option} {inside}: {what}, which holds tables alone")
        assert "; give a folder outside of it, such as runs/" in str(caught.value)
    assert names(own_store) == before
    assert not (tmp_path / "run").exists()


def test_another_store_and_ways_around(
    own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(own_store)
    with pytest.raises(RunError, match="lies in the store"):
        check_places(tmp_path / "link" / "run", None)
    monkeypatch.chdir(own_store)
    with pytest.raises(RunError, match="is a store"):
        check_places(Path(), None)
    with pytest.raises(RunError, match="lies in the store"):
        check_places(Path("run"), None)
    check_places(own_store / ".." / "run", None)
    check_places(Path(f"{own_store}-run"), None)


def test_a_run_that_is_in_a_store_can_be_moved(own_store: Path, tmp_path: Path) -> None:
    config, there = config_of(own_store, "bc", 2), own_store / "run"
    run(config, tmp_path / "run")
    (tmp_path / "run").rename(there)
    longer = config.model_copy(update={"steps": 4})
    with pytest.raises(RunError, match="a run that is there already can be moved"):
        run(longer, there)
    there.rename(tmp_path / "moved")
    run(longer, tmp_path / "moved")
    assert checkpoints.last_step(tmp_path / "moved") == 4


@pytest.mark.parametrize("content", ['{"name": "app", "icons": []}', "[]", "", "{", "null"])
def test_manifests_of_others_are_no_store(content: str, tmp_path: Path) -> None:
    (tmp_path / STORE_MANIFEST).write_text(content)
    check_places(tmp_path / "run", tmp_path / "cache")


@pytest.mark.parametrize("file", ["notes.txt", "metrics.jsonl", "checkpoints/step-00000010/x"])
def test_a_folder_of_something_else(file: str, playground_store: Path, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("kept")
    before = names(tmp_path)
    with pytest.raises(RunError) as caught:
        run(config_of(playground_store, "bc", 1), tmp_path)
    first = file.partition("/")[0]
    assert f"--out {tmp_path}: expected a new folder or one with a run" in str(caught.value)
    assert f"holds '{first}' and no config.json; give another folder" in str(caught.value)
    assert names(tmp_path) == before


def test_a_file_is_no_folder(playground_store: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("kept")
    with pytest.raises(RunError, match=r"--out .*run: expected a folder, got a file"):
        run(config_of(playground_store, "bc", 1), tmp_path / "run")


@pytest.mark.parametrize("left", [[], ["algorithm.json"], ["logs/x"], [".tmp-config.json"]])
def test_what_a_begun_run_left_is_taken_up(
    left: list[str], playground_store: Path, tmp_path: Path
) -> None:
    """Its cache too, which is written first and may lie in the run."""
    out = tmp_path / "run"
    for name in (*left, "own/cache/frames.npy.part"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("cut")
    more: dict[str, Any] = {"cache": out / "own" / "cache"}
    with pytest.raises(RunError, match="holds 'own' and no"):
        check_places(out, None)
    run(config_of(playground_store, "bc", 2), out, **more)
    run(config_of(playground_store, "bc", 4), out, **more)
    assert checkpoints.last_step(out) == 4
    assert json.loads((out / "config.json").read_text())["steps"] == 4
