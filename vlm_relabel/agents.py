"""From parsed options to training and evaluation. Where `offline_rl` meets an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from offline_rl import evaluation, rollouts, training
from offline_rl.algorithms import ALGORITHMS, parse_pairs, parse_settings
from offline_rl.dataset import GoalDataset, GoalEncoding
from offline_rl.evaluation import EvaluationReport, Interval
from offline_rl.training import TrainConfig
from schemas.enums import Kind, Split
from schemas.errors import AlgorithmError, RunError
from schemas.store import Store
from vlm_relabel import console

Values = Mapping[str, Any]


class TrainReport(BaseModel):
    """One training run."""

    run: str
    checkpoint: str
    algo: str
    steps: int
    resumed_from: int  # step of the checkpoint that it went on from; 0: a new run
    losses: dict[str, float]


def train(values: Values) -> TrainReport:
    """Runs `train`."""
    store = Store.open(values["store"])
    config = TrainConfig(
        store=values["store"],
        dataset=values["dataset"],
        algo=values["algo"],
        settings=parse_settings(values["set_"] or []),
        rewards=_one_of("--rewards", values["rewards"], ("vlm", "true", "none")),
        observations=tuple(values["observation"] or _default_observations(store)),
        goals=GoalEncoding(_one_of("--goals", values["goals"], tuple(GoalEncoding))),
        weights=_weights(values["kind_weight"] or []),
        positive_share=values["positive_share"],
        action=values["action"],
        steps=values["steps"],
        seed=values["seed"],
        log_every=values["log_every"],
        checkpoint_every=values["checkpoint_every"],
        device=values["device"],
        loggers=tuple(values["logger"] or ()),
    )
    out = Path(values["out"])
    cache = None if values["cache"] is None else Path(values["cache"])
    done = training.last_step(out)

    def resumed(step: int) -> None:
        if not values["json"]:
            console.say(f"{out}: goes on from its checkpoint after {step:,} steps")

    with console.counting("steps", values["json"]) as show:
        checkpoint = training.train(config, out, cache=cache, show=show, resumed=resumed)
    lines = training.metrics(out)
    losses = {k: v for k, v in lines[-1].items() if k != "step"} if lines else {}
    return TrainReport(
        run=values["out"],
        checkpoint=str(checkpoint),
        algo=config.algo,
        steps=config.steps,
        resumed_from=done,
        losses=losses,
    )


def _default_observations(store: Store) -> list[str]:
    names = [
        f.name
        for f in store.manifest.fields
        if f.name.startswith("observation.") and f.dtype.startswith("float") and None not in f.shape
    ]
    if not names:
        raise RunError(
            f"{store.location}: no observation vector in the steps table; name what the agent "
            "sees with --observation embedding:NAME"
        )
    return names


def _one_of(option: str, value: str, known: Sequence[str]) -> Any:
    if value not in known:
        raise RunError(f"{option}: expected one of {', '.join(known)}, got {value!r}")
    return value


def _weights(pairs: Sequence[str]) -> dict[str, float]:
    weights = parse_pairs("--kind-weight", list(pairs))
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
    run = Path(values["run"])
    config = training.load_config(run)
    training.check_device(values["device"])
    dataset = training.open_dataset(config)
    _check_same_dataset(run, config, dataset)
    agent = training.load_agent(run, values["step"], values["device"])
    split = Split(_one_of("--split", values["split"], tuple(Split)))
    found = evaluation.EvaluationReport(
        run=str(run),
        step=training.last_step(run) if values["step"] is None else values["step"],
        split=split,
        values=tuple(_off_policy(values, config, dataset, agent, split)),
    )
    return found if values["env"] is None else _with_rollouts(values, config, dataset, agent, found)


def _check_same_dataset(run: Path, config: TrainConfig, dataset: GoalDataset) -> None:
    if dataset.manifest.fingerprint != config.dataset_fingerprint:
        raise RunError(
            f"{run}: trained on another {config.dataset_name} than {config.store} holds now "
            f"({config.dataset_fingerprint[:8]}, now {dataset.manifest.fingerprint[:8]}); build "
            "that dataset again, or train anew with another --out"
        )


def _off_policy(
    values: Values, config: TrainConfig, dataset: GoalDataset, agent: Any, split: Split
) -> list[evaluation.GoalValues]:
    algorithm = ALGORITHMS[config.algo]
    if algorithm.trajectories:
        return []  # d3rlpy's evaluators and FQE need a policy of single observations
    replay = dataset.replay(split, config.view, seed=config.seed)
    fqe = None
    if values["fqe_steps"]:
        with console.counting("FQE steps", values["json"]) as show:
            fqe = evaluation.fit_fqe(
                agent,
                replay,
                values["fqe_steps"],
                values["device"],
                lambda step, steps: show(step, steps, {}),
            )
    return evaluation.goal_values(agent, fqe, replay, dataset.goal_ids, algorithm.values)


def _with_rollouts(
    values: Values,
    config: TrainConfig,
    dataset: GoalDataset,
    agent: Any,
    found: EvaluationReport,
) -> EvaluationReport:
    make_env = rollouts.make_factory(values["env"])
    goals = _goals(values, dataset)
    families = dict(zip(dataset.goal_ids, dataset.families, strict=True))
    embed, score = _vlm(values, dataset)
    observer = _observer(values, config, dataset, embed)
    policies: dict[str, rollouts.Policy] = {"agent": _policy(config, dataset, agent)}
    if values["baselines"]:
        policies["random"] = rollouts.RandomPolicy(make_env().action_space, values["seed"])
    rows: list[evaluation.Outcome] = []
    for name, policy in policies.items():
        results = rollouts.roll_out(
            policy,
            make_env,
            observer,
            goals,
            episodes=values["episodes"],
            seed=values["seed"],
            score=score,
            keep_frames=_GIF_EPISODES if values["gif"] and name == "agent" else 0,
        )
        if values["gif"] and name == "agent":
            rollouts.write_gif(results, Path(values["gif"]))
        rows += evaluation.outcomes(name, results, families)
    return found.model_copy(
        update={"outcomes": tuple(rows), "behaviour": _behaviour(dataset, families)}
    )


_GIF_EPISODES = 6


def _policy(config: TrainConfig, dataset: GoalDataset, agent: Any) -> rollouts.Policy:
    """What is rolled out; a transformer is asked for the best return that it has seen."""
    if ALGORITHMS[config.algo].trajectories:
        options = dataset.manifest.options
        return rollouts.TransformerPolicy(agent, dataset.best_return(), options.step_reward)
    policy: rollouts.Policy = agent
    return policy


def _goals(values: Values, dataset: GoalDataset) -> list[str]:
    known = dataset.goal_ids
    chosen = values["goal"] or known
    unknown = [goal for goal in chosen if goal not in known]
    if unknown:
        raise RunError(f"--goal: unknown {', '.join(unknown)}; known are {', '.join(known[:20])}")
    return list(chosen)


def _observer(
    values: Values, config: TrainConfig, dataset: GoalDataset, embed: Any
) -> rollouts.Observer:
    table = dataset.goal_table(config.goals)
    goals = None if table is None else dict(zip(dataset.goal_ids, table, strict=True))
    return rollouts.Observer(config.observations, goals, values["camera"], embed)


def _vlm(values: Values, dataset: GoalDataset) -> tuple[Any, Any]:
    """How frames become embeddings, and an episode's frames a return; None without an encoder."""
    if values["encoder"] is None:
        return None, None
    from relabel.encoder import load_encoder
    from relabel.scoring import load_scorer

    encoder = load_encoder(values["encoder"], device=values["device"])
    scorer = load_scorer(
        dataset.store, dataset.manifest.rewards, encoder.encode_texts, encoder.spec
    )
    places = {goal: place for place, goal in enumerate(dataset.goal_ids)}

    def score(frames: Sequence[Any], goal: str) -> float:
        embeddings = encoder.encode_images(frames)
        lengths = np.array([len(frames)])
        rewards = scorer.rewards(scorer.scores([embeddings], lengths), lengths)[:, places[goal]]
        return float(np.nansum(rewards))

    return encoder.encode_images, score


def _behaviour(dataset: GoalDataset, families: Mapping[str, str]) -> dict[str, Interval]:
    """Share of commanded episodes of the data that reach their goal, by family that has any."""
    ids = dataset.goal_ids
    reached: dict[str, list[float]] = {family: [] for family in (*families.values(), "all")}
    for goal, success in dataset.commanded_success():
        reached[families[ids[goal]]].append(success)
        reached["all"].append(success)
    return {name: evaluation.interval(found) for name, found in reached.items() if found}
