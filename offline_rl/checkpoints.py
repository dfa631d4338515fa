"""Checkpoints of a run: everything that going on as if nothing had happened needs.

RUN/checkpoints/step-00001000/
    agent.safetensors, agent.json     networks and optimisers
    random.safetensors, random.json   state of the random generators
    state.json                        algorithm, updates, losses not yet in the metrics, replay
    seal.json                         size and SHA-256 of the other files; written last
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import d3rlpy
import numpy as np
import torch
from d3rlpy.base import LearnableConfigWithShape

from offline_rl.replay import GoalConditionedReplayBuffer
from offline_rl.run_files import sync
from offline_rl.weights import read_tree, write_tree
from schemas.errors import RunError
from schemas.json_text import parse_json
from schemas.texts import brief

_STATE: Final = "state.json"
_SEAL: Final = "seal.json"


def checkpoint_folder(out: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` updates."""
    return out / "checkpoints" / f"step-{step:08d}"


def checkpoints(out: Path) -> list[Path]:
    """Folders of the checkpoints of a run, oldest first; `problem` tells whether one is whole."""
    found = (out / "checkpoints").glob("step-*")
    return sorted((path for path in found if _number(path).isdigit()), key=_step)


def whole_checkpoints(out: Path) -> list[Path]:
    """As `checkpoints`, without those that are damaged."""
    return [path for path in checkpoints(out) if problem(path) is None]


def problem(checkpoint: Path) -> str | None:
    """What keeps a checkpoint from being read; None if it is as it was written."""
    if (checkpoint / "agent.d3").exists():
        return "was written by an earlier version, as a pickle, which is not opened; train again"
    try:
        seal = parse_json((checkpoint / _SEAL).read_text())
        for name, (size, digest) in dict(seal).items():
            content = (checkpoint / Path(name).name).read_bytes()
            if len(content) != size or hashlib.sha256(content).hexdigest() != digest:
                return f"{name} has changed since it was written"
    except (OSError, ValueError, TypeError) as error:
        return f"is not whole: {error}"
    return None


def _number(path: Path) -> str:
    return path.name.removeprefix("step-")


def _step(path: Path) -> int:
    return int(_number(path))


def last_step(out: Path) -> int:
    """Updates done at the last whole checkpoint; 0 if there is none."""
    for path in reversed(checkpoints(out)):
        if problem(path) is None:
            return _step(path)
    return 0


def damaged(out: Path) -> list[str]:
    """Checkpoints behind the last whole one, each with what is wrong with it."""
    last = last_step(out)
    later = [path for path in checkpoints(out) if _step(path) > last]
    return [f"{path}: {problem(path)}" for path in later]


def save(
    out: Path,
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    step: int,
    losses: Mapping[str, Sequence[float]],
    keep: int,
) -> None:
    """Writes a checkpoint, then removes all but the newest `keep`.

    Args:
        out: run folder.
        agent: d3rlpy algorithm.
        replay: that it is trained on.
        step: updates done.
        losses: since the last line of metrics.
        keep: at least 1, so that the last one always stays.
    """
    final = checkpoint_folder(out, step)
    staged = _staged(final)
    staged.mkdir(parents=True)
    try:
        _write(staged, agent, replay, step, losses)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)  # of a full disk it would take the last room
        raise
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)
    sync(final.parent)
    for old in checkpoints(out)[:-keep]:
        # Under another name first: half a folder must not look like a checkpoint.
        shutil.rmtree(old.rename(_staged(old)))


def _write(
    folder: Path,
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    step: int,
    losses: Mapping[str, Sequence[float]],
) -> None:
    write_tree(folder, "agent", _modules(agent))
    write_tree(folder, "random", random_state())
    state = {
        "step": step,
        "grad_step": agent.grad_step,
        "algorithm": json.loads(_shaped(agent).serialize()),
        "replay": replay.rng.bit_generator.state,
        "losses": losses,
    }
    (folder / _STATE).write_text(json.dumps(state))
    _seal(folder)


def _shaped(agent: Any) -> LearnableConfigWithShape:
    """An algorithm's hyper-parameters with the sizes of its networks."""
    return LearnableConfigWithShape(
        observation_shape=agent.impl.observation_shape,
        action_size=agent.impl.action_size,
        config=agent.config,
    )


def _modules(agent: Any) -> Any:
    """State of every network and optimiser, as d3rlpy gives it."""
    buffer = io.BytesIO()
    agent.impl.save_model(buffer)
    buffer.seek(0)
    return torch.load(buffer, map_location="cpu", weights_only=True)


