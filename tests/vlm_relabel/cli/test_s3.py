"""The whole path with source, goals and store on an S3 endpoint of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import buckets
from tests.offline_rl import playground
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run, files

STORE = "s3://bucket/stores/a"
SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source in two shards, and goals; read-only."""
    folder = tmp_path_factory.mktemp("room")
    playground.write_source(folder / "playground" / "1.0.0")
    (folder / "goals.yaml").write_text(playground.GOALS)
    return folder


def relabel(room: str, store: Path | str, *more: object) -> list[object]:
    return [
        *("relabel", "--source", f"{room}/playground/1.0.0", "--camera", "front"),
        *("--encoder", PIXEL_MEAN, "--goals", f"{room}/goals.yaml", "--store", store),
        *("--episodes-per-slice", 12, "--threads", 1, "--json", *more),
    ]


def rest(store: Path | str, out: Path) -> list[list[object]]:
    """The commands after `relabel`."""
    return [
        ["build-goals", store, "--materialize", "--threads", 1, "--json"],
        ["verify", store, "--json"],
        [
            *("train", store, "--dataset", "gc1", "--algo", "discrete-cql", "--action", "choice"),
            *("--out", out, "--steps", 4, "--log-every", 2, "--checkpoint-every", 2, "--json"),
            *("--set", "hidden_units=[8]", "--set", "batch_size=4"),
        ],
        ["evaluate", out, "--fqe-steps", 2, "--fqe-fits", 1, "--json"],
    ]


def test_whole_path_on_s3_gives_the_bytes_of_a_local_one(
    run: Run,
    room: Path,
    tmp_path: Path,
    s3: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    there = buckets.upload(room, "s3://bucket/room")
    local = tmp_path / "local" / "store"
    told = []
    for place, store, out in ((room, local, "local/run"), (there, STORE, "far/run")):
        for words in [relabel(str(place), store), *rest(store, tmp_path / out)]:
            done = run(*words)
            assert done.exit_code == 0, done.output
            assert SECRET not in done.output
        told.append(json.loads(done.stdout))
    far = buckets.contents(STORE)
    assert len(buckets.tables(far)) == 4 * 6 + 2  # slices of every table, goals, and their texts
    assert buckets.tables(far) == buckets.tables(files(local))
    assert far.keys() == files(local).keys()
    assert told[0]["values"] == told[1]["values"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "local"]
    everything = {**far, **files(tmp_path)}
    assert [name for name, content in everything.items() if SECRET.encode() in content] == []


@pytest.mark.slow
def test_two_worker_processes_on_s3_give_the_bytes_of_one_here(
    run: Run, room: Path, tmp_path: Path, s3: str
) -> None:
    there = buckets.upload(room, "s3://bucket/room")
    local = tmp_path / "store"
    for words in (relabel(str(room), local), relabel(there, STORE, "--workers", 2)):
        done = run(*words)
        assert done.exit_code == 0, done.output
    assert buckets.tables(buckets.contents(STORE)) == buckets.tables(files(local))
