"""From parsed options to training and evaluation. Where `offline_rl` meets an encoder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from offline_rl import checkpoints, evaluation, fqe, training
from offline_rl.actions import ActionLayout
from offline_rl.algorithms import ALGORITHMS, parse_settings
from offline_rl.dataset import GoalDataset, GoalEncoding, default_encoding
from offline_rl.evaluation import EvaluationReport
from offline_rl.observations import default_observations
from offline_rl.run_config import TrainConfig, load_config
from schemas import fields
from schemas.enums import Kind, Split
from schemas.errors import AlgorithmError, RunError, StoreError
from schemas.goal_datasets import GoalDatasetManifest
from schemas.locations import local_path
from schemas.pairs import parse_pairs
from schemas.store import Store
from vlm_relabel.cli import agent_console, console
from vlm_relabel.cli.agent_rollouts import with_rollouts

Values = Mapping[str, Any]


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


def train(values: Values) -> TrainReport:
    """Runs `train`."""
    _check_renamed(values)
    out, cache = local_path("--out", values["out"]), _cache(values)
    store = Store.open(values["store"], trust=values["trust"])
    seen = values["observation"]
    default = None if seen else default_observations(store)
    config = TrainConfig(
        store=values["store"],
        dataset=values["dataset"],
        algo=values["algo"],
        settings=parse_settings(values["set_"] or []),
        learn_from=_one_of("--learn-from", values["learn_from"], ("vlm", "true", "none")),
        observations=tuple(seen) if default is None else default.names,
        goal_encoding=_encoding(values, store),
        weights=_weights(values["kind_weight"] or []),
        positive_share=values["positive_share"],
        actions=tuple(values["action"] or (fields.ACTION,)),
        discrete=values["discrete"],
        steps=values["steps"],
        seed=values["seed"],
        log_every=values["log_every"],
        checkpoint_every=values["checkpoint_every"],
        keep=values["keep"],
        device=values["device"],
        loggers=tuple(values["logger"] or ()),
        trust=values["trust"],
    )
    left_out = {} if default is None else default.left_out
    plans: list[training.Plan] = []

    def begins(plan: training.Plan) -> None:
        plans.append(plan)
        if not values["json"]:
            agent_console.show_plan(plan, left_out, values["out"])

    with console.counting("steps", values["json"]) as show:
        checkpoint = training.train(config, out, cache=cache, show=show, begins=begins)
    lines = training.metrics(out)
    (plan,) = plans
    return TrainReport(
        run=values["out"],
        checkpoint=str(checkpoint),
        algo=config.algo,
        steps=config.steps,
        resumed_from=plan.resumed_from,
        losses={k: v for k, v in lines[-1].items() if k != "step"} if lines else {},
        sees=dict(plan.sees),
        left_out=left_out,
        does=plan.does,
        notes=plan.notes,
        next_command=_next_command(values["out"], config),
    )


def _cache(values: Values) -> Path | None:
    return None if values["cache"] is None else local_path("--cache", values["cache"])


def _encoding(values: Values, store: Store) -> GoalEncoding:
    """As asked for, else as fits the goals of the dataset."""
    if values["goal_encoding"] is not None:
        chosen = _one_of("--goal-encoding", values["goal_encoding"], tuple(GoalEncoding))
        return GoalEncoding(chosen)
    table = f"goal_datasets/{values['dataset']}"
    manifest = store.table_manifest(table) if store.is_complete(table) else None
    if isinstance(manifest, GoalDatasetManifest):
        return default_encoding(manifest)
    return GoalEncoding.TEXT  # why it cannot be opened is said by whoever needs it


_RENAMED: Final = {"goals": "--goal-encoding", "rewards": "--learn-from"}


def _check_renamed(values: Values) -> None:
    """Refuses the spellings of earlier versions, which mean something else elsewhere."""
    for old, new in _RENAMED.items():
        if (given := values[f"old_{old}"]) is not None:
            meaning = "a goal set" if old == "goals" else "a reward set"
            raise RunError(f"--{old} names {meaning}; for `train` give {new} {given}")


def _next_command(run: str, config: TrainConfig) -> str:
    """What to type after training; the training split where no trajectory was kept back."""
    kept_back = training.open_dataset(config).rows(Split.VALIDATION).num_rows
    words = ["vlm-relabel", "evaluate", run, *(() if kept_back else ("--split", "train"))]
    return shlex.join(words)


def _one_of(option: str, value: str, known: Sequence[str]) -> Any:
    if value not in known:
        raise RunError(f"{option}: expected one of {', '.join(known)}, got {value!r}")
    return value


def _weights(pairs: Sequence[str]) -> dict[str, float]:
    weights = parse_pairs("--kind-weight", pairs, AlgorithmError)
    unknown = sorted(set(weights) - set(Kind))
    if unknown:
        raise AlgorithmError(
            f"--kind-weight: unknown {', '.join(unknown)}; known are {', '.join(Kind)}"
        )
    wrong = [f"{kind}={weight!r}" for kind, weight in weights.items() if not _is_weight(weight)]
    if wrong:
        raise AlgorithmError(f"--kind-weight {', '.join(wrong)}: expected a number of at least 0")
    return {kind: float(weight) for kind, weight in weights.items()}


def _is_weight(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < np.inf


def evaluate(values: Values) -> EvaluationReport:
    """Runs `evaluate`."""
    run = local_path("RUN", values["run"])
    if values["gif"] is not None:
        local_path("--gif", values["gif"])  # before anything is computed
    config = load_config(run).model_copy(update={"trust": values["trust"]})
    training.check_device(values["device"])
    dataset = training.open_dataset(config)
    _check_same_dataset(run, config, dataset)
    for told in checkpoints.damaged(run) if values["step"] is None else ():
        console.say(f"not evaluated: {told}")
    agent = checkpoints.load_agent(run, values["step"], values["device"])
    split = Split(_one_of("--split", values["split"], tuple(Split)))
    _check_split(dataset, config, split)
    found = EvaluationReport(
        run=str(run),
        step=checkpoints.last_step(run) if values["step"] is None else values["step"],
        split=split,
        options=_options(values),
        versions={name: version(name) for name in ("vlm-relabel", "d3rlpy", "torch")},
    )
    found = _off_policy(values, config, dataset, agent, found)
    if values["env"] is not None:
        found = with_rollouts(values, config, dataset, agent, found)
    return evaluation.save_report(found, run)


def export(run: str, file: str, step: int | None) -> None:
    """Runs `export-agent`."""
    folder, path = local_path("RUN", run), local_path("FILE", file)
    load_config(folder)
    if path.exists():
        raise RunError(f"{file}: is there already; name another file")
    checkpoints.export(folder, path, step)


_UNKEPT: Final = ("run", "step", "split", "trust", "json")  # said elsewhere in a report


def _options(values: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _UNKEPT}


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
            "that dataset again, or train anew with another --out"
        )


_SLACK: Final = 0.05  # of the range of rewards, by which a critic may miss their bounds


def _off_policy(
    values: Values, config: TrainConfig, dataset: GoalDataset, agent: Any, found: EvaluationReport
) -> EvaluationReport:
    algorithm = ALGORITHMS[config.algo]
    if algorithm.trajectories:
        return found  # d3rlpy's evaluators and FQE need a policy of single observations
    # As the split is: what training over-samples, a split may not even have.
    view = replace(config.view, positive_share=None)
    replay = dataset.replay(Split(found.split), view, seed=config.seed)
    fits: list[Any] = []
    if values["fqe_steps"]:
        with console.counting("FQE steps", values["json"]) as show:
            fits = fqe.fit_several(
                agent,
                replay,
                values["fqe_steps"],
                values["device"],
                lambda step, steps: show(step, steps, {}),
                fits=values["fqe_fits"],
                seed=values["seed"],
            )
    by_goal = evaluation.goal_values(
        agent, fits, replay, dataset.goal_ids, algorithm.values, values["seed"]
    )
    rewards = dataset.reward_range
    ends = dataset.binary and dataset.manifest.options.end_on_success
    bounds = fqe.value_bounds(rewards, agent.config.gamma, ends_on_success=ends)
    slack = _SLACK * (rewards[1] - rewards[0])
    notes = evaluation.doubts(by_goal, bounds, found.split, slack)
    if found.split == Split.TRAIN:
        notes.append("train split: the agent was trained on these very trajectories")
    return found.model_copy(update={"values": tuple(by_goal), "notes": (*found.notes, *notes)})
