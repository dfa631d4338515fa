"""Nothing that is read can be code: no call that would run what a file says, anywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = ("schemas", "relabel", "pipelines", "offline_rl", "vlm_relabel", "examples", "benchmarks")
FILES = sorted(path for place in PLACES for path in (ROOT / place).rglob("*.py"))

# Calls by the end of their dotted name, and what makes one of them harmless.
RUN_WHAT_IS_READ = {
    "pickle.load",
    "pickle.loads",
    "cloudpickle.load",
    "cloudpickle.loads",
    "dill.load",
    "dill.loads",
    "joblib.load",
    "marshal.loads",
    "load_learnable",
    "torch.jit.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "hub.load",
    "os.system",
}
BUILTINS = {"eval", "exec", "__import__"}


def dangers(source: str) -> list[str]:
    """Calls of a module that could run what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg is not None}
        if any(name == bad or name.endswith(f".{bad}") for bad in RUN_WHAT_IS_READ):
            found.append(name)
        if name in BUILTINS:
            found.append(name)
        if name.endswith("torch.load") and given.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if name.endswith(("np.load", "numpy.load")) and given.get("allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        if name.endswith("yaml.load") and "Safe" not in ast.unparse(node) + str(source):
            found.append("yaml.load without a safe loader")
        if given.get("trust_remote_code", "False") != "False":
            found.append("trust_remote_code")
        if given.get("shell") == "True":
            found.append("a shell")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_what_it_reads(path: Path) -> None:
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle; pickle.load(f)",
        "import torch; torch.load(f)",
        "import torch; torch.load(f, weights_only=False)",
        "import numpy as np; np.load(f)",
        "import numpy as np; np.load(f, allow_pickle=True)",
        "import d3rlpy; d3rlpy.load_learnable(p)",
        "import yaml; yaml.load(t, Loader=yaml.Loader)",
        "AutoTokenizer.from_pretrained(p, trust_remote_code=True)",
        "import subprocess; subprocess.run(t, shell=True)",
        "eval(t)",
    ],
)
def test_the_check_can_fail(source: str) -> None:
    assert len(dangers(source)) == 1


def test_it_looks_at_every_package() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PLACES)
    assert len(FILES) > 100
