"""Rollouts of `evaluate`: where a run meets an environment, and an encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from offline_rl import evaluation, policies, rollouts
from offline_rl.algorithms import ALGORITHMS, DISCRETE, Algorithm
from offline_rl.dataset import GoalDataset
from offline_rl.evaluation import EvaluationReport, Interval
from offline_rl.frames import EMBEDDING_PREFIX, whole_names
from offline_rl.restoring import restorer
from offline_rl.run_config import TrainConfig
from relabel.encoders.protocol import StagedEncoder
from relabel.plugins import load_named
from schemas.encoders import EncoderSpec
from schemas.errors import RunError
from schemas.locations import local_path
from schemas.manifests import EmbeddingManifest
from vlm_relabel.agent_arguments import EvaluateArguments
from vlm_relabel.keywords import several


def with_rollouts(
    arguments: EvaluateArguments,
    env: str | Callable[[], Any],
    config: TrainConfig,
    dataset: GoalDataset,
    agent: Any,
    found: EvaluationReport,
) -> EvaluationReport:
    """The report with what rollouts add to it.

    Args:
        arguments: of `evaluate`.
        env: its environment: module:factory, or the factory.
        config: of the run.
        dataset: of the run.
        agent: of the run's checkpoint.
        found: so far.
    """
    make_env = environment_factory(env) if isinstance(env, str) else env
    goals = _goals(arguments, dataset)
    families = dict(zip(dataset.goal_ids, dataset.families, strict=True))
    vlm = _vlm(arguments, config, dataset)
    observer = _observer(arguments, config, dataset, vlm.embed)
    space = _action_space(make_env)
    played: dict[str, policies.Policy] = {
        "agent": _policy(arguments, config, dataset, agent, space)
    }
    if arguments.baselines:
        played["random"] = policies.RandomPolicy(space, arguments.seed)
    rows: list[evaluation.Outcome] = []
    notes = list(vlm.notes)
    for name, policy in played.items():
        results = rollouts.roll_out(
            policy,
            make_env,
            observer,
            goals,
            episodes=arguments.episodes,
            seed=arguments.seed,
            score=vlm.score,
            keep_frames=_GIF_EPISODES if arguments.gif and name == "agent" else 0,
        )
        if arguments.gif is not None and name == "agent":
            rollouts.write_gif(results, local_path("--gif", os.fspath(arguments.gif)))
        rows += evaluation.outcomes(name, results, families)
        if name == "agent" and not arguments.temperature:
            notes += _circles(results, ALGORITHMS[config.algo])
    return found.model_copy(
        update={
            "outcomes": tuple(rows),
            "behaviour": _behaviour(dataset, families, goals) if arguments.baselines else {},
            "notes": (*found.notes, *notes),
        }
    )


_GIF_EPISODES: Final = 6
_STALE: Final = 8  # steps without anything new, from which it is no chance
_MANY: Final = 0.2  # of the rollouts that failed


def _circles(results: Sequence[rollouts.EpisodeResult], algorithm: Algorithm) -> list[str]:
    """A word on an agent that goes around in circles, and what may lead it out."""
    failed = [result for result in results if not result.success]
    stale = [result for result in failed if result.stale >= _STALE]
    if not failed or len(stale) < _MANY * len(failed):
        return []
    cure = f"; --temperature may lead it out, such as {_try_first(algorithm):g}"
    return [
        f"{len(stale):,} of {len(failed):,} rollouts that failed ended with {_STALE} steps or more "
        "in which the agent saw nothing new: it goes around in circles"
        f"{cure if algorithm.drawable else ''}"
    ]


def _try_first(algorithm: Algorithm) -> float:
    """A temperature for logits, for continuous actions, or for values, which lie closer."""
    if algorithm.action_space is not DISCRETE:
        return 0.1
    return 0.3 if algorithm.own or not algorithm.values else 0.03


def environment_factory(name: str) -> Callable[[], Any]:
    """What `--env module:factory` names.

    Raises:
        RunError: it cannot be had, or cannot be called.
    """
    found = load_named(name, "--env", kind=RunError)
    if not callable(found):
        raise RunError(
            f"--env {name!r}: expected a function that makes an environment, got {found!r:.100}"
        )
    make: Callable[[], Any] = found
    return make


def _action_space(make_env: Callable[[], Any]) -> Any:
    env = make_env()
    try:
        return env.action_space
    finally:
        env.close()


def _policy(
    arguments: EvaluateArguments, config: TrainConfig, dataset: GoalDataset, agent: Any, space: Any
) -> policies.Policy:
    """What is rolled out; a transformer is asked for the best return that it has seen."""
    layout = config.layout or dataset.actions(config.view).layout  # runs of 0.1.0 have none
    restore = restorer(layout, space)
    if ALGORITHMS[config.algo].trajectories:
        options = dataset.manifest.options
        best = dataset.best_return()
        return policies.TransformerPolicy(agent, best, options.step_reward, restore)
    if arguments.temperature > 0:
        return policies.DrawnPolicy(agent, arguments.temperature, arguments.seed, restore)
    return policies.RestoredPolicy(agent, restore)


def _goals(arguments: EvaluateArguments, dataset: GoalDataset) -> list[str]:
    known = dataset.goal_ids
    chosen = several(arguments.goal) or known
    unknown = [goal for goal in chosen if goal not in known]
    if unknown:
        raise RunError(
            f"--goal: unknown {', '.join(unknown)}; the known ones are {', '.join(known[:20])}"
        )
    return list(chosen)


def _observer(
    arguments: EvaluateArguments, config: TrainConfig, dataset: GoalDataset, embed: Any
) -> rollouts.Observer:
    table = dataset.goal_table(config.goal_encoding)
    goals = None if table is None else dict(zip(dataset.goal_ids, table, strict=True))
    return rollouts.Observer(config.observations, goals, arguments.camera, embed)


@dataclass(frozen=True)
class _Vlm:
    """An encoder at rollouts; None where there is none for it to do."""

    embed: rollouts.EmbedFrames | None = None  # for the embedding that the agent sees
    score: rollouts.ScoreEpisode | None = None  # return by the dataset's rewards
    notes: tuple[str, ...] = ()


def _vlm(arguments: EvaluateArguments, config: TrainConfig, dataset: GoalDataset) -> _Vlm:
    """How frames become embeddings, and an episode's frames a return.

    Raises:
        RunError: the agent sees several embeddings, or that of another encoder.
    """
    seen = _embedding_seen(config, dataset)
    if arguments.encoder is None:
        return _Vlm()
    from relabel.encoders.registry import encoder_loader

    rewards = dataset.basis.rewards
    scored = None if rewards is None else rewards.encoder
    wanted = scored if seen is None else seen
    if wanted is None:
        raise RunError(
            f"--encoder {arguments.encoder}: nothing for it to do: the agent sees no embedding, "
            f"and {dataset.manifest.name} was made without a reward set; leave it out"
        )
    encoder = encoder_loader(arguments.encoder, arguments.device).as_stored(wanted)
    if encoder.spec.fingerprint != wanted.fingerprint:
        what = "the rewards were made" if seen is None else "what the agent sees was embedded"
        raise RunError(
            f"--encoder {arguments.encoder}: {what} with {wanted.name} at {wanted.precision} "
            f"({wanted.fingerprint[:8]}), this is {encoder.spec.name} at {encoder.spec.precision} "
            f"({encoder.spec.fingerprint[:8]})"
        )
    embed = None if seen is None else encoder.encode_images
    if rewards is None or scored is None:
        return _Vlm(embed, None, ("no return by the VLM: there is no reward set",))
    if encoder.spec.fingerprint != scored.fingerprint:
        note = (
            f"no return by the VLM: the rewards were made with {scored.name} at "
            f"{scored.precision}, the agent sees {wanted.name} at {wanted.precision}"
        )
        return _Vlm(embed, None, (note,))
    return _Vlm(embed, _scorer(dataset, rewards.name, encoder))


def _embedding_seen(config: TrainConfig, dataset: GoalDataset) -> EncoderSpec | None:
    """The encoder of the embedding that the agent sees; None if it sees none."""
    names = whole_names(dataset.store, config.observations)
    seen = [name.removeprefix(EMBEDDING_PREFIX) for name in names if _is_embedding(name)]
    if len(seen) > 1:
        raise RunError(
            f"--env: the agent sees {len(seen)} embeddings ({', '.join(seen)}); a rollout has "
            "one encoder and one camera"
        )
    tables = [dataset.store.table_manifest(f"embeddings/{name}") for name in seen]
    return next((t.encoder for t in tables if isinstance(t, EmbeddingManifest)), None)


def _is_embedding(name: str) -> bool:
    return name.startswith(EMBEDDING_PREFIX)


def _scorer(dataset: GoalDataset, rewards: str, encoder: StagedEncoder) -> rollouts.ScoreEpisode:
    from relabel.slices.score_slice import load_scorer

    scorer = load_scorer(dataset.store, rewards, encoder.encode_texts, encoder.spec)
    places = {goal: place for place, goal in enumerate(dataset.goal_ids)}

    def score(frames: Sequence[Any], goal: str) -> float:
        embeddings = encoder.encode_images(frames)
        lengths = np.array([len(frames)])
        rewards = scorer.rewards(scorer.scores([embeddings], lengths), lengths)[:, places[goal]]
        return float(np.nansum(rewards))

    return score


def _behaviour(
    dataset: GoalDataset, families: Mapping[str, str], goals: Sequence[str]
) -> dict[str, Interval]:
    """Share of commanded episodes of the data that reach their goal, by family that has any.

    Args:
        dataset: of the run.
        families: by goal.
        goals: that are rolled out; episodes of others are left out.
    """
    ids = dataset.goal_ids
    reached: dict[str, list[float]] = {family: [] for family in (*families.values(), "all")}
    for goal, success in dataset.commanded_success():
        if ids[goal] in goals:
            reached[families[ids[goal]]].append(success)
            reached["all"].append(success)
    return {name: evaluation.share(found) for name, found in reached.items() if found}
