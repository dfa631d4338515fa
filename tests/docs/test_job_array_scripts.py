"""Scripts for job arrays in `docs/engines.md`, run as far as a machine without a cluster can."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.store import Store
from tests.docs.docs_blocks import Block, blocks, check_command, make_targets

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "engines.md"


def block(beginning: str) -> Block:
    """The block of the page that holds a text."""
    (found,) = (own for own in blocks(PAGE) if beginning in own.text)
    return found


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with `vlm-relabel`, and an `sbatch` that writes down its words."""
    place = tmp_path / "bin"
    place.mkdir()
    starts = f'exec {shlex.quote(sys.executable)} -m vlm_relabel.cli.entry "$@"'
    told = f'printf "%s\\n" "$@" >> {shlex.quote(str(tmp_path / "told"))}; echo 17'
    for name, line in (("vlm-relabel", starts), ("sbatch", told)):
        (place / name).write_text(f"#!/bin/bash\n{line}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return place


def bash(text: str, **environment: str) -> str:
    done = subprocess.run(
        ["bash"],
        input=text,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("program")
def test_the_shell_and_slurm_make_the_same_store(here: Path) -> None:
    bash(block("# parts.sh").text)
    part = block("# relabel.sbatch").text
    for number in (3, 1, 4, 2):
        bash(part, SLURM_ARRAY_TASK_ID=str(number), SLURM_CPUS_PER_TASK="1")
    bash("vlm-relabel finish slurm.store")
    one, other = (Store.open(str(here / name)) for name in ("parts.store", "slurm.store"))
    assert one.unfinished() == other.unfinished() == []
    tables = one.tables()
    assert tables == other.tables() and "rewards/v1" in tables
    for table in tables:
        pair = [store.table_manifest(table) for store in (one, other)]
        assert pair[0].slice_files == pair[1].slice_files != ()


@pytest.mark.usefixtures("program")
def test_the_end_waits_for_the_array(tmp_path: Path) -> None:
    bash(block("# submit.sh").text)
    told = (tmp_path / "told").read_text().splitlines()
    assert told[:3] == ["--parsable", "relabel.sbatch", "--dependency=afterok:17"]
    assert told[-2:] == ["--wrap", "vlm-relabel finish slurm.store"]
    check_command(block("# submit.sh"), told[-1], make_targets(ROOT / "Makefile"))


def test_what_slurm_is_told_fits_the_script() -> None:
    text = block("# relabel.sbatch").text
    (array,) = (line for line in text.splitlines() if line.startswith("#SBATCH --array="))
    (parts,) = (line for line in text.splitlines() if line.startswith("parts="))
    assert array.rpartition("-")[2] == parts.partition("=")[2]


def test_the_jobs_of_kubernetes_are_whole() -> None:
    own = block("kind: Job")
    relabel, finish = yaml.safe_load_all(own.text)
    assert (relabel["kind"], finish["kind"]) == ("Job", "Job")
    assert f"/{relabel['spec']['completions']}" in _container(relabel)["args"][0]
    assert relabel["spec"]["completionMode"] == "Indexed"
    (words,) = _container(relabel)["args"]
    for index, part in ((0, "1/32"), (31, "32/32")):
        shown = bash(f"echo {words}", JOB_COMPLETION_INDEX=str(index))
        assert shown.split()[-2:] == ["--slices", part]
        check_command(own, shown, make_targets(ROOT / "Makefile"))
    check_command(own, shlex.join(_container(finish)["command"]), make_targets(ROOT / "Makefile"))


def _container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    assert found["image"].startswith("registry.example/")
    return dict(found)