def _load_modules(agent: Any, tree: Any) -> None:
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    buffer.seek(0)
    agent.impl.load_model(buffer)


def _seal(folder: Path) -> None:
    """Syncs every file, and writes down what each of them is."""
    seal = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        seal[path.name] = (len(content), hashlib.sha256(content).hexdigest())
        sync(path)
    (folder / _SEAL).write_text(json.dumps(seal))
    sync(folder / _SEAL)
    sync(folder)


def _staged(final: Path) -> Path:
    """A name that is free and is no checkpoint's."""
    staged = final.with_name(f".tmp-{final.name}")
    shutil.rmtree(staged, ignore_errors=True)
    return staged


def restore(
    out: Path, agent: Any, replay: GoalConditionedReplayBuffer
) -> tuple[int, defaultdict[str, list[float]]]:
    """Loads the last whole checkpoint: updates done so far, and losses not yet in the metrics.

    Checkpoints behind it, which are damaged, are removed.
    """
    last = last_step(out)
    for path in checkpoints(out):
        if _step(path) > last:
            shutil.rmtree(path.rename(_staged(path)))
    if not last:
        return 0, defaultdict(list)
    folder = checkpoint_folder(out, last)
    try:
        state = parse_json((folder / _STATE).read_text())
        _load_modules(agent, read_tree(folder, "agent"))
        agent.set_grad_step(int(state["grad_step"]))
        replay.rng.bit_generator.state = state["replay"]
        set_random_state(read_tree(folder, "random"))
        losses = {name: list(map(float, own)) for name, own in state["losses"].items()}
        return last, defaultdict(list, losses)
    except Exception as error:  # of whatever is found wrong with what a stranger has sealed
        raise RunError(
            f"{folder}: training cannot go on from it: {type(error).__name__}: "
            f"{brief(str(error))}; remove that folder, and the same command goes on from the one "
            "before"
        ) from error


def load_agent(out: Path, step: int | None = None, device: str = "cpu") -> Any:
    """The agent of a run's checkpoint.

    Args:
        out: run folder.
        step: of the checkpoint; None is the last whole one.
        device: to load it on.

    Raises:
        RunError: there is no such checkpoint, or it is damaged.
    """
    folder = _chosen(out, step)
    try:
        state = parse_json((folder / _STATE).read_text())
        agent = LearnableConfigWithShape.deserialize_from_dict(state["algorithm"]).create(device)
        _load_modules(agent, read_tree(folder, "agent"))
        agent.set_grad_step(int(state["grad_step"]))
    except Exception as error:  # of whatever a version of d3rlpy finds wrong with them
        raise RunError(
            f"{folder}: its algorithm cannot be made again with d3rlpy {d3rlpy.__version__}: "
            f"{error}; train again"
        ) from error
    return agent


def _chosen(out: Path, step: int | None) -> Path:
    found = {_step(path): path for path in checkpoints(out)}
    if not found:
        raise RunError(f"{out}: no checkpoint yet; the command that made the run resumes it")
    chosen = (last_step(out) or max(found)) if step is None else step
    if chosen not in found:
        known = ", ".join(map(str, sorted(found)))
        raise RunError(f"{out}: no checkpoint of step {step}; there are those of {known}")
    if told := problem(found[chosen]):
        whole = ", ".join(str(_step(path)) for path in whole_checkpoints(out)) or "none"
        raise RunError(f"{found[chosen]}: {told}; whole checkpoints: {whole}")
    return found[chosen]


def export(out: Path, path: Path, step: int | None = None) -> None:
    """Writes an agent as d3rlpy itself does, for `d3rlpy.load_learnable`.

    That file is a pickle: whoever opens one runs what it says, so it should be opened only by
    those who trust where it comes from. Nothing in this package opens one.

    Args:
        out: run folder.
        path: of the file.
        step: of the checkpoint; None is the last whole one.

    Raises:
        RunError: as `load_agent`.
    """
    load_agent(out, step).save(str(path))


# --- random generators


def random_state() -> dict[str, Any]:
    """The state of every global random generator, as tensors and plain values."""
    legacy = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy_key": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
        "numpy_pos": int(legacy["state"]["pos"]),
        "python": torch.tensor(random.getstate()[1], dtype=torch.int64),
    }


def set_random_state(saved: Mapping[str, Any]) -> None:
    """Puts back what `random_state` gave."""
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():  # a run may go on without a GPU
        torch.cuda.set_rng_state_all(saved["cuda"])
    key = saved["numpy_key"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, saved["numpy_pos"], 0, 0.0))
    random.setstate((3, tuple(saved["python"].tolist()), None))
