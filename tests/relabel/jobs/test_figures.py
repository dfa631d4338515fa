"""Figures in manifests are those of the slices, and `verify` says where they are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vlm_relabel
from relabel.jobs import figures
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from relabel.jobs.run import relabel
from relabel.testing import PixelMeanEncoder
from schemas.manifests import sealed
from schemas.store import MANIFEST, Store
from tests.pipelines.small_source import GOALS, write_source

TABLES = ("steps", "episodes", "embeddings", "rewards")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    source = write_source(tmp_path / "source", (3, 1, 2), (2, 1))
    (tmp_path / "goals.yaml").write_text(GOALS)
    relabel(
        JobOptions(str(tmp_path / "store"), threads=1),
        EmbedOptions(str(source), "train", ("front",), PixelMeanEncoder, episodes_per_slice=1),
        ScoreOptions(PixelMeanEncoder, str(tmp_path / "goals.yaml")),
    )
    return tmp_path / "store"


def _change(store: Path, kind: str, **changed: Any) -> str:
    """Gives a manifest other figures, and a checksum that agrees; the name of its table."""
    (table,) = (t for t in Store.open(str(store)).tables() if t.startswith(kind))
    path = store / table / MANIFEST
    content = json.loads(path.read_bytes())
    content.pop("checksum")
    content["figures"] |= changed
    path.write_bytes(sealed(content))
    return table


def test_figures_as_they_were_written_are_right(made: Path) -> None:
    found = Store.open(str(made))
    manifests = [found.table_manifest(table) for table in found.tables()]
    assert all(manifest.figures for manifest in manifests)
    assert [list(figures.figure_problems(found, manifest)) for manifest in manifests] == [[]] * 4
    assert vlm_relabel.verify(made).ok


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("steps", {"episodes": 77}),
        ("episodes", {"single": 2}),
        ("embeddings", {"one_colour": 1, "episodes": 4}),
        ("rewards", {"transitions": 2}),
    ],
)
def test_figures_that_are_not_those_of_the_slices_are_told(
    made: Path, kind: str, changed: dict[str, Any]
) -> None:
    table = _change(made, kind, **changed)
    (problem,) = vlm_relabel.verify(made).problems
    assert (problem.table, problem.file) == (table, None)
    assert f"({', '.join(sorted(changed))}) are not those of its slices" in problem.text


def test_a_sum_that_differs_by_its_order_is_right(made: Path) -> None:
    one = {"total": [1.0, 2.0], "rewarded": [1, 2]}
    assert figures._is_same(one, {"total": [1.0, 2.0 + 1e-9], "rewarded": [1, 2]})
    assert not figures._is_same(one, {"total": [1.0, 2.1], "rewarded": [1, 2]})
    assert not figures._is_same(one, {"total": [1.0], "rewarded": [1, 2]})


def test_the_cure_helps(made: Path, tmp_path: Path) -> None:
    table = _change(made, "rewards", transitions=2)
    before = {path.name: path.stat().st_ino for path in (made / table).glob("slice-*")}
    (made / table / MANIFEST).unlink()
    relabel(
        JobOptions(str(made), threads=1),
        EmbedOptions(str(tmp_path / "source"), None, ("front",), PixelMeanEncoder),
        ScoreOptions(PixelMeanEncoder, str(tmp_path / "goals.yaml")),
    )
    assert vlm_relabel.verify(made).ok
    assert {path.name: path.stat().st_ino for path in (made / table).glob("slice-*")} == before


def test_what_the_readers_of_figures_need_may_be_missing(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change(made, "embeddings", one_colour=1)
    table = _change(made, "steps", episodes=77)
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    assert [problem.table for problem in vlm_relabel.verify(made).problems] == [table]
