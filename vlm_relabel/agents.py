"""`train` and `evaluate`, as the commands do them. Where `offline_rl` meets an encoder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from offline_rl import checkpoints, evaluation, fqe, training
from offline_rl.actions import ActionBounds, ActionLayout
from offline_rl.algorithms import ALGORITHMS, parse_settings
from offline_rl.choices import kind_weights
from offline_rl.dataset import GoalDataset, GoalEncoding, default_encoding
from offline_rl.evaluation import EvaluationReport
from offline_rl.hindsight import goal_mix
from offline_rl.observations import default_observations
from offline_rl.rollouts import check_gif
from offline_rl.run_config import TrainConfig, load_config
from offline_rl.training_checks import check_device
from schemas import fields
from schemas.enums import Kind, Split
from schemas.errors import AlgorithmError, RunError, StoreError
from schemas.goal_datasets import GoalDatasetManifest
from schemas.locations import local_path
from schemas.pairs import parse_pairs
from schemas.store import Store
from vlm_relabel.agent_arguments import EvaluateArguments, Pairs, TrainArguments
from vlm_relabel.agent_rollouts import with_rollouts
from vlm_relabel.keywords import Location, several, takes


class TrainReport(BaseModel):
    """One training run."""

    run: str
    checkpoint: str
    algo: str
    steps: int
    resumed_from: int  # step of the checkpoint that it went on from; 0: a new run
    losses: dict[str, float]
    sees: dict[str, int]  # parts of what the agent sees, with their values
    left_out: dict[str, str]  # observation vectors that it does not see by default, and why
    does: ActionLayout
    notes: tuple[str, ...]  # what is unusual about its actions
    next_command: str


@takes(TrainArguments)
def train(arguments: TrainArguments) -> TrainReport:
    """Trains an offline agent on a goal dataset, from the run's last checkpoint if there is one.

    Takes the options of `vlm-relabel train`; `set`, `kind_weight` and `goal_mix` may be dicts.

    Returns:
        What was trained, and where its checkpoint is.

    Raises:
        RelabelError: anything the user can mend.

    Example:
        >>> import vlm_relabel
        >>> report = vlm_relabel.train(
        ...     store="my.store",
        ...     dataset="gc1",
        ...     algo="iql",
        ...     out="runs/iql",
        ...     steps=20,
        ...     set={"batch_size": 16},
        ... )
        >>> report.sees
        {'observation.state': 3, 'goal': 16}
    """
    run = os.fspath(arguments.out)
    out, cache = local_path("--out", run), _cache(arguments)
    store = Store.open(os.fspath(arguments.store), trust=arguments.trust)
    default = None if arguments.observation else default_observations(store)
    config = TrainConfig(
        store=store.location,
        dataset=arguments.dataset,
        algo=arguments.algo,
        settings=_settings(arguments.set),
        learn_from=arguments.learn_from,
        observations=several(arguments.observation) if default is None else default.names,
        goal_encoding=_encoding(arguments, store),
        weights=_weights(arguments.kind_weight),
        positive_share=arguments.positive_share,
        n_step=arguments.n_step,
        goal_mix=_goal_mix(arguments.goal_mix),
        actions=several(arguments.action) or (fields.ACTION,),
        discrete=arguments.discrete,
        action_bounds=ActionBounds(arguments.action_bounds),
        steps=arguments.steps,
        seed=arguments.seed,
        log_every=arguments.log_every,
        checkpoint_every=arguments.checkpoint_every,
        keep=arguments.keep,
        device=arguments.device,
        loggers=several(arguments.logger),
        trust=arguments.trust,
    )
    left_out = {} if default is None else default.left_out
    plans: list[training.Plan] = []

    def begins(plan: training.Plan) -> None:
        plans.append(plan)
        arguments.begins(plan, left_out)

    checkpoint = training.train(config, out, cache=cache, show=arguments.show, begins=begins)
    lines = training.metrics(out)
    (plan,) = plans
    return TrainReport(
        run=run,
        checkpoint=str(checkpoint),
        algo=config.algo,
        steps=config.steps,
        resumed_from=plan.resumed_from,
        losses={k: v for k, v in lines[-1].items() if k != "step"} if lines else {},
        sees=dict(plan.sees),
        left_out=left_out,
        does=plan.does,
        notes=plan.notes,
        next_command=_next_command(run, config),
    )


def _cache(arguments: TrainArguments) -> Path | None:
    cache = arguments.cache
    return None if cache is None else local_path("--cache", os.fspath(cache))


def _encoding(arguments: TrainArguments, store: Store) -> GoalEncoding:
    """As asked for, else as fits the goals of the dataset."""
    if arguments.goal_encoding is not None:
        return GoalEncoding(arguments.goal_encoding)
    table = f"goal_datasets/{arguments.dataset}"
    manifest = store.table_manifest(table) if store.is_complete(table) else None
    if isinstance(manifest, GoalDatasetManifest):
        return default_encoding(manifest)
    return GoalEncoding.TEXT  # why it cannot be opened is said by whoever needs it


def _next_command(run: str, config: TrainConfig) -> str:
    """What to type after training; the training split where no trajectory was kept back."""
    kept_back = training.open_dataset(config).rows(Split.VALIDATION).num_rows
    words = ["vlm-relabel", "evaluate", run, *(() if kept_back else ("--split", "train"))]
    return shlex.join(words)


def _settings(given: Pairs) -> dict[str, Any]:
    return dict(given) if isinstance(given, Mapping) else parse_settings(list(given or ()))


def _goal_mix(given: Pairs) -> dict[str, float]:
    """Whole, so that shares which mean the same are the same run."""
    shares = (
        given
        if isinstance(given, Mapping)
        else parse_pairs("--goal-mix", given or (), AlgorithmError)
    )
    mix = goal_mix(shares)
    return {} if mix is None else asdict(mix)


def _weights(given: Pairs) -> dict[str, float]:
    if isinstance(given, Mapping):
        return kind_weights(given)
    return kind_weights(parse_pairs("--kind-weight", given or (), AlgorithmError))


@takes(EvaluateArguments)
def evaluate(arguments: EvaluateArguments) -> EvaluationReport:
    """Evaluates an agent on episodes that were kept back, and by rollouts if `env` is given.

    Takes the options of `vlm-relabel evaluate`; `env` may be the factory itself.

    Returns:
        Figures by goal and, of rollouts, by family; also kept in the run folder.

    Raises:
        RelabelError: anything the user can mend.
    """
    run = local_path("RUN", os.fspath(arguments.run))
    if arguments.gif is not None:
        check_gif(local_path("--gif", os.fspath(arguments.gif)), "--gif ")
    config = load_config(run).model_copy(update={"trust": arguments.trust})
    check_device(arguments.device)
    _check_rollouts(config.algo, arguments)
    dataset = training.open_dataset(config)
    _check_same_dataset(run, config, dataset)
    for told in checkpoints.damaged(run) if arguments.step is None else ():
        arguments.say(f"not evaluated: {told}")
    agent = checkpoints.load_agent(run, arguments.step, arguments.device)
    split = Split(arguments.split)
    _check_split(dataset, config, split)
    found = EvaluationReport(
        run=str(run),
        step=checkpoints.last_step(run) if arguments.step is None else arguments.step,
        split=split,
        options=arguments.kept,
        versions={name: version(name) for name in ("vlm-relabel", "d3rlpy", "torch")},
    )
    found = _off_policy(arguments, config, dataset, agent, found)
    if arguments.env is not None:
        found = with_rollouts(arguments, arguments.env, config, dataset, agent, found)
    return evaluation.save_report(found, run)


def export_agent(run: Location, file: Location, *, step: int | None = None) -> None:
    """Writes an agent as d3rlpy does, for `d3rlpy.load_learnable`. That file is a pickle.

    Args:
        run: folder of `train`.
        file: to write; it must not be there.
        step: gradient steps of the checkpoint; None: the last one.

    Raises:
        RunError: no such run or checkpoint, or the file is there already.
    """
    folder, path = local_path("RUN", os.fspath(run)), local_path("FILE", os.fspath(file))
    load_config(folder)
    if path.exists():
        raise RunError(f"{file}: is there already; name another file")
    checkpoints.export(folder, path, step)


def _check_rollouts(algo: str, arguments: EvaluateArguments) -> None:
    given = arguments.of_rollouts
    if arguments.env is None and given:
        raise RunError(f"{', '.join(given)}: of rollouts alone; give their environment with --env")
    if arguments.temperature and not ALGORITHMS[algo].drawable:
        raise RunError(
            f"--temperature {arguments.temperature:g}: the actions of {algo} cannot be drawn; "
            "leave it out, and the best ones are taken"
        )


def _check_split(dataset: GoalDataset, config: TrainConfig, split: Split) -> None:
    kinds = [kind for kind in Kind if config.view.weights.get(kind, 1.0) > 0]
    counts = {other: dataset.rows(other, kinds).num_rows for other in Split}
    if not counts[split]:
        others = " or ".join(f"--split {other}" for other, count in counts.items() if count)
        raise StoreError(
            f"{dataset.store.location}/{dataset.manifest.table}: no trajectory that the agent "
            f"could be asked for is in the {split} split; give {others}, or build a dataset that "
            "keeps more episodes back (`vlm-relabel build-goals --validation`)"
        )


def _check_same_dataset(run: Path, config: TrainConfig, dataset: GoalDataset) -> None:
    if dataset.fingerprint != config.dataset_fingerprint:
        raise RunError(
            f"{run}: trained on another {config.dataset_name} than {config.store} holds now "
            f"({config.dataset_fingerprint[:8]}, now {dataset.fingerprint[:8]}); build "
            "that dataset again, or train again with another --out"
        )


_SLACK: Final = 0.05  # of the range of rewards, by which a critic may miss their bounds


def _off_policy(
    arguments: EvaluateArguments,
    config: TrainConfig,
    dataset: GoalDataset,
    agent: Any,
    found: EvaluationReport,
) -> EvaluationReport:
    algorithm = ALGORITHMS[config.algo]
    if algorithm.trajectories:
        return found  # d3rlpy's evaluators and FQE need a policy of single observations
    # As the split is: what training over-samples, a split may not even have.
    view = replace(config.view, positive_share=None)
    replay = dataset.replay(Split(found.split), view, seed=config.seed)
    fits: list[Any] = []
    if arguments.fqe_steps:
        fits = fqe.fit_several(
            agent,
            replay,
            arguments.fqe_steps,
            arguments.device,
            lambda step, steps: arguments.show(step, steps, {}),
            fits=arguments.fqe_fits,
            seed=arguments.seed,
        )
    by_goal = evaluation.goal_values(
        agent, fits, replay, dataset.goal_ids, algorithm.values, arguments.seed
    )
    rewards = dataset.reward_range
    ends = dataset.binary and dataset.manifest.options.end_on_success
    bounds = fqe.value_bounds(rewards, agent.config.gamma, ends_on_success=ends)
    slack = _SLACK * (rewards[1] - rewards[0])
    notes = evaluation.doubts(by_goal, bounds, found.split, slack)
    if found.split == Split.TRAIN:
        notes.append("train split: the agent was trained on these very trajectories")
    return found.model_copy(update={"values": tuple(by_goal), "notes": (*found.notes, *notes)})
