"""The base alone, without any extra, in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from relabel.jobs import run
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from relabel.testing import load_pixel_mean_encoder
from tests.pipelines.small_source import GOALS, write_source
from tests.pipelines.store_checks import hashes

ROOT = Path(__file__).parents[2]
PACKAGED = ("schemas", "relabel", "pipelines", "offline_rl", "vlm_relabel")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "requirements.lock")
pytestmark = pytest.mark.slow


def _done(*words: Any, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [str(word) for word in words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the base alone, at the versions of the lock."""
    folder = tmp_path_factory.mktemp("install")
    venv.create(folder / "environment", with_pip=True)
    programs = folder / "environment" / "bin"
    probe = _done(programs / "pip", "download", "--no-deps", "--dest", folder / "probe", "mdurl")
    if probe.returncode:
        pytest.skip(f"no package index can be reached: {probe.stderr.strip().splitlines()[-1]}")
    source = folder / "source"
    for name in PACKAGED:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    lock = source / "requirements.lock"
    done = _done(programs / "pip", "install", "--quiet", "--constraint", lock, source)
    assert done.returncode == 0, done.stderr
    return programs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the reward set `v1`, made with all extras."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "goals.yaml").write_text(GOALS)
    options = JobOptions(str(folder / "store"), threads=1)
    embedding = EmbedOptions(
        source=str(write_source(folder / "source")),
        split=None,
        cameras=("front",),
        encoder=load_pixel_mean_encoder,
    )
    scoring = ScoreOptions(load_pixel_mean_encoder, str(folder / "goals.yaml"))
    run.relabel(options, embedding, scoring)
    return folder / "store"


def test_it_has_no_library_of_an_extra(base: Path) -> None:
    told = json.loads(_done(base / "vlm-relabel", "doctor", "--json").stdout)
    assert told["ok"], told
    extras = {f["name"]: f["value"] for f in told["findings"] if f["section"] == "extras"}
    assert extras["embed"].startswith("absent: torch, torchvision, open_clip_torch")
    assert extras["beam"] == "absent: apache-beam, grpcio"
    assert extras["agents"].startswith("absent: d3rlpy")


def test_what_needs_no_extra(base: Path, made: Path) -> None:
    program, goals = base / "vlm-relabel", made.parent / "goals.yaml"
    for line in (["--help"], ["--version"], ["train", "--help"], ["verify", made]):
        done = _done(program, *line)
        assert done.returncode == 0, done.stderr
    words = ["--store", made, "--goals", goals, "--encoder", "pixel-mean", "--threads", "1"]
    scored = _done(program, "score", "--no-embed", *words, "--name", "v2", "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["engine"] == "this process"
    built = _done(program, "build-goals", made, "--rewards", "v2", "--json")
    assert built.returncode == 0, built.stderr
    assert _done(program, "repair", made, "--dry-run").returncode == 0
    assert _done(program, "verify", made).returncode == 0
    assert {"rewards/v2", "goal_datasets/gc1"} <= {p.rpartition("/")[0] for p in hashes(made)}


def test_a_store_is_read(base: Path, made: Path, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, pyarrow.dataset as ds, vlm_relabel\n"
        "from schemas.store import Store\n"
        "store = Store.open(sys.argv[1])\n"
        "table = ds.dataset(sys.argv[1] + '/rewards/v1').to_table()\n"
        "opened = vlm_relabel.open_store(sys.argv[1])\n"
        "assert opened.rewards('v1').shape == (table.num_rows, 3) == (11, 3)\n"
        "assert store.read('steps').num_rows == 11\n"
        "assert np.isfinite(opened.scores('v1')).all()\n"
    )
    done = _done(base / "python", "-c", code, made, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("agents", ["train", "STORE", "--dataset", "gc1", "--algo", "iql", "--out", "run"]),
        ("agents", ["evaluate", "run"]),
        ("embed", ["inspect", "source"]),
        ("embed", ["embed", "--source", "source", "--no-frames", "--store", "new"]),
        ("embed", ["score", "--store", "STORE", "--goals", "a", "--encoder", "local-dir:x"]),
        ("beam", ["build-goals", "STORE", "--name", "gc2", "--workers", "2"]),
    ],
)
def test_what_needs_one_names_it(
    extra: str, words: list[str], base: Path, made: Path, tmp_path: Path
) -> None:
    line = [str(made) if word == "STORE" else word for word in words]
    done = _done(base / "vlm-relabel", *line, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(f"pip install 'vlm-relabel[{extra}]'\n")
    assert len(done.stderr.splitlines()) == 1


def test_python_is_told_the_same(base: Path, tmp_path: Path) -> None:
    code = "import vlm_relabel\nvlm_relabel.train"
    done = _done(base / "python", "-c", code, cwd=tmp_path)
    assert done.stderr.splitlines()[-1].startswith("schemas.errors.MissingExtraError: vlm_relabel.")
    assert done.stderr.endswith("pip install 'vlm-relabel[agents]'\n")
