"""The job `build-goals` on a small source: runs, restarts, refusals, and its command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines import jobs
from pipelines.jobs import build_goals
from relabel.jobs.options import (
    EmbedOptions,
    GoalDatasetOptions,
    JobOptions,
    RunOptions,
    ScoreOptions,
)
from relabel.jobs.progress import Progress
from relabel.slices.build_slice import build_slice
from relabel.testing import load_pixel_mean_encoder
from schemas.enums import Kind
from schemas.errors import StoreError
from schemas.goal_datasets import DatasetOptions, GoalDatasetManifest
from schemas.store import MANIFEST, PLAN, Store
from schemas.verify import verify_store
from tests.pipelines import small_source
from vlm_relabel.cli.main import app

LENGTHS, SHARDS = (6, 1, 9, 5, 4, 7), (4, 2)
WHAT = GoalDatasetOptions("gc1", options=DatasetOptions(validation=0.2, test=0.2))
TRUTH = "observation.state"  # of as many values as there are goals


@pytest.fixture(scope="module")
def relabeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of six episodes in six slices with the reward set `v1`; read-only."""
    folder = tmp_path_factory.mktemp("relabeled")
    source = small_source.write_source(folder / "source", LENGTHS, SHARDS)
    (folder / "goals.yaml").write_text(small_source.GOALS.replace("a red room", "make it red"))
    embedding = EmbedOptions(
        source=str(source),
        split="train",
        cameras=("front",),
        encoder=load_pixel_mean_encoder,
        episodes_per_slice=1,
    )
    scoring = ScoreOptions(encoder=load_pixel_mean_encoder, goals=str(folder / "goals.yaml"))
    jobs.relabel(JobOptions(str(folder / "store"), threads=1), embedding, scoring)
    return folder / "store"


@pytest.fixture
def store(relabeled: Path, tmp_path: Path) -> Path:
    """A copy of that store."""
    return Path(shutil.copytree(relabeled, tmp_path / "store"))


@pytest.fixture
def job(store: Path) -> JobOptions:
    return JobOptions(str(store), threads=1, command="vlm-relabel the same again")


def files(store: Path) -> dict[str, bytes]:
    paths = sorted((store / "goal_datasets").rglob("*.parquet"))
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def stamps(store: Path) -> dict[str, tuple[int, int]]:
    paths = (path for path in store.rglob("*") if path.is_file())
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in paths}


def problems(store: Path) -> list[str]:
    return [p.text for _, found in verify_store(Store.open(str(store))) for p in found]


def manifest(store: Path, name: str = "gc1") -> GoalDatasetManifest:
    found = Store.open(str(store)).table_manifest(f"goal_datasets/{name}")
    assert isinstance(found, GoalDatasetManifest)
    return found


def test_job_writes_index_manifest_and_report(store: Path, job: JobOptions) -> None:
    shown: list[Progress] = []
    done = build_goals(replace(job, show=shown.append), WHAT)
    made = manifest(store)
    rows = Store.open(str(store)).read(made.table).to_pylist()
    assert len(rows) == made.rows == sum(made.counts.values()) > 0
    assert {row["kind"] for row in rows} == set(Kind)
    assert {row["episode_id"] for row in rows if row["kind"] == "commanded"} == {
        "train/0/0",  # "make it red"
        "train/0/3",
    }
    assert made.statistics["action"].frames < sum(LENGTHS)
    assert made.command == "vlm-relabel the same again"
    assert (done.slices_new, done.frames_new) == (6, sum(LENGTHS))
    assert shown[-1].slices_done == shown[-1].slices == 6
    assert done.datasets[0].counts == made.counts
    assert [t.table for t in done.tables] == ["goal_datasets/gc1"]
    assert "2 of 3 instructions match no goal's text" in done.warnings[0]
    assert any("observation.state: constant" in warning for warning in done.warnings)
    assert problems(store) == []


def test_datasets_of_which_one_is_refused_are_not_begun(store: Path, job: JobOptions) -> None:
    build_goals(job, replace(WHAT, truth=TRUTH))
    shutil.rmtree(store / "goal_datasets" / "gc1")
    other = replace(WHAT, truth=TRUTH, options=DatasetOptions(validation=0.4, test=0.2))
    with pytest.raises(StoreError, match=r"goal_datasets/gc1\.true: exists and was made"):
        build_goals(job, other)
    assert not (store / "goal_datasets" / "gc1").exists()
    assert Store.open(str(store)).unfinished() == []


def test_materialized_transitions_and_truth(store: Path, job: JobOptions) -> None:
    done = build_goals(job, replace(WHAT, truth=TRUTH, materialize=True))
    assert [d.name for d in done.datasets] == ["gc1", "gc1.true"]
    plain, true = manifest(store), manifest(store, "gc1.true")
    assert (plain.source_column, true.source_column) == (None, TRUTH)
    assert plain.options == true.options
    assert {f.table for f in true.files} >= {true.table, true.transitions}
    opened = Store.open(str(store))
    for made in (plain, true):
        rows = opened.read(made.table).to_pylist()
        flat = opened.read_slices(made.transitions, opened.slices)
        assert flat.num_rows == sum(row["stop"] - row["start"] for row in rows)
    # By `small_source.episode`, the second value of the state is the frame's number, so the
    # second goal's truth holds from the second frame on.
    second = [r for r in opened.read(true.table).to_pylist() if r["goal"] == 1]
    assert {(r["start"], r["stop"]) for r in second} == {(0, 1)}
    assert problems(store) == []


