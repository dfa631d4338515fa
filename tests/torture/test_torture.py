"""The bounded form of `python -m tests.torture`, and that it can fail."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from schemas.store import Store
from tests.torture.commands import COMMANDS, Command
from tests.torture.trials import Torture, content, damage

KILLS = 6  # one of each command
SEED = 5
CARELESS = (sys.executable, "-m", "tests.torture.careless")


@pytest.mark.slow
def test_nothing_is_lost_by_kills_of_jobs_workers_and_parents(tmp_path: Path) -> None:
    torture = Torture(tmp_path, SEED, lambda line: None, in_a_row=1)
    tallies = torture.run(KILLS)
    assert torture.losses == []
    assert sum(tally.survived for tally in tallies) == KILLS
    assert {tally.target for tally in tallies if tally.tried} == {"job", "worker", "parent"}
    assert {tally.command for tally in tallies if tally.tried} == {c.name for c in COMMANDS}


# --- that it can fail


def _losses(folder: Path, how: str, kills: int = 2) -> list[str]:
    command = Command("fake", how, workers=False)
    torture = Torture(folder, SEED, lambda line: None, in_a_row=1, program=CARELESS, patience_s=1.0)
    (tally,) = torture.run(kills, [command])
    assert tally.tried == kills
    assert bool(tally.lost) == bool(torture.losses)
    assert tally.lost + tally.survived == kills
    return torture.losses


def test_a_program_that_resumes_loses_nothing(tmp_path: Path) -> None:
    assert _losses(tmp_path, "well") == []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("leaves", "left over: work/tmp-"),
        ("counts", "not the bytes of an undisturbed run: work/"),
        ("in-place", "not the bytes of an undisturbed run: work/"),
    ],
)
def test_a_program_that_loses_something_is_found_out(tmp_path: Path, how: str, told: str) -> None:
    losses = _losses(tmp_path, how, kills=4)
    assert any(f"fake: {told}" in loss for loss in losses)


def test_a_process_that_outlives_its_parent_is_found_out(tmp_path: Path) -> None:
    torture = Torture(tmp_path, SEED, lambda line: None, program=CARELESS, patience_s=1.0)
    run = torture.begin(Command("fake", "orphans", workers=False), workers=1)
    while not (tmp_path / "now" / "work" / "0").exists():
        assert run.process.poll() is None
    run.process.kill()
    run.process.wait()
    assert len(run.survivors(patience_s=0.5)) == 1
    assert run.survivors(patience_s=10) == []


def test_damage_is_told_from_what_is_not_finished(tmp_path: Path, store: Store) -> None:
    location = Path(store.location)
    assert list(damage(tmp_path / "none")) == []
    assert list(damage(location, unfinished=False)) == []
    piece = min(location.glob("steps/slice-*.parquet"))
    manifest = location / "rewards/v1/__meta__/manifest.json"
    manifest.rename(manifest.with_name("plan.json"))
    assert list(damage(location)) == []
    assert [told[:18] for told in damage(location, unfinished=False)] == ["verify: rewards/v1"]
    piece.write_bytes(piece.read_bytes()[:-1])
    assert any("verify: steps" in told for told in damage(location))


def test_content_leaves_out_what_two_runs_may_have_of_their_own(tmp_path: Path) -> None:
    for name, command in {"one": "--workers 1", "two": "--workers 2"}.items():
        folder = tmp_path / name / "t" / "__meta__"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(
            f'{{"rows": 3, "command": "{command}", "checksum": "{name}"}}'
        )
        (folder.parent / "slice-0.parquet").write_bytes(b"same")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    shutil.rmtree(tmp_path / "two" / "t" / "__meta__")
    assert content(tmp_path / "one") != content(tmp_path / "two")
