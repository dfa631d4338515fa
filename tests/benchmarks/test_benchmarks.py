"""The benchmarks' own arithmetic, and that each can be run as its page says."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as every
from benchmarks import common
from relabel.source.source import Episode, Source
from schemas.slices import Slice

ROOT = Path(__file__).parents[2]
NAMES = sorted({name for name, *_ in every.RUNS})


def test_cases_take_turns() -> None:
    order: list[str] = []
    cases = {name: lambda n=name: order.append(n) or len(order) for name in "ab"}
    found = common.interleaved(cases, repeats=3)
    assert order == list("ababab")
    assert found == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert common.medians(found) == {"a": 3, "b": 4}


def test_the_ratio_is_within_a_repeat() -> None:
    # The machine is ten times slower in the second repeat: the ratio of medians would say 2.
    found = {"one": [4.0, 40.0, 4.0], "other": [2.0, 20.0, 20.0]}
    assert common.paired_ratio(found, "one", "other") == 2.0


def test_the_source_is_what_it_says(tmp_path: Path) -> None:
    common.jpeg_source(tmp_path / "1.0.0", episodes=17, steps=3, size=(32, 48), distinct=4)
    source = Source.open(str(tmp_path / "1.0.0"), "train")
    assert source.spec.shard_lengths == (8, 9)
    pieces = [Slice(0, 1, "train", i, 0, n) for i, n in enumerate(source.spec.shard_lengths)]
    columns = ["observation.image", "action"]
    episodes = [e for piece in pieces for e in source.read(piece, columns)]
    assert all(isinstance(e, Episode) and e.length == 3 for e in episodes)
    images = [image for e in episodes for image in e.steps["observation.image"]]
    assert len(set(images)) == 4
    assert images[:4] == images[4:8]


def test_photos_are_neither_flat_nor_noise() -> None:
    (frame,) = common.photos(1, 64, 96)
    assert frame.shape == (64, 96, 3) and frame.dtype == np.uint8
    neighbours = np.abs(np.diff(frame.astype(int), axis=1)).mean()
    assert 2 < neighbours < frame.std() / 2


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_says_how_it_is_run(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert f"python -m benchmarks.{name}" in str(module.__doc__)
    assert callable(module.main)


def test_every_module_is_run() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert modules - {"common", "simulated", "__init__", "__main__"} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replay", "table_size"])
def test_a_quick_run_prints_a_table_and_writes_json(name: str, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    words = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--out", str(out)]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "━" in done.stdout
    assert json.loads(out.read_text())["machine"]["cores"]
