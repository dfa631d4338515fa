"""What is refused before a run begins: an algorithm, a dataset and options that do not fit."""

from __future__ import annotations

from typing import Any

import torch

from offline_rl.algorithms import ALGORITHMS, Algorithm
from offline_rl.dataset import GoalDataset
from offline_rl.hindsight import goal_mix
from offline_rl.replay import GoalConditionedReplayBuffer
from offline_rl.run_config import TrainConfig
from schemas.enums import Kind
from schemas.errors import AlgorithmError, RunError, StoreError


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


def check_rewards(config: TrainConfig, algorithm: Algorithm) -> None:
    """Refuses to learn from nothing where rewards, or kinds that they tell, are asked for.

    Raises:
        AlgorithmError: lists those that clone, or says what to leave out.
    """
    if config.learn_from == "none" and not algorithm.clones:
        cloning = [
            name
            for name, other in ALGORITHMS.items()
            if other.clones and other.action_space is algorithm.action_space
        ]
        raise AlgorithmError(
            f"--learn-from none: {config.algo} learns from rewards; choose {' or '.join(cloning)}"
        )
    if config.learn_from == "none" and config.weights:
        kinds = " ".join(f"--kind-weight {kind}={w:g}" for kind, w in config.weights.items())
        raise AlgorithmError(
            f"{kinds}: --learn-from none learns from commanded trajectories alone; leave it out"
        )
    if config.learn_from == "none" and config.positive_share is not None:
        raise AlgorithmError(
            f"--positive-share {config.positive_share:g}: --learn-from none learns without "
            "rewards, by which positives are told; leave it out"
        )


def check_ahead(config: TrainConfig, algorithm: Algorithm) -> None:
    """Refuses several steps ahead, or goals in hindsight, where they would mean nothing.

    Raises:
        AlgorithmError: says why.
    """
    if config.n_step is not None and not algorithm.values:
        why = "learns from windows" if algorithm.trajectories else "learns no values"
        raise AlgorithmError(f"--n-step {config.n_step}: {config.algo} {why}; leave it out")
    if goal_mix(config.goal_mix) is None:
        return
    unfit = {
        "learns from windows of trajectories": algorithm.trajectories,
        "learns from the action behind a transition as well": algorithm.next_actions,
        "learns from the returns of trajectories as well": algorithm.returns_to_go,
        "weighs by the scores of trajectories": algorithm.progress,
    }
    for why in (why for why, applies in unfit.items() if applies):
        raise AlgorithmError(
            f"--goal-mix: {config.algo} {why}, which are those of their own goals; take another "
            "algorithm, such as gcivl or discrete-gcivl"
        )


def check_commanded(config: TrainConfig, dataset: GoalDataset) -> None:
    """Without rewards only commanded trajectories are learned from.

    Raises:
        StoreError: there is none; says why, and what to do.
    """
    if config.learn_from != "none" or dataset.commanded_success():
        return
    store, manifest = dataset.store, dataset.manifest
    build = f"vlm-relabel build-goals {config.store} --rewards"
    if manifest.rewards is None:
        cause = "it was built without that kind, or no instruction names one of its goals"
        own = f"--no-rewards --truth {manifest.source_column} --goals GOALS --name NAME"
        cure = f"build another one: `vlm-relabel build-goals {config.store} {own}`"
    elif Kind.COMMANDED not in manifest.options.kinds:
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
            f"--learn-from vlm --algo {config.algo} --kind-weight failed=0"
        )
    raise StoreError(
        "--learn-from none: clones commanded trajectories, and "
        f"{store.location}/{manifest.table} has none: {cause}; {cure}"
    )


def check_lengths(config: TrainConfig, agent: Any, replay: GoalConditionedReplayBuffer) -> None:
    """A transformer has an embedding for so many timesteps and no more.

    Raises:
        AlgorithmError: a trajectory has more.
    """
    most = getattr(agent.config, "max_timestep", None)
    longest = int(replay.trajectories.count.max())
    if most is not None and longest > most:
        raise AlgorithmError(
            f"--algo {config.algo}: the longest trajectory has {longest} transitions, more than "
            f"max_timestep {most}; give --set max_timestep={longest}"
        )
