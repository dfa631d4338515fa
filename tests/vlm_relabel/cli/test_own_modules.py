"""Modules of other people that have the names of ours: the user's own, and other distributions'."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from schemas.enums import LastStep, Timing
from schemas.errors import RunError
from tests.offline_rl import playground
from tests.offline_rl.rooms import Line
from tests.vlm_relabel.cli.cli_outcomes import flat
from vlm_relabel import rooms
from vlm_relabel.agent_rollouts import environment_factory

ROOT = Path(__file__).parents[3]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with modules of our names that must never be imported."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in rooms.ROOMS:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the {name}.py of the user')\n")
    return folder


def program(folder: Path, *words: Any) -> subprocess.CompletedProcess[str]:
    """Runs the program where the user's own modules are."""
    line = [sys.executable, "-m", "vlm_relabel.cli.entry", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def fine(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- of the user's own


@pytest.mark.slow
def test_every_command_is_found(hostile: Path) -> None:
    code = (
        "import sys; assert sys.path[0] == ''\n"
        "from typer.testing import CliRunner\n"
        "from vlm_relabel.cli.main import app\n"
        "import typer\n"
        "for name in typer.main.get_command(app).commands:\n"
        "    assert CliRunner().invoke(app, [name, '--help']).exit_code == 0, name\n"
        "import vlm_relabel\n"
        "for name in vlm_relabel.__all__: getattr(vlm_relabel, name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=hostile, env=environment, check=True)


@pytest.mark.slow
def test_jobs_and_their_workers(
    hostile: Path, source: Path, goals: Path, tiny_model: str, tmp_path: Path
) -> None:
    (hostile / "my_reward.py").write_text(
        "from relabel.rewards.cosine import Cosine\n\n\n"
        "class Mine(Cosine, name='my_reward:Mine'):\n    \"As it is.\"\n"
    )
    words = {"--source": source, "--camera": "front", "--encoder": tiny_model, "--goals": goals}
    store = tmp_path / "store"
    fine(program(hostile, "relabel", *flat({**words, "--store": store, "--workers": 2})))
    mine = {"--reward": "my_reward:Mine", "--name": "mine", "--workers": 2}
    own = {"--store": store, "--encoder": tiny_model, "--goals": goals}
    fine(program(hostile, "score", *flat({**own, **mine})))
    fine(program(hostile, "verify", store))
    fine(program(hostile, "build-goals", store, "--workers", 2))
    fine(program(hostile, "doctor"))
    fine(program(hostile, "inspect", source))


@pytest.mark.slow
def test_agents(hostile: Path, tmp_path: Path) -> None:
    (hostile / "my_room.py").write_text("from tests.offline_rl.rooms import Colours as make\n")
    source = playground.write_source(tmp_path / "playground" / "1.0.0")
    store = tmp_path / "store"
    playground.embed(source, store, LastStep.FINAL_OBSERVATION)
    playground.score(store, "v1", timing=Timing.NEXT_FRAME)
    playground.goal_dataset(store, "gc1", "v1", playground.SPLITS)
    small = ("--set", "hidden_units=[8]", "--set", "batch_size=4", "--steps", 2)
    what = ("--dataset", "gc1", "--algo", "discrete-cql", "--action", "choice")
    sees = ("--observation", "observation.state")
    fine(program(hostile, "train", store, *what, *small, *sees, "--out", "run"))
    rollout = ("--fqe-steps", 0, "--env", "my_room:make", "--episodes", 1)
    told = json.loads(fine(program(hostile, "evaluate", "run", *rollout, "--json")))
    assert {outcome["policy"] for outcome in told["outcomes"]} == {"agent", "random"}


def test_environment_is_found_where_the_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_room.py").write_text("def make():\n    return 'a room'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    assert environment_factory("my_own_room:make")() == "a room"
    assert sys.path[-1] == str(tmp_path)
    assert environment_factory("tests.offline_rl.rooms:Line") is Line


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("rooms.Line", "expected module:name"),
        (":Line", "expected module:name"),
        ("tests.offline_rl.rooms:", "expected module:name"),
        ("no_such_module:make", "there is no module 'no_such_module'"),
        ("tests.offline_rl.rooms:Cave", "has no 'Cave'"),
        ("tests.offline_rl.rooms:LIMIT", "expected a function that makes .* got 8$"),
    ],
)
def test_environment_that_cannot_be_had(name: str, problem: str) -> None:
    with pytest.raises(RunError, match=f"^--env .*{problem}"):
        environment_factory(name)


@pytest.mark.slow
def test_a_module_that_python_has_loaded_already_is_told(hostile: Path) -> None:
    (hostile / "schemas.py").write_text("")
    code = "import schemas, vlm_relabel\nvlm_relabel.open_store"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=hostile, env=environment, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: the module 'schemas' that is loaded is {hostile / 'schemas.py'}, not the "
        "package of vlm-relabel; import vlm_relabel before it, or give that file another name"
    )


# --- of other distributions


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of installed packages: ours, and then another distribution with `schemas`."""
    folder = tmp_path / "site-packages"
    for name in (*rooms.ROOMS, "vlm_relabel"):
        shutil.copytree(ROOT / name, folder / name)
    wheel = _wheel(tmp_path / "wheels", "their-data", "schemas/__init__.py")
    words = ["--no-deps", "--no-index", "--upgrade", "--target", folder, wheel]
    line = [sys.executable, "-m", "pip", "install", "--quiet", *map(str, words)]
    subprocess.run(line, check=True)
    return folder


def _wheel(folder: Path, name: str, *files: str) -> Path:
    folder.mkdir()
    module = name.replace("-", "_")
    path, info = folder / f"{module}-1.0-py3-none-any.whl", f"{module}-1.0.dist-info"
    contents = dict.fromkeys(files, "THEIRS = True\n")
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    listed = "".join(f"{file},,\n" for file in (*contents, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**contents, f"{info}/RECORD": listed}.items():
            archive.writestr(file, content)
    return path


@pytest.mark.slow
def test_another_distribution_that_overwrote_ours_is_named(shared: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(shared)}
    line = [sys.executable, "-m", "vlm_relabel.cli.entry", "verify", "store", "--json"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    told = json.loads(done.stdout)["message"]
    assert done.stderr == f"error: {told}\n"
    assert told.startswith(f"{shared / 'schemas' / '__init__.py'} is not the package 'schemas' of")
    assert "vlm-relabel, but that of their-data in the same environment" in told
    assert "in an environment of its own" in told


@pytest.mark.slow
def test_a_single_file_that_was_overwritten(shared: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "schemas" / "__init__.py", shared / "schemas" / "__init__.py")
    (shared / "schemas" / "store.py").write_text("THEIRS = True\n")
    environment = {**os.environ, "PYTHONPATH": str(shared)}
    line = [sys.executable, "-m", "vlm_relabel.cli.entry", "verify", "store"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("their-data ships schemas too: each overwrites")


@pytest.mark.slow
def test_doctor_names_a_distribution_that_we_overwrote(shared: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "schemas" / "__init__.py", shared / "schemas" / "__init__.py")
    environment = {**os.environ, "PYTHONPATH": str(shared)}
    line = [sys.executable, "-m", "vlm_relabel.cli.entry", "doctor", "--json"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    (found,) = [f for f in json.loads(done.stdout)["findings"] if not f["ok"]]
    assert found["name"] == "their-data"
    assert found["value"] == "ships 'schemas' too"
    assert "each overwrites files of the other" in found["cure"]


def test_nothing_else_here_has_our_names() -> None:
    assert rooms.clashes() == {}
