"""Public lists: every name is there, and none loads a library before it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTS = sorted(
    path.parent.relative_to(ROOT).as_posix().replace("/", ".")
    for path in (ROOT / "relabel").glob("*/__init__.py")
    if "__all__" in path.read_text()
)
HEAVY = ("torch", "tensorflow", "tensorflow_datasets", "apache_beam", "open_clip", "d3rlpy")


def test_there_are_lists() -> None:
    assert {"relabel.rewards", "relabel.encoders", "relabel.jobs"} <= set(LISTS)


@pytest.mark.parametrize("package", LISTS)
def test_every_public_name_is_there(package: str) -> None:
    found = importlib.import_module(package)
    assert found.__all__
    for name in found.__all__:
        assert getattr(found, name) is not None
        assert name in vars(found)  # found once
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        found.nothing  # noqa: B018


@pytest.mark.parametrize("package", LISTS)
def test_type_checkers_see_the_same_names_at_the_same_places(package: str) -> None:
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package)
        for alias in node.names
    }
    found = importlib.import_module(package)
    assert sorted(seen) == sorted(found.__all__)
    for name, module in seen.items():
        assert getattr(found, name) is getattr(importlib.import_module(str(module)), name)


def test_lists_load_nothing_heavy() -> None:
    code = f"import sys, {', '.join(LISTS)}; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
