"""`import vlm_relabel`: what it gives, and that importing it loads nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vlm_relabel

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "apache_beam", "tensorflow_datasets", "tensorflow", "d3rlpy", "pyarrow", "numpy"}
_FRESH = """
import json, sys, time
before, start = set(sys.modules), time.perf_counter()
import vlm_relabel
seconds = time.perf_counter() - start
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps([seconds, dir(vlm_relabel), sorted(loaded)]))
"""


def fresh(code: str) -> list[object]:
    """What a new process prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT)
    found: list[object] = json.loads(done.stdout)
    return found


def test_importing_it_loads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seconds, listed, loaded = fresh(_FRESH)
    with capsys.disabled():
        sys.stdout.write(f"\nimport vlm_relabel: {1000 * float(str(seconds)):.1f} ms\n")
    assert not HEAVY & set(loaded)
    assert set(vlm_relabel.__all__) <= set(listed)


def test_a_name_loads_only_what_it_needs() -> None:
    code = (
        "import vlm_relabel, json, sys; vlm_relabel.open_store; print(json.dumps([*sys.modules]))"
    )
    loaded = {str(name).split(".")[0] for name in fresh(code)}
    assert "pyarrow" in loaded
    assert not loaded & {"torch", "apache_beam", "tensorflow_datasets", "d3rlpy"}


@pytest.mark.parametrize("name", vlm_relabel.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    found = getattr(vlm_relabel, name)
    assert name.startswith("_") or found.__doc__


def test_the_version_is_that_of_the_package() -> None:
    assert vlm_relabel.__version__ == version("vlm-relabel")


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'open_stores'"):
        _ = vlm_relabel.open_stores  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="rewards"):
        exec("from vlm_relabel import rewards")
