"""A disk that is full or cannot be written: one sentence, nothing half done, and it goes on."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.store import Store
from schemas.verify import verify_store
from tests.pipelines.small_source import write_source
from tests.vlm_relabel.cli.cli_outcomes import flat

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.name != "posix" or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def start(*line: Any, **how: Any) -> tuple[int, str, str]:
    """Exit code and both outputs of `vlm-relabel`."""
    words = [sys.executable, "-m", "vlm_relabel.cli.entry", *map(str, line)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, **how)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def options(source: Path, goals: Path, tiny_model: str) -> dict[str, Any]:
    return {
        "--source": source,
        "--camera": "front",
        "--encoder": tiny_model,
        "--goals": goals,
        "--threads": 1,
    }


def check_sentence(code: int, out: str, error: str) -> str:
    assert code == 2, error
    assert "Traceback" not in error
    told = json.loads(out)
    assert told.keys() == {"error", "message"}
    return str(told["message"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(
    tmp_path: Path, small_disk: Path, options: dict[str, Any], workers: int
) -> None:
    source = write_source(tmp_path / "source", (3,) * 12, (12,))
    more = {"source": source, "store": small_disk / "store", "workers": workers}
    line = flat({**options, "--episodes-per-slice": 1}, **more)
    told = check_sentence(*start("relabel", *line, "--json"))
    assert "No space left on device" in told
    assert "make room on the disk, then type the same command again" in told
    assert str(small_disk) in told
    store = Store.open(str(small_disk / "store"))
    for path in Path(store.location).rglob("slice-*.parquet"):  # what has its name is whole
        assert store.footer(str(path.parent.relative_to(store.location)), path.name)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert start("relabel", *line)[0] == 0
    found = verify_store(Store.open(store.location))
    assert [problem for _, problems in found for problem in problems] == []
    assert store.folder.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100, 1_500, 3_000])
def test_files_that_must_not_be_so_large(store: Path, options: dict[str, Any], limit: int) -> None:
    """Python ignores the signal that comes with it."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    line = flat(options, store=store)
    told = check_sentence(*start("relabel", *line, "--json", preexec_fn=bound))
    assert "File too large" in told
    assert "ulimit -f" in told


@pytest.mark.parametrize("place", ["/proc/relabel", "/dev/null/store"])
def test_a_store_where_nothing_can_be_written(options: dict[str, Any], place: str) -> None:
    told = check_sentence(*start("relabel", *flat(options, store=place), "--json"))
    assert place in told
    assert "choose another" in told
