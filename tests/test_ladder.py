"""The rooms import in one direction, and heavy libraries in one place each.

    schemas  <--  relabel  <--  pipelines  <--  vlm_relabel (the command line, on top of all)
    schemas  <--  offline_rl

Read off the syntax tree of every file, so that an import inside a function counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": set(),
    "relabel": {"schemas"},
    "pipelines": {"schemas", "relabel"},
    "offline_rl": {"schemas"},
    "vlm_relabel": {"schemas", "relabel", "pipelines", "offline_rl"},
}
BEAM = {"apache_beam"}
TORCH = {"torch", "torchvision", "open_clip"}
TENSORFLOW = {"tensorflow", "tensorflow_datasets", "rlds"}
FORBIDDEN = {
    "schemas": BEAM | TORCH | TENSORFLOW | {"d3rlpy"},
    "relabel": BEAM | {"d3rlpy"},
    "pipelines": TORCH | TENSORFLOW | {"d3rlpy"},
    "offline_rl": BEAM | TENSORFLOW | {"open_clip"},
    "vlm_relabel": TORCH | TENSORFLOW,
}
# Of the room `relabel`: the only modules that may import a library.
_TORCH_MODULES = {
    *(
        "relabel/encoders/open_clip.py",
        "relabel/encoders/checkpoint.py",
        "relabel/encoders/device.py",
    ),
    "relabel/encoders/images.py",
    *(
        "relabel/encoders/pixels.py",
        "relabel/encoders/texts.py",
        "relabel/encoders/open_clip_import.py",
    ),
    "relabel/encoders/hardware.py",
}
_TFDS_MODULES = {
    "relabel/source/examples.py",
    "relabel/source/extent.py",
    "relabel/source/features.py",
    "relabel/source/opening.py",
    "relabel/testing.py",
}
# One library of paths each: local ones are pathlib's, those of a store fsspec's, those of a source
# TFDS's own, which opens URLs by fsspec as well.
PATHS = {
    "fsspec": ("schemas/object_stores.py",),
    "etils": ("relabel/source/",),
}
# The rooms of `relabel`, in the order of the data: each may import those before it.
ORDER = (
    *("frames", "source", "encoders", "goals", "rewards", "goal_datasets"),
    *("slices", "inspection", "evaluation", "heads", "jobs"),
)
ANYWHERE = {"lfs", "plugins", "testing"}  # modules beside the rooms
ONLY_IN = {
    **dict.fromkeys(TORCH, _TORCH_MODULES),
    **dict.fromkeys(TENSORFLOW, _TFDS_MODULES),
}


@dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    module: str
    line: int
    typing_only: bool  # below `if TYPE_CHECKING`: never executed

    @property
    def top(self) -> str:
        """The package it belongs to."""
        return self.module.split(".")[0]


def imports(code: str) -> Iterator[Import]:
    """Every import of a module's text, wherever it stands."""
    yield from _imports(ast.parse(code), typing_only=False)


def _imports(node: ast.AST, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, typing_only) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        # A relative import stays in its own room.
        if node.level == 0 and node.module is not None:
            yield Import(node.module, node.lineno, typing_only)
    elif isinstance(node, ast.Call) and (name := _dynamic(node)) is not None:
        yield Import(name, node.lineno, typing_only)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for inner in node.body:
            yield from _imports(inner, typing_only=True)
        for inner in node.orelse:
            yield from _imports(inner, typing_only)
        return
    for inner in ast.iter_child_nodes(node):
        yield from _imports(inner, typing_only)


