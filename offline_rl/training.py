"""Training: a run folder that holds everything needed to repeat, resume and evaluate it.

RUN/config.json                 what was asked for, and of which dataset
RUN/algorithm.json              every hyper-parameter of the algorithm, defaults included
RUN/metrics.jsonl               mean losses, one line per log interval
RUN/checkpoints/step-00001000/  agent.d3, modules.pt, state.json, rng.pt
RUN/logs/                       d3rlpy's own loggers, if asked for
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import d3rlpy
import numpy as np
import torch
from d3rlpy.logging import D3RLPyLogger
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offline_rl.algorithms import ALGORITHMS, Algorithm, configure, find
from offline_rl.dataset import GoalDataset, GoalEncoding, View
from offline_rl.replay import GoalConditionedReplayBuffer
from schemas.enums import Kind, Split
from schemas.errors import AlgorithmError, RunError, StoreError
from schemas.goal_datasets import ColumnStatistics
from schemas.store import Store

CONFIG: Final = "config.json"
ALGORITHM: Final = "algorithm.json"
METRICS: Final = "metrics.jsonl"
TRUE_SUFFIX: Final = ".true"  # of the dataset built from the environment's truth
LOGGERS: Final = ("tensorboard", "wandb", "file")


class TrainConfig(BaseModel):
    """One training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    dataset: str
    dataset_fingerprint: str = ""  # filled in when the run starts
    algo: str
    settings: dict[str, Any] = Field(default_factory=dict)
    rewards: Literal["vlm", "true", "none"] = "vlm"
    observations: tuple[str, ...]
    goals: GoalEncoding = GoalEncoding.TEXT
    weights: dict[str, float] = Field(default_factory=dict)  # by kind
    positive_share: float | None = Field(default=None, ge=0, le=1)
    action: str = "action"
    steps: int = Field(ge=1)
    seed: int = 0
    log_every: int = Field(default=100, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    device: str = "cpu"
    loggers: tuple[str, ...] = ()

    @property
    def view(self) -> View:
        """What the agent sees."""
        weights = self.weights
        if self.rewards == "none":
            # Without rewards only the command is known: clone what was done on command.
            weights = {kind.value: float(kind is Kind.COMMANDED) for kind in Kind}
        return View(self.observations, self.goals, weights, self.positive_share, self.action)

    @property
    def dataset_name(self) -> str:
        """The dataset trained on: that of the truth for `rewards="true"`."""
        return self.dataset + (TRUE_SUFFIX if self.rewards == "true" else "")


Show = Callable[[int, int, dict[str, float]], None]  # step, steps, mean losses
Resumed = Callable[[int], None]  # updates done before


def train(
    config: TrainConfig,
    out: Path,
    *,
    cache: Path | None = None,
    show: Show,
    resumed: Resumed = lambda step: None,
) -> Path:
    """Trains an agent, from the last checkpoint of `out` if there is one.

    A resumed run gives the same agent as one that was never interrupted: modules, optimisers,
    step counters and every random generator are restored.

    Args:
        config: of the run.
        out: run folder.
        cache: folder of memory-mapped frames; None keeps them in memory.
        show: called at every log interval.
        resumed: called once, before the first update, if there is a checkpoint to go on from.

    Returns:
        Folder of the last checkpoint.

    Raises:
        RunError: `out` holds another run.
        AlgorithmError: the algorithm does not fit the dataset.
        StoreError: the dataset cannot be trained on.
    """
    _check_loggers(config)
    check_device(config.device)
    dataset = open_dataset(config)
    config = config.model_copy(update={"dataset_fingerprint": dataset.manifest.fingerprint})
    algorithm = find(config.algo, dataset.action_space(config.action))
    _check_rewards(config, algorithm)
    _check_commanded(config, dataset)
    replay = dataset.replay(
        Split.TRAIN,
        config.view,
        seed=config.seed,
        cache=cache,
        next_actions=algorithm.next_actions,
    )
    d3rlpy.seed(config.seed)
    agent = build_agent(config, algorithm, dataset, replay)
    _check_lengths(config, agent, replay)
    _check_run(config, out)
    logger = _logger(config, agent, out)
    try:
        _record(config, agent, out)  # not before: a refused option leaves no run behind
        step, losses = _restore(out, agent, replay)
        if step:
            resumed(step)
        return _loop(config, algorithm, agent, replay, out, step, losses, logger, show)
    finally:
        if logger is not None:
            logger.close()


def _check_loggers(config: TrainConfig) -> None:
    unknown = [name for name in config.loggers if name not in LOGGERS]
    if unknown:
        raise RunError(f"--logger {', '.join(unknown)}: expected some of {', '.join(LOGGERS)}")


def check_device(device: str) -> None:
    """Refuses a device that is not there.

    Raises:
        RunError: says why.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        problem = str(error).partition("\n")[0]
        raise RunError(f"--device {device}: cannot be used: {problem}") from error


def _check_rewards(config: TrainConfig, algorithm: Algorithm) -> None:
    if config.rewards == "none" and not algorithm.clones:
        cloning = [
            name
            for name, other in ALGORITHMS.items()
            if other.clones and other.action_space is algorithm.action_space
        ]
        raise AlgorithmError(
            f"--rewards none: {config.algo} learns from rewards; fitting is {', '.join(cloning)}"
        )


def _check_commanded(config: TrainConfig, dataset: GoalDataset) -> None:
    """Without rewards only commanded rows are learned from."""
    if config.rewards != "none" or dataset.commanded_success():
        return
    store, manifest = dataset.store, dataset.manifest
    build = f"vlm-relabel build-goals {config.store} --rewards"
    if Kind.COMMANDED not in manifest.options.kinds:
        cause = "it was built without that kind"
        cure = f"build another one: `{build} {manifest.rewards} --name NAME`"
    elif store.manifest.language_fields:
        cause = "most likely no instruction equals a text of one of its goals"
        cure = (
            "make goals of the instructions: `vlm-relabel score --store "
            f"{config.store} --encoder ENCODER --goals field:{store.manifest.language_fields[0]} "
            f"--name mined`, then `{build} mined --name NAME`"
        )
    else:
        cause = "the source has no instructions"
        cure = (
            "clone what reached its goals: "
            f"--rewards vlm --algo {config.algo} --kind-weight failed=0"
        )
    raise StoreError(
        f"--rewards none: clones commanded trajectories, and {store.location}/{manifest.table} has "
        f"none: {cause}; {cure}"
    )


def _check_lengths(config: TrainConfig, agent: Any, replay: GoalConditionedReplayBuffer) -> None:
    """A transformer has an embedding for so many timesteps and no more."""
    most = getattr(agent.config, "max_timestep", None)
    longest = int(replay.trajectories.count.max())
    if most is not None and longest > most:
        raise AlgorithmError(
            f"--algo {config.algo}: the longest trajectory has {longest} transitions, more than "
            f"max_timestep {most}; give --set max_timestep={longest}"
        )


def open_dataset(config: TrainConfig) -> GoalDataset:
    """The dataset of a run.

    Raises:
        StoreError: it does not exist; says how to build it.
    """
    store = Store.open(config.store)
    try:
        return GoalDataset(store, config.dataset_name)
    except StoreError as error:
        table = f"goal_datasets/{config.dataset_name}"
        if store.is_complete(table) or table in store.unfinished():
            raise  # it says what to do
        how = f"vlm-relabel build-goals {config.store} --rewards NAME --name {config.dataset}"
        if config.rewards == "true":
            raise StoreError(
                f"{error}\n--rewards true needs the truth: `{how} --truth COLUMN`"
            ) from error
        raise StoreError(f"{error}\nbuild it: `{how}`") from error


def build_agent(
    config: TrainConfig,
    algorithm: Algorithm,
    dataset: GoalDataset,
    replay: GoalConditionedReplayBuffer,
) -> Any:
    """A d3rlpy algorithm with its networks, not yet trained."""
    scalers = _scalers(config, algorithm, dataset)
    built = configure(algorithm, config.settings, scalers).create(device=config.device)
    info = replay.dataset_info
    built.create_impl(info.observation_signature.shape[0], info.action_size)
    return built


def _scalers(config: TrainConfig, algorithm: Algorithm, dataset: GoalDataset) -> dict[str, Any]:
    """Standardised observations and actions in [-1, 1], by the dataset's own statistics.

    Goals are scaled by one factor, to a mean square of 1 over their components: a text embedding
    of length 1 is lost beside hundreds of standardised values. Other columns without statistics
    (embeddings) are left as they are.
    """
    mean: list[float] = []
    std: list[float] = []
    parts = dataset.widths(config.observations, config.goals)
    for name, width in parts[: len(config.observations)]:
        known = dataset.manifest.statistics.get(name)
        mean += list(known.mean) if known else [0.0] * width
        std += [s if s > _LEAST_STD else 1.0 for s in known.std] if known else [1.0] * width
    goals = dataset.goal_table(config.goals)
    if goals is not None:
        mean += [0.0] * goals.shape[1]
        std += [max(float(np.sqrt((goals**2).mean())), _LEAST_STD)] * goals.shape[1]
    scalers: dict[str, Any] = {
        "observation_scaler": d3rlpy.preprocessing.StandardObservationScaler(
            mean=np.array(mean, np.float32), std=np.array(std, np.float32)
        )
    }
    statistics = dataset.manifest.statistics.get(config.action)
    if algorithm.action_space is d3rlpy.ActionSpace.CONTINUOUS and statistics is not None:
        scalers["action_scaler"] = _action_scaler(statistics)
    return scalers


_LEAST_STD: Final = 1e-6


def _action_scaler(statistics: ColumnStatistics) -> Any:
    low, high = np.array(statistics.min), np.array(statistics.max)
    constant = high - low < _LEAST_STD  # would divide by zero
    return d3rlpy.preprocessing.MinMaxActionScaler(
        minimum=np.where(constant, low - 1, low).astype(np.float32),
        maximum=np.where(constant, high + 1, high).astype(np.float32),
    )


def _check_run(config: TrainConfig, out: Path) -> None:
    if (out / CONFIG).exists():
        stored = load_config(out)
        # More steps, or other places to log to, are the same run.
        free = {"steps", "loggers", "device", "store", "log_every", "checkpoint_every"}
        old, new = (c.model_dump(mode="json", exclude=free) for c in (stored, config))
        differing = [f"{k}: stored {old[k]}, asked for {new[k]}" for k in old if old[k] != new[k]]
        if differing:
            raise RunError(
                f"{out}: holds another run:\n  " + "\n  ".join(differing) + "\nchoose another --out"
            )
    if (done := last_step(out)) > config.steps:
        raise RunError(
            f"{out}: has {done} steps already, more than --steps {config.steps}; choose another "
            "--out, or evaluate an earlier checkpoint with `vlm-relabel evaluate --step`"
        )


def _record(config: TrainConfig, agent: Any, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / ALGORITHM).write_text(agent.config.serialize())
    (out / CONFIG).write_text(config.model_dump_json(indent=1))


def load_config(out: Path) -> TrainConfig:
    """What a run was asked for.

    Raises:
        RunError: `out` is no run.
    """
    path = out / CONFIG
    if not path.exists():
        raise RunError(f"{out}: not a run (no {CONFIG}); `vlm-relabel train` makes one")
    try:
        return TrainConfig.model_validate_json(path.read_text())
    except ValidationError as error:
        raise RunError(f"{path}: not the configuration of a run: {error}") from error


def _loop(
    config: TrainConfig,
    algorithm: Algorithm,
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    out: Path,
    step: int,
    losses: defaultdict[str, list[float]],
    logger: D3RLPyLogger | None,
    show: Show,
) -> Path:
    _drop_metrics_after(out / METRICS, step)
    while step < config.steps:
        for name, value in agent.update(_batch(algorithm, agent, replay)).items():
            losses[name].append(float(value))
        step += 1
        if step % config.log_every == 0 or step == config.steps:
            means = {name: float(np.mean(values)) for name, values in losses.items()}
            _log(out / METRICS, step, means, logger)
            show(step, config.steps, means)
            losses.clear()
        if step % config.checkpoint_every == 0 or step == config.steps:
            _save(out, agent, replay, step, losses)
    return checkpoint_folder(out, step)


def _batch(algorithm: Algorithm, agent: Any, replay: GoalConditionedReplayBuffer) -> Any:
    size = agent.config.batch_size
    if algorithm.trajectories:
        return replay.sample_trajectory_batch(size, agent.config.context_size)
    return replay.sample_transition_batch(size)


def _log(path: Path, step: int, means: dict[str, float], logger: D3RLPyLogger | None) -> None:
    with path.open("a") as stream:
        stream.write(json.dumps({"step": step, **means}) + "\n")
    if logger is not None:
        for name, value in means.items():
            logger.add_metric(name, value)
        logger.commit(step, step)


def _drop_metrics_after(path: Path, step: int) -> None:
    """Lines that an interrupted run wrote after its last checkpoint will be written again."""
    if path.exists():
        lines = path.read_text().splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        path.write_text("".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except json.JSONDecodeError:
        return math.inf  # cut off in the middle


def _logger(config: TrainConfig, agent: Any, out: Path) -> D3RLPyLogger | None:
    if not config.loggers:
        return None
    factories = {
        "file": lambda: d3rlpy.logging.FileAdapterFactory(root_dir=str(out / "logs")),
        "tensorboard": lambda: d3rlpy.logging.TensorboardAdapterFactory(
            root_dir=str(out / "logs" / "tensorboard")
        ),
        "wandb": lambda: d3rlpy.logging.WanDBAdapterFactory(project="vlm-relabel"),
    }
    try:
        chosen = [factories[name]() for name in config.loggers]
        logger = D3RLPyLogger(
            algo=agent,
            adapter_factory=d3rlpy.logging.CombineAdapterFactory(chosen),
            experiment_name=out.name,
            n_steps_per_epoch=config.log_every,
            with_timestamp=False,
        )
    except ImportError as error:
        raise RunError(f"--logger {', '.join(config.loggers)}: not installed: {error}") from error
    # TensorBoard's adapter fails without.
    logger.add_params(agent.config.serialize_to_dict())
    return logger


# --- checkpoints


def checkpoint_folder(out: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` updates."""
    return out / "checkpoints" / f"step-{step:08d}"


def checkpoints(out: Path) -> list[Path]:
    """Folders of the whole checkpoints of a run, oldest first."""
    return sorted((out / "checkpoints").glob("step-????????"))


def _save(
    out: Path,
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    step: int,
    losses: Mapping[str, Sequence[float]],
) -> None:
    final = checkpoint_folder(out, step)
    staged = final.with_name(f".tmp-{final.name}")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    agent.save(str(staged / "agent.d3"))
    agent.save_model(str(staged / "modules.pt"))
    state = {
        "step": step,
        "grad_step": agent.grad_step,
        "replay": replay.rng.bit_generator.state,
        "losses": losses,  # since the last line of metrics
    }
    (staged / "state.json").write_text(json.dumps(state))
    torch.save(_random_state(), staged / "rng.pt")
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)


