"""Training: a run folder that holds everything needed to repeat, resume and evaluate it.

RUN/config.json                 see `run_config`
RUN/algorithm.json              every hyper-parameter of the algorithm, defaults included
RUN/metrics.jsonl               mean losses, one line per log interval
RUN/checkpoints/                see `checkpoints`
RUN/logs/                       d3rlpy's own loggers, if asked for
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import d3rlpy
import numpy as np
from d3rlpy.logging import D3RLPyLogger

from offline_rl import checkpoints
from offline_rl.actions import ActionLayout
from offline_rl.algorithms import Algorithm, configure, find
from offline_rl.dataset import GoalDataset
from offline_rl.frames import Floats, whole_names
from offline_rl.hindsight import goal_mix
from offline_rl.progress import ScoreProgress
from offline_rl.replay import GoalConditionedReplayBuffer
from offline_rl.run_config import CONFIG, TrainConfig, load_config
from offline_rl.run_files import write_whole, writing
from offline_rl.run_places import check_places
from offline_rl.training_checks import (
    check_ahead,
    check_commanded,
    check_device,
    check_lengths,
    check_rewards,
)
from schemas.enums import Split
from schemas.errors import RunError, StoreError
from schemas.goal_datasets import GoalDatasetManifest
from schemas.json_text import parse_json
from schemas.store import Store

ALGORITHM: Final = "algorithm.json"
METRICS: Final = "metrics.jsonl"
LOGGERS: Final = ("tensorboard", "wandb", "file")


@dataclass(frozen=True)
class Plan:
    """What a run is going to do, told before its first update."""

    sees: tuple[tuple[str, int], ...]  # parts of what the agent sees, with their values, goal last
    does: ActionLayout
    notes: tuple[str, ...]  # what is unusual
    resumed_from: int  # updates done before; 0: a new run


Show = Callable[[int, int, dict[str, float]], None]  # step, steps, mean losses
Begins = Callable[[Plan], None]


def train(
    config: TrainConfig,
    out: Path,
    *,
    cache: Path | None = None,
    show: Show,
    begins: Begins = lambda plan: None,
) -> Path:
    """Trains an agent, from the last checkpoint of `out` if there is one.

    A resumed run gives the same agent as one that was never interrupted: modules, optimisers,
    step counters and every random generator are restored.

    Args:
        config: of the run.
        out: run folder.
        cache: folder of memory-mapped frames; None keeps them in memory.
        show: called at every log interval.
        begins: called once, before the first update.

    Returns:
        Folder of the last checkpoint.

    Raises:
        RunError: `out` holds another run or something else, lies in a store, or cannot be written.
        AlgorithmError: the algorithm does not fit the dataset.
        StoreError: the dataset cannot be trained on.
    """
    check_places(out, cache)
    _check_loggers(config)
    check_device(config.device)
    dataset = open_dataset(config)
    config = _resolved(config, dataset, out)
    algorithm = find(config.algo, dataset.action_layout(config.view).space)
    check_rewards(config, algorithm)
    check_ahead(config, algorithm)
    check_commanded(config, dataset)
    parameters = configure(algorithm, config.settings, {})
    replay = dataset.replay(
        Split.TRAIN,
        config.view,
        seed=config.seed,
        cache=cache,
        next_actions=algorithm.next_actions,
        n_step=_steps_ahead(config, algorithm),
        gamma=parameters.gamma,
        goal_mix=goal_mix(config.goal_mix),
        progress=ScoreProgress(parameters.horizon, parameters.kappa)
        if algorithm.progress
        else None,
    )
    actions = dataset.actions(config.view)
    config = config.model_copy(update={"layout": actions.layout})
    d3rlpy.seed(config.seed)
    agent = build_agent(config, algorithm, dataset, replay)
    check_lengths(config, agent, replay)
    _check_run(config, dataset, agent, out)
    with writing(out):
        return _follow(config, algorithm, dataset, agent, replay, out, show, begins)


def _follow(
    config: TrainConfig,
    algorithm: Algorithm,
    dataset: GoalDataset,
    agent: Any,
    replay: GoalConditionedReplayBuffer,
    out: Path,
    show: Show,
    begins: Begins,
) -> Path:
    """From the last checkpoint to the end, all that writes to the run."""
    logger = _logger(config, agent, out)
    try:
        _record(config, agent, out)  # not before: a refused option leaves no run behind
        damaged = checkpoints.damaged(out)
        step, losses = checkpoints.restore(out, agent, replay)
        sees = dataset.widths(config.observations, config.goal_encoding)
        actions = dataset.actions(config.view)
        notes = (*actions.notes(), *damaged)
        begins(Plan(tuple(sees), actions.layout, notes, step))
        return _loop(config, algorithm, agent, replay, out, step, losses, logger, show)
    finally:
        if logger is not None:
            logger.close()


def _resolved(config: TrainConfig, dataset: GoalDataset, out: Path) -> TrainConfig:
    """The configuration in names that mean the same whatever is added to the store later."""
    known = load_config(out).observations if (out / CONFIG).exists() else ()
    stored = whole_names(dataset.store, known)
    return config.model_copy(
        update={
            "store": absolute(config.store),
            "dataset_fingerprint": dataset.fingerprint,
            "observations": whole_names(dataset.store, config.observations, stored),
        }
    )


def absolute(location: str) -> str:
    """A local path from the root; an address such as `s3://…` as it is."""
    return location if "://" in location else str(Path(location).absolute())


def _check_loggers(config: TrainConfig) -> None:
    unknown = [name for name in config.loggers if name not in LOGGERS]
    if unknown:
        raise RunError(f"--logger {', '.join(unknown)}: expected some of {', '.join(LOGGERS)}")


def _steps_ahead(config: TrainConfig, algorithm: Algorithm) -> int:
    """As asked for, else 1, or more than any trajectory has."""
    if config.n_step is not None:
        return config.n_step
    return _TO_THE_END if algorithm.to_the_end else 1


_TO_THE_END: Final = 2**31


def open_dataset(config: TrainConfig) -> GoalDataset:
    """The dataset of a run.

    Raises:
        StoreError: it does not exist; says how to build it.
    """
    store = Store.open(config.store, trust=config.trust)
    try:
        return GoalDataset(store, config.dataset_name)
    except StoreError as error:
        table = f"goal_datasets/{config.dataset_name}"
        if store.is_complete(table) or table in store.unfinished():
            raise  # it says what to do
        how = f"vlm-relabel build-goals {config.store} --rewards NAME --name {config.dataset}"
        if config.learn_from == "true":
            _refuse_truth_twice(store, config.dataset)
            raise StoreError(
                f"{error}\n--learn-from true needs the truth: `{how} --truth COLUMN`"
            ) from error
        raise StoreError(f"{error}\nbuild it: `{how}`") from error


def _refuse_truth_twice(store: Store, name: str) -> None:
    table = f"goal_datasets/{name}"
    manifest = store.table_manifest(table) if store.is_complete(table) else None
    if isinstance(manifest, GoalDatasetManifest) and manifest.rewards is None:
        raise StoreError(
            f"--learn-from true: {store.location}/{table} was made from the column "
            f"{manifest.source_column} alone, which is learned from in any case; leave "
            "--learn-from out"
        )


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
    parts = dataset.widths(config.observations, config.goal_encoding)
    for name, width in parts[: len(config.observations)]:
        known = dataset.manifest.statistics.get(name)
        mean += list(known.mean) if known else [0.0] * width
        std += [s if s > _LEAST_STD else 1.0 for s in known.std] if known else [1.0] * width
    goals = dataset.goal_table(config.goal_encoding)
    if goals is not None:
        mean += [0.0] * goals.shape[1]
        std += [max(float(np.sqrt((goals**2).mean())), _LEAST_STD)] * goals.shape[1]
    scalers: dict[str, Any] = {
        "observation_scaler": d3rlpy.preprocessing.StandardObservationScaler(
            mean=np.array(mean, np.float32), std=np.array(std, np.float32)
        )
    }
    if algorithm.action_space is d3rlpy.ActionSpace.CONTINUOUS:
        scalers["action_scaler"] = _action_scaler(*dataset.action_bounds(config.view))
    return scalers


_LEAST_STD: Final = 1e-6


def _action_scaler(low: Floats, high: Floats) -> Any:
    constant = high - low < _LEAST_STD  # would divide by zero
    return d3rlpy.preprocessing.MinMaxActionScaler(
        minimum=np.where(constant, low - 1, low).astype(np.float32),
        maximum=np.where(constant, high + 1, high).astype(np.float32),
    )


# More steps, or other places to compute on and to write to, are the same run.
_FREE: Final = {
    *("steps", "loggers", "device", "store", "log_every", "checkpoint_every", "keep", "layout")
}


def _check_run(config: TrainConfig, dataset: GoalDataset, agent: Any, out: Path) -> None:
    if (out / CONFIG).exists():
        stored = load_config(out)
        observations = whole_names(dataset.store, stored.observations)
        stored = stored.model_copy(update={"observations": observations})
        old, new = (c.model_dump(mode="json", exclude=_FREE) for c in (stored, config))
        differing = [f"{k}: stored {old[k]}, asked for {new[k]}" for k in old if old[k] != new[k]]
        differing = differing or _differing_algorithm(agent, out)
        if differing:
            raise RunError(
                f"{out}: holds another run:\n  " + "\n  ".join(differing) + "\nchoose another --out"
            )
    if (done := checkpoints.last_step(out)) > config.steps:
        raise RunError(
            f"{out}: has {done} steps already, more than --steps {config.steps}; choose another "
            "--out, or evaluate an earlier checkpoint with `vlm-relabel evaluate --step`"
        )


def _differing_algorithm(agent: Any, out: Path) -> list[str]:
    """What a version of this package that asks for the same does otherwise, such as scaling."""
    try:
        stored = parse_json((out / ALGORITHM).read_text())
    except (OSError, ValueError) as error:
        return [f"{ALGORITHM}: cannot be read: {error}"]
    today = json.loads(agent.config.serialize())
    return [
        f"{key}: that of the run differs from what this version makes of the same options; the "
        "run can be evaluated, and not be trained further"
        for key in stored
        if key in today and stored[key] != today[key]
    ]


def _record(config: TrainConfig, agent: Any, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / ALGORITHM, agent.config.serialize())
    write_whole(out / CONFIG, config.model_dump_json(indent=1))


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
        for name, value in agent.update(*_batches(algorithm, agent, replay)).items():
            losses[name].append(float(value))
        step += 1
        if step % config.log_every == 0 or step == config.steps:
            means = {name: float(np.mean(values)) for name, values in losses.items()}
            _log(out / METRICS, step, means, logger)
            show(step, config.steps, means)
            losses.clear()
        if step % config.checkpoint_every == 0 or step == config.steps:
            checkpoints.save(out, agent, replay, step, losses, config.keep)
    return checkpoints.checkpoint_folder(out, step)


def _batches(
    algorithm: Algorithm, agent: Any, replay: GoalConditionedReplayBuffer
) -> tuple[Any, ...]:
    """What one update takes."""
    size = agent.config.batch_size
    if algorithm.trajectories:
        return (replay.sample_trajectory_batch(size, agent.config.context_size),)
    if algorithm.own:
        return replay.sample_batches(size)
    return (replay.sample_transition_batch(size),)


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
        write_whole(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return int(parse_json(line)["step"])
    except (ValueError, TypeError, KeyError, OverflowError):
        return math.inf  # cut off in the middle, or of no run of ours


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


def metrics(out: Path) -> Sequence[dict[str, float]]:
    """The lines of `metrics.jsonl`."""
    path = out / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
