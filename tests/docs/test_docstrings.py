"""The examples in the docstrings of the front door run, in the workspace of the docs."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import vlm_relabel
from tests.docs.docs_workspace import make_store
from vlm_relabel.cli.quiet import quiet

ROOT = Path(__file__).parents[2]
MODULES = sorted({"vlm_relabel", *vlm_relabel._ROOMS.values()})


@pytest.mark.slow
def test_examples_run(here: Path) -> None:
    make_store(here)
    vlm_relabel.build_goals(store="my.store")
    quiet()  # d3rlpy prints its losses
    ran = {}
    for name in MODULES:
        done = doctest.testmod(importlib.import_module(name))
        assert done.failed == 0
        ran[name] = done.attempted
    without = {"vlm_relabel.checks"}
    assert {name for name, count in ran.items() if not count} == without


@pytest.mark.parametrize("name", vlm_relabel.__all__)
def test_every_name_of_the_front_door_is_documented(name: str) -> None:
    assert f"`{name}`" in _page()


def test_every_method_of_a_store_is_documented() -> None:
    public = {name for name in dir(vlm_relabel.OpenedStore) if not name.startswith("_")}
    page = _page()
    assert {name for name in public if f"`{name}" not in page} == set()


def _page() -> str:
    return (ROOT / "docs" / "python.md").read_text("utf-8")