def _random_state() -> dict[str, Any]:
    legacy = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy_key": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
        "numpy_pos": int(legacy["state"]["pos"]),
        "python": list(random.getstate()[1]),
    }


def _restore(
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
    saved = torch.load(found[-1] / "rng.pt", weights_only=True)
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():  # a run may go on without a GPU
        torch.cuda.set_rng_state_all(saved["cuda"])
    key = saved["numpy_key"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, saved["numpy_pos"], 0, 0.0))
    random.setstate((3, tuple(saved["python"]), None))
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
    found = {int(path.name.removeprefix("step-")): path for path in checkpoints(out)}
    chosen = last_step(out) if step is None else step
    if chosen not in found:
        if not found:
            raise RunError(f"{out}: no checkpoint yet; the command that made the run resumes it")
        known = ", ".join(map(str, sorted(found)))
        raise RunError(f"{out}: no checkpoint of step {step}; there are those of {known}")
    return d3rlpy.load_learnable(str(found[chosen] / "agent.d3"), device=device)


def last_step(out: Path) -> int:
    """Updates done at the last checkpoint; 0 if there is none."""
    found = checkpoints(out)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def metrics(out: Path) -> Sequence[dict[str, float]]:
    """The lines of `metrics.jsonl`."""
    path = out / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
