"""What each command says and does where libraries of an extra are not installed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import MissingExtraError
from schemas.extras import EXTRAS, is_installed, named_extras
from tests.pipelines.store_checks import hashes
from tests.vlm_relabel.cli.cli_outcomes import flat

ALL = tuple(EXTRAS)
BEAM = ("apache_beam", "grpc")
EMBED = tuple(module for module, extra in EXTRAS.items() if extra == "embed")
AGENTS = tuple(module for module, extra in EXTRAS.items() if extra == "agents")


def without(
    modules: tuple[str, ...], *words: Any, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the program in a process that has not these libraries."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({modules!r}))  # None: as if it were not there\n"
        "from vlm_relabel.cli.entry import main\nmain()\n"
    )
    line = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=cwd)


def refused(extra: str, done: subprocess.CompletedProcess[str]) -> None:
    """One sentence that names the extra, for people and for machines."""
    assert done.returncode == 2, done.stderr
    told = json.loads(done.stdout)
    assert told["error"] == "MissingExtraError"
    assert told["message"].endswith(f"which is not installed: pip install 'vlm-relabel[{extra}]'")
    assert done.stderr == f"error: {told['message']}\n"


@pytest.fixture(scope="module")
def made(
    source: Path, goals: Path, tiny_model: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A store that was made without Beam, with a dataset."""
    store = tmp_path_factory.mktemp("made") / "store"
    line = _relabel(source, goals, tiny_model, store)
    done = without((*BEAM, *AGENTS), *line, "--profile")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["engine"] == "this process"
    assert report["profile"]["stages"]
    return store


def _relabel(source: Path, goals: Path, model: str, store: Path) -> list[Any]:
    words = {"--source": source, "--camera": "front", "--encoder": model, "--goals": goals}
    return ["relabel", *flat({**words, "--store": store, "--threads": 1}), "--json"]


@pytest.mark.slow
def test_without_beam_the_bytes_are_the_same(
    source: Path, goals: Path, tiny_model: str, made: Path, tmp_path: Path
) -> None:
    done = without((), *_relabel(source, goals, tiny_model, tmp_path / "store"))
    assert json.loads(done.stdout)["engine"] == "Beam"
    assert hashes(tmp_path / "store") == hashes(made)


@pytest.fixture(params=["verify", "repair", "doctor", "build-goals", "dry", "help", "version"])
def base_line(request: pytest.FixtureRequest, made: Path) -> list[Any]:
    """What needs no extra."""
    return {
        "verify": ["verify", made],
        "repair": ["repair", made, "--dry-run"],
        "doctor": ["doctor"],
        "build-goals": ["build-goals", made, "--name", "gc1"],
        "dry": ["build-goals", made, "--name", "gc2", "--dry-run", "--json"],
        "help": ["train", "--help"],
        "version": ["--version"],
    }[request.param]


@pytest.mark.slow
def test_what_the_base_does(base_line: list[Any]) -> None:
    done = without(ALL, *base_line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_commands_that_embed(source: Path, goals: Path, tiny_model: str, tmp_path: Path) -> None:
    line = _relabel(source, goals, tiny_model, tmp_path / "store")
    steps = ["embed", "--source", source, "--store", tmp_path / "store", "--no-frames", "--json"]
    for words in (line, ["inspect", source, "--json"], steps):
        refused("embed", without(ALL, *words))
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["torchvision", "safetensors"])
def test_each_library_of_an_encoder(
    missing: str, source: Path, goals: Path, tiny_model: str, tmp_path: Path
) -> None:
    refused("embed", without((missing,), *_relabel(source, goals, tiny_model, tmp_path / "store")))


@pytest.mark.slow
def test_score_embeds_its_goals(made: Path, goals: Path, tiny_model: str) -> None:
    words = flat({"--store": made, "--goals": goals, "--encoder": tiny_model, "--name": "v2"})
    refused("embed", without(EMBED, "score", *words, "--json"))


@pytest.mark.slow
def test_a_model_of_open_clip_that_could_be_a_module(made: Path, goals: Path) -> None:
    words = flat({"--store": made, "--goals": goals, "--encoder": "RN50:openai", "--name": "v2"})
    done = without(EMBED, "score", *words)
    assert done.returncode == 2
    assert "there is no module 'RN50'" in done.stderr
    assert "pip install 'vlm-relabel[embed]'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--workers", "2"], "--workers 2"),
        (["--", "--runner", "FlinkRunner"], "--runner"),
    ],
)
def test_only_beam_has_workers(
    words: list[str], asked: str, source: Path, goals: Path, tiny_model: str, tmp_path: Path
) -> None:
    line = _relabel(source, goals, tiny_model, tmp_path / "store")
    done = without(BEAM, *line, *words)
    refused("beam", done)
    assert f"error: {asked} needs the library apache_beam" in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_goals_are_built_by_workers_of_beam(made: Path) -> None:
    words = ["build-goals", made, "--name", "gc3", "--json", "--workers", "2"]
    refused("beam", without(ALL, *words))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["train", "store", "--dataset", "gc1", "--algo", "iql", "--out", "run"],
        ["evaluate", "run"],
        ["export-agent", "run", "agent.d3"],
    ],
)
def test_agents_need_d3rlpy(words: list[str], tmp_path: Path) -> None:
    refused("agents", without(ALL, *words, "--json", cwd=tmp_path))


@pytest.mark.slow
def test_doctor_tells_which_extras_are_absent() -> None:
    told = json.loads(without(ALL, "doctor", "--json").stdout)
    assert told["ok"]
    names = [found["name"] for found in told["findings"] if found["section"] == "extras"]
    assert {"embed", "beam", "agents", "all"} <= set(names)


def test_a_module_of_the_users_own_stays_what_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="my_room"), named_extras("train"):
        raise ModuleNotFoundError("No module named 'my_room'", name="my_room")
    with pytest.raises(ModuleNotFoundError, match=r"scipy\.none"), named_extras("train"):
        raise ModuleNotFoundError("No module named 'scipy.none'", name="scipy.none")


def test_a_library_of_an_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "scipy.stats", raising=False)  # of an earlier test
    words = r"^train needs the library scipy, which is not installed: .*\[agents\]"
    with pytest.raises(MissingExtraError, match=words), named_extras("train"):
        importlib.import_module("scipy.stats")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("vlm_relabel.RewardModel('ViT-B-32:openai', ['a', 'b'])", "embed"),
        ("vlm_relabel.inspect('source')", "embed"),
        ("vlm_relabel.train", "agents"),
        ("vlm_relabel.GoalDataset", "agents"),
        ("vlm_relabel.build_goals(store='store', workers=2)", "beam"),
    ],
)
def test_python_is_told_the_same(code: str, extra: str) -> None:
    lacking = f"import sys\nsys.modules.update(dict.fromkeys({ALL!r}))\nimport vlm_relabel\n"
    line = [sys.executable, "-c", lacking + code]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    told = done.stderr.splitlines()[-1]
    assert told.startswith("schemas.errors.MissingExtraError: ")
    assert told.endswith(f"pip install 'vlm-relabel[{extra}]'")


def test_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed("numpy")
    assert not is_installed("no_such_library")
    monkeypatch.setitem(sys.modules, "numpy", None)  # type: ignore[arg-type]
    assert not is_installed("numpy")