def _dynamic(call: ast.Call) -> str | None:
    """The module of `import_module("x")` or `__import__("x")`, if it is written there."""
    function = ast.unparse(call.func).split(".")[-1]
    if function not in ("import_module", "__import__") or not call.args:
        return None
    name = call.args[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def offences(path: str, code: str) -> list[str]:
    """What is wrong with the imports of one file, given its path below the repository."""
    room = path.split("/")[0]
    found = []
    for item in imports(code):
        where = f"{path}:{item.line}: imports {item.module}"
        if item.top in MAY_IMPORT and item.top != room and item.top not in MAY_IMPORT[room]:
            found.append(f"{where}: {room} may import {sorted(MAY_IMPORT[room])} only")
        if item.typing_only:
            continue
        if item.top in PATHS and not path.startswith(PATHS[item.top]):
            found.append(f"{where}: only in {PATHS[item.top]}")
        if item.top in FORBIDDEN[room]:
            found.append(f"{where}: not in {room}")
        if room == "relabel" and not _may_see(path, item.module):
            found.append(f"{where}: comes later than {_inner(path)} in {', '.join(ORDER)}")
        if room == "relabel" and path not in ONLY_IN.get(item.top, {path}):
            found.append(f"{where}: only in {sorted(ONLY_IN[item.top])}")
    return found


def _inner(place: str) -> str:
    """The room within `relabel` of a path or a module; "" if there is none."""
    parts = place.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 else ""


def _may_see(path: str, module: str) -> bool:
    """Whether a module of `relabel` may import another one, by the order of their rooms."""
    own, other = _inner(path), _inner(module)
    if not module.startswith("relabel.") or other in ANYWHERE or own not in ORDER:
        return True
    return other in ORDER[: ORDER.index(own) + 1]


def files() -> list[str]:
    """Every module of the rooms that are there."""
    paths = (path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py")))
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("path", files())
def test_imports_go_down_the_ladder(path: str) -> None:
    assert offences(path, (ROOT / path).read_text()) == []


def test_every_room_of_relabel_has_its_place_in_the_order() -> None:
    folders = {path.parent.name for path in (ROOT / "relabel").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "relabel").glob("*.py")} - {"__init__"}
    assert (folders, modules) == (set(ORDER), ANYWHERE)


def test_the_rooms_are_looked_at() -> None:
    listed = files()
    for path in ("schemas/store.py", "relabel/encoders/open_clip.py", "pipelines/jobs.py"):
        assert path in listed


def test_the_heavy_libraries_are_where_they_should_be() -> None:
    # If they moved, the lists above would guard nothing.
    for library, places in (("torch", ONLY_IN["torch"]), ("tensorflow_datasets", ONLY_IN["rlds"])):
        for path in places:
            assert library in {item.top for item in imports((ROOT / path).read_text())}


# --- the check itself can fail


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("schemas/x.py", "import relabel"),
        ("schemas/x.py", "import fsspec"),
        ("relabel/encoders/x.py", "from etils import epath"),
        ("schemas/x.py", "from relabel.source.source import Source"),
        ("schemas/x.py", "import numpy, torch"),
        ("schemas/x.py", "def f():\n    import tensorflow as tf"),
        ("schemas/x.py", "from apache_beam.metrics import Metrics"),
        ("schemas/x.py", "import tensorflow_datasets.core"),
        ("relabel/x.py", "from pipelines import jobs"),
        ("relabel/x.py", "class A:\n    def f(self):\n        import offline_rl.replay"),
        ("relabel/x.py", "if x:\n    import apache_beam as beam"),
        ("relabel/x.py", "import torch.nn.functional as F"),
        ("relabel/x.py", "def f():\n    return importlib.import_module('open_clip.factory')"),
        ("relabel/x.py", "__import__('torch')"),
        ("relabel/encoders/open_clip.py", "import tensorflow"),
        ("relabel/source/source.py", "import torch"),
        ("relabel/source/records.py", "try:\n    import rlds\nexcept ImportError:\n    pass"),
        ("relabel/frames/x.py", "from relabel.source import texts"),
        ("relabel/goals/x.py", "from relabel.rewards.scorer import Scorer"),
        ("relabel/slices/x.py", "def f():\n    import relabel.jobs.options"),
        ("pipelines/x.py", "import offline_rl"),
        ("pipelines/x.py", "lambda: __import__('torch')"),
        ("offline_rl/x.py", "from relabel.rewards.scorer import Scorer"),
        ("offline_rl/x.py", "import apache_beam"),
        ("offline_rl/x.py", "from vlm_relabel import main"),
        ("schemas/x.py", "if TYPE_CHECKING:\n    from relabel.source.source import Source"),
        ("schemas/x.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch"),
    ],
)
def test_an_offending_module_is_caught(path: str, code: str) -> None:
    (problem,) = offences(path, code)
    assert problem.startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("relabel/x.py", "import schemas.store\nfrom schemas import fields\nimport numpy"),
        ("relabel/x.py", "if TYPE_CHECKING:\n    import torch"),
        ("relabel/jobs/x.py", "from relabel.source import texts\nfrom relabel.jobs import run"),
        ("relabel/encoders/open_clip.py", "import torch\nimport open_clip"),
        ("relabel/testing.py", "import tensorflow_datasets as tfds"),
        ("relabel/x.py", "from . import source\nfrom .source import Source"),
        ("pipelines/x.py", "import apache_beam\nfrom relabel.source.source import Source"),
        ("offline_rl/x.py", "import torch\nimport d3rlpy\nfrom schemas.store import Store"),
        ("vlm_relabel/x.py", "import pipelines, relabel, schemas, offline_rl"),
        ("schemas/x.py", "text = 'import torch'\nimport torchless"),
    ],
)
def test_a_decent_module_is_let_through(path: str, code: str) -> None:
    assert offences(path, code) == []


def test_a_class_name_occurs_once() -> None:
    found: dict[str, list[str]] = {}
    for path in files():
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(path)
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
