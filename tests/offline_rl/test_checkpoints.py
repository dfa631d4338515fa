"""Checkpoints: nothing in them is run, and what is damaged is neither read nor hidden."""

from __future__ import annotations

import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch

from offline_rl import checkpoints, training
from offline_rl.algorithms import ALGORITHMS
from offline_rl.weights import read_tree, write_tree
from schemas.errors import RunError
from tests.offline_rl.runs import assert_same_weights, config_of, run

FILES = ("agent.safetensors", "agent.json", "random.safetensors", "random.json", "state.json")


@pytest.fixture(scope="module")
def finished(playground_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "iql"
    run(config_of(playground_store, "iql", 30, checkpoint_every=10), out)
    return out


@pytest.fixture
def trained(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


class Mark:
    """A pickle of this makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def last(out: Path) -> Path:
    return checkpoints.checkpoints(out)[-1]


@pytest.mark.parametrize("name", ["agent.d3", "modules.pt", "rng.pt", *FILES, "seal.json"])
def test_a_pickle_in_a_run_is_not_opened(trained: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    for folder in checkpoints.checkpoints(trained):
        (folder / name).write_bytes(pickle.dumps(Mark(mark)))
    for act in (checkpoints.load_agent, checkpoints.last_step, checkpoints.damaged):
        with suppress(RunError):
            act(trained)
    assert not mark.exists()
    pickle.loads((last(trained) / name).read_bytes())
    assert mark.exists()  # so it would have left a mark


def test_a_checkpoint_of_an_earlier_version_is_told(trained: Path) -> None:
    for folder in checkpoints.checkpoints(trained):
        (folder / "agent.d3").write_bytes(b"")
    with pytest.raises(RunError, match="was written by an earlier version, as a pickle"):
        checkpoints.load_agent(trained)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(trained: Path, name: str, place: float) -> None:
    path = last(trained) / name
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=rf"{name} has changed.*whole checkpoints: 10, 20$"):
        checkpoints.load_agent(trained, 30)
    assert checkpoints.last_step(trained) == 20
    assert [told for told in checkpoints.damaged(trained) if f"{name} has changed" in told]
    assert checkpoints.load_agent(trained).grad_step == 20


@pytest.mark.parametrize("damage", ["empty", "half", "gone"])
@pytest.mark.parametrize("name", [*FILES, "seal.json"])
def test_training_goes_on_from_the_checkpoint_before(
    trained: Path, finished: Path, playground_store: Path, name: str, damage: str
) -> None:
    path = last(trained) / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    if damage == "gone":
        path.unlink()
    plans: list[training.Plan] = []
    config = config_of(playground_store, "iql", 30, checkpoint_every=10)
    run(config, trained, begins=plans.append)
    assert plans[0].resumed_from == 20
    assert any("step-00000030" in note for note in plans[0].notes)
    assert_same_weights(last(trained), last(finished))


def test_an_agent_exported_acts_the_same(trained: Path, tmp_path: Path) -> None:
    checkpoints.export(trained, tmp_path / "agent.d3", 20)
    seen = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    theirs = d3rlpy.load_learnable(str(tmp_path / "agent.d3")).predict(seen)
    np.testing.assert_array_equal(checkpoints.load_agent(trained, 20).predict(seen), theirs)


@pytest.mark.parametrize("algo", [name for name, known in ALGORITHMS.items() if known.own])
def test_a_learner_of_our_own_is_exported_as_well(
    algo: str, playground_store: Path, tmp_path: Path
) -> None:
    run(config_of(playground_store, algo, 3), tmp_path / "run")
    checkpoints.export(tmp_path / "run", tmp_path / "agent.d3")
    seen = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    theirs = d3rlpy.load_learnable(str(tmp_path / "agent.d3")).predict(seen)
    np.testing.assert_array_equal(checkpoints.load_agent(tmp_path / "run").predict(seen), theirs)


def test_a_tree_comes_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    tree = {
        "a": {0: shared, 1: shared[2:4]},
        "b": [1, 2.5, None, "x", True, (torch.tensor(3),)],
        "c": torch.zeros(0, dtype=torch.bfloat16),
    }
    write_tree(tmp_path, "tree", tree)
    found = read_tree(tmp_path, "tree")
    assert found["a"][0].equal(shared)
    assert found["a"][1].equal(shared[2:4])
    assert found["b"][:5] == tree["b"][:5]
    assert found["b"][5][0].equal(torch.tensor(3))
    assert found["c"].dtype is torch.bfloat16


@pytest.mark.parametrize("value", [object(), {1.5: 2}, [Path("x")], np.zeros(2)])
def test_a_tree_of_anything_else_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"expected text or whole|neither a tensor nor a plain"):
        write_tree(tmp_path, "tree", value)


@pytest.mark.parametrize("told", ["{", "[]", '["tensor", "9"]', '["code", "x"]', '["value", []]'])
def test_what_is_no_tree(tmp_path: Path, told: str) -> None:
    write_tree(tmp_path, "tree", {})
    (tmp_path / "tree.json").write_text(told)
    with pytest.raises(RunError, match="tree: cannot be read"):
        read_tree(tmp_path, "tree")


def test_the_state_is_json(trained: Path) -> None:
    assert json.loads((last(trained) / "state.json").read_text())["step"] == 30
