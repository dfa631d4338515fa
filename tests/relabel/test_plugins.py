"""Objects by `module:name`: found where Python looks first, then where the user stands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relabel import plugins
from relabel.plugins import load_named
from schemas.errors import RelabelError, RewardError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory that is not on Python's path."""
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", ".")])
    monkeypatch.setattr(plugins, "_ADDED", set())
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_module_of_the_working_directory_and_its_neighbour(here: Path) -> None:
    (here / "own_plugin_a.py").write_text(
        "class A:\n    class B:\n        x = 3\n\ndef late():\n    import own_plugin_n as n\n"
        "    return n.y\n"
    )
    (here / "own_plugin_n.py").write_text("y = 5\n")
    assert load_named("own_plugin_a:A.B.x", "thing") == 3
    assert load_named("own_plugin_a:late", "thing")() == 5
    assert sys.path[-1] == str(here)


def test_a_module_in_a_package(here: Path) -> None:
    (here / "own_package_b").mkdir()
    (here / "own_package_b" / "inner.py").write_text("x = 4\n")
    assert load_named("own_package_b.inner:x", "thing") == 4


def test_a_file_of_the_user_takes_no_installed_package_s_place(here: Path) -> None:
    (here / "json.py").write_text("raise SystemExit('the wrong one')\n")
    code = (
        "from relabel.plugins import load_named; import sys;"
        "print(load_named('json:dumps', 'thing')({}))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=here, env={"PYTHONPATH": str(root)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "{}\n"


def test_a_name_from_a_file_is_not_looked_for_in_the_working_directory(here: Path) -> None:
    (here / "own_plugin_c.py").write_text("raise RuntimeError('has run')\n")
    (here / "own_plugin_d.py").write_text("x = 1\n")
    assert load_named("own_plugin_d:x", "thing") == 1  # named by the user
    assert load_named("own_plugin_d:x", "thing", here=False) == 1  # who has thus let it in
    with pytest.raises(RelabelError, match=r"no module 'own_plugin_c' on Python's path; .*PYTHONP"):
        load_named("own_plugin_c:x", "thing", here=False)
    assert sys.path[-1] == str(here), "the path is as before"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own_plugin_e", "expected module:name, such as my_module:MyClass"),
        ("own_plugin_e:", "expected module:name"),
        (":x", "expected module:name"),
        ("own-plugin:x", "expected module:name"),
        ("../own_plugin_e:x", "expected module:name"),
        (".own_plugin_e:x", "expected module:name"),
        ("own_plugin_z:x", r"no module 'own_plugin_z' on Python's path or in .*spelled"),
        ("own_plugin_e.inner:x", "no module 'own_plugin_e.inner'|own_plugin_e.inner"),
        ("own_plugin_e:Z", r"module own_plugin_e \(.*own_plugin_e.py\) has no 'Z'; .* are X, f$"),
        ("own_plugin_e:X.z", "X has no 'z'; names that it defines are y$"),
        ("own_plugin_f:x", "own_plugin_f cannot be imported: ValueError: 7$"),
        ("own_plugin_g:x", "own_plugin_g needs 'own_plugin_y', which is not installed"),
        ("own_plugin_h:x", "own_plugin_h cannot be imported: SyntaxError: "),
        ("own_plugin_i:x", "own_plugin_i cannot be imported: SystemExit: 3$"),
    ],
)
def test_what_cannot_be_loaded(here: Path, text: str, message: str) -> None:
    (here / "own_plugin_e.py").write_text(
        "from math import pi\nimport json\nclass X:\n    y = 1\ndef f(): ...\n"
    )
    (here / "own_plugin_f.py").write_text("raise ValueError(7)\n")
    (here / "own_plugin_g.py").write_text("import own_plugin_y.inner\n")
    (here / "own_plugin_h.py").write_text("x = = 1\n")
    (here / "own_plugin_i.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(RewardError, match=f"^reward '{text}': .*({message})"):
        load_named(text, "reward", kind=RewardError)
