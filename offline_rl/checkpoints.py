"""Checkpoints of a run: everything that going on as if nothing had happened needs.

RUN/checkpoints/step-00001000/  agent.d3, modules.pt, state.json, rng.pt
"""

from __future__ import annotations

import json
import random
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import d3rlpy
import numpy as np
import torch

from offline_rl.replay import GoalConditionedReplayBuffer
from schemas.errors import RunError


def checkpoint_folder(out: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` updates."""
    return out / "checkpoints" / f"step-{step:08d}"


def checkpoints(out: Path) -> list[Path]:
    """Folders of the whole checkpoints of a run, oldest first."""
    found = (out / "checkpoints").glob("step-*")
    return sorted((path for path in found if _number(path).isdigit()), key=_step)


def _number(path: Path) -> str:
    return path.name.removeprefix("step-")


def _step(path: Path) -> int:
    return int(_number(path))


def last_step(out: Path) -> int:
    """Updates done at the last checkpoint; 0 if there is none."""
    found = checkpoints(out)
    return _step(found[-1]) if found else 0


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
    agent.save(str(staged / "agent.d3"))
    agent.save_model(str(staged / "modules.pt"))
    state = {
        "step": step,
        "grad_step": agent.grad_step,
        "replay": replay.rng.bit_generator.state,
        "losses": losses,
    }
    (staged / "state.json").write_text(json.dumps(state))
    torch.save(random_state(), staged / "rng.pt")
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)
    for old in checkpoints(out)[:-keep]:
        # Under another name first: half a folder must not look like a checkpoint.
        shutil.rmtree(old.rename(_staged(old)))


def _staged(final: Path) -> Path:
    """A name that is free and is no checkpoint's."""
    staged = final.with_name(f".tmp-{final.name}")
    shutil.rmtree(staged, ignore_errors=True)
    return staged


def restore(
    out: Path, agent: Any, replay: GoalConditionedReplayBuffer
) -> tuple[int, defaultdict[str, list[float]]]:
    """Loads the last checkpoint: the updates done so far, and losses not yet in the metrics."""
    found = checkpoints(out)
    if not found:
        return 0, defaultdict(list)
    state = json.loads((found[-1] / "state.json").read_text())
    agent.load_model(str(found[-1] / "modules.pt"))
    agent.set_grad_step(state["grad_step"])
    replay.rng.bit_generator.state = state["replay"]
    set_random_state(torch.load(found[-1] / "rng.pt", weights_only=True))
    return int(state["step"]), defaultdict(list, state["losses"])


def load_agent(out: Path, step: int | None = None, device: str = "cpu") -> Any:
    """The agent of a run's checkpoint.

    Args:
        out: run folder.
        step: of the checkpoint; None is the last.
        device: to load it on.

    Raises:
        RunError: there is no such checkpoint.
    """
    found = {_step(path): path for path in checkpoints(out)}
    chosen = last_step(out) if step is None else step
    if chosen not in found:
        if not found:
            raise RunError(f"{out}: no checkpoint yet; the command that made the run resumes it")
        known = ", ".join(map(str, sorted(found)))
        raise RunError(f"{out}: no checkpoint of step {step}; there are those of {known}")
    return d3rlpy.load_learnable(str(found[chosen] / "agent.d3"), device=device)


# --- random generators


def random_state() -> dict[str, Any]:
    """The state of every global random generator, of types that torch loads without pickle."""
    legacy = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy_key": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
        "numpy_pos": int(legacy["state"]["pos"]),
        "python": list(random.getstate()[1]),
    }


def set_random_state(saved: Mapping[str, Any]) -> None:
    """Puts back what `random_state` gave."""
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():  # a run may go on without a GPU
        torch.cuda.set_rng_state_all(saved["cuda"])
    key = saved["numpy_key"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, saved["numpy_pos"], 0, 0.0))
    random.setstate((3, tuple(saved["python"]), None))