def test_the_same_bytes_with_workers_and_after_a_restart(
    store: Path, job: JobOptions, relabeled: Path, tmp_path: Path
) -> None:
    what = replace(WHAT, truth=TRUTH, materialize=True)
    build_goals(job, what)
    other = Path(shutil.copytree(relabeled, tmp_path / "other"))
    again = replace(job, store=str(other), run=RunOptions(workers=2))
    build_goals(again, what)
    assert files(store) == files(other)
    before = stamps(other)
    (other / "goal_datasets/gc1" / MANIFEST).rename(other / "goal_datasets/gc1" / PLAN)
    victim = min((other / "goal_datasets/gc1").glob("slice-*"))
    victim.unlink()
    build_goals(replace(again, run=RunOptions()), what)
    assert files(store) == files(other)
    changed = [path for path, stamp in stamps(other).items() if before.get(path) != stamp]
    assert len(changed) == 3  # the slice, its transitions, the manifest
    assert problems(other) == []


def test_a_rerun_writes_nothing(store: Path, job: JobOptions) -> None:
    build_goals(job, WHAT)
    before = stamps(store)
    done = build_goals(job, WHAT)
    assert (done.slices_new, stamps(store)) == (0, before)
    assert done.datasets[0].counts


def test_a_dry_run_writes_nothing(store: Path, job: JobOptions) -> None:
    before = stamps(store)
    done = build_goals(replace(job, dry_run=True), replace(WHAT, truth=TRUTH))
    assert stamps(store) == before
    assert done.dry_run
    assert [t.table for t in done.tables] == ["goal_datasets/gc1", "goal_datasets/gc1.true"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"options": DatasetOptions(seed=5)}, "options.seed: stored 0, asked for 5"),
        ({"materialize": True}, "materialized: stored false, asked for true"),
    ],
)
def test_other_options_are_refused_until_overwritten(
    store: Path, job: JobOptions, change: dict[str, Any], named: str
) -> None:
    build_goals(job, WHAT)
    other = replace(WHAT, **change)
    before = stamps(store)
    with pytest.raises(StoreError, match="exists and was made from other inputs") as caught:
        build_goals(job, other)
    assert named in str(caught.value)
    assert stamps(store) == before
    build_goals(replace(job, overwrite=True), other)
    assert manifest(store).options == other.options
    assert problems(store) == []


def test_an_interrupted_job_says_how_to_resume(
    store: Path, job: JobOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(piece: Any, **others: Any) -> Any:
        if piece.index == 3:
            raise StoreError("the disk is full")
        return build_slice(piece, **others)

    monkeypatch.setattr("relabel.jobs.work.build_slice", fail)
    with pytest.raises(StoreError, match=r"^the disk is full"):
        build_goals(job, WHAT)
    monkeypatch.undo()
    with pytest.raises(
        StoreError, match=r"unfinished \(\d of 6 slices\); resume it with:\n  vlm-relabel the same"
    ):
        manifest(store)
    build_goals(job, WHAT)
    assert problems(store) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rewards": "v2"}, "no table 'rewards/v2'; there are .*rewards/v1"),
        ({"truth": "action"}, r"would fit: observation.state"),
        ({"options": DatasetOptions(goals=("purple",))}, "no goal purple; its 3 goals are red"),
        ({"options": DatasetOptions(validation=0.5, test=0.5)}, "leave no episode to train on"),
        ({"options": DatasetOptions(success_above=2)}, "--success-above 2; leave it at 0.5"),
    ],
)
def test_refusals_write_nothing(
    store: Path, job: JobOptions, change: dict[str, Any], text: str
) -> None:
    before = stamps(store)
    with pytest.raises(StoreError, match=text):
        build_goals(job, replace(WHAT, **change))
    assert stamps(store) == before


# --- the command

Invoke = Callable[..., Any]


@pytest.fixture
def invoke(store: Path) -> Invoke:
    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["build-goals", str(store), *words])

    return run


def test_command_prints_counts_and_notes(invoke: Invoke, store: Path) -> None:
    done = invoke("--kind", "achieved", "--kind", "failed", "--step-reward", "-1", "--seed", "3")
    assert done.exit_code == 0, done.output
    made = manifest(store)
    assert made.options.kinds == (Kind.ACHIEVED, Kind.FAILED)
    assert (made.options.step_reward, made.options.seed) == (-1, 3)
    assert "hindsight" in done.output
    assert "note: " in done.output
    assert "complete" in done.output


def test_command_speaks_json(invoke: Invoke) -> None:
    done = invoke("--json", "--name", "other", "--no-end-on-success", "--goal", "red")
    content = json.loads(done.stdout)
    assert content["datasets"][0]["name"] == "other"
    assert content["slices_new"] == 6
    assert content["warnings"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--step-reward", "2"), "--step-reward: expected 0 or -1, got 2"),
        (("--discount", "0"), "--discount: expected greater than 0, got 0.0"),
        (("--rewards", "v9"), "no table 'rewards/v9'"),
    ],
)
def test_command_refuses(invoke: Invoke, words: tuple[str, ...], text: str) -> None:
    done = invoke("--json", *words)
    assert done.exit_code == 2
    assert text in json.loads(done.stdout)["message"]
