"""What a goal dataset is made from: goals, rewards or truth, and the episodes of a slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relabel.goal_datasets.trajectories import Bools, Outcomes
from relabel.goals.instructions import Commanded, commands, language_columns
from schemas import fields
from schemas.enums import Kind, Timing
from schemas.errors import StoreError
from schemas.goal_basis import Basis, basis, dataset_goals, truth_values
from schemas.goal_datasets import GoalDatasetManifest, transition_count
from schemas.goal_names import goal_names, names_of
from schemas.slices import Slice
from schemas.store import Store, check_same_rows
from schemas.tables import Array, flags, matrix
from schemas.texts import normalised

_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class DatasetInputs:
    """What all slices of a goal dataset share."""

    basis: Basis
    ids: tuple[str, ...]  # G
    chosen: Bools  # (G,) goals that trajectories may be towards
    named: dict[str, frozenset[int]]  # goals by the normalised texts that name them
    embeddings: NDArray[np.float32] | None  # (G, D) of the goals' texts; None: no reward set

    def names(self, text: str) -> frozenset[int]:
        """The goals that a text names."""
        return self.named.get(normalised(text), _NONE)


@dataclass(frozen=True, eq=False)
class EpisodeFrames:
    """One episode and the rows of the store's tables that it consists of."""

    episode: Outcomes
    frames: pa.Table  # its T steps
    values: pa.Table  # T rewards, or truths in their place, and the scores if asked for


def dataset_inputs(store: Store, dataset: GoalDatasetManifest) -> DatasetInputs:
    """Opens what a goal dataset is to be made from, and checks that it fits.

    Raises:
        StoreError: steps, episodes or rewards are missing, unfinished or of different sources;
            a goal that there is not; options that its rewards do not allow; no such truth column.
    """
    found = basis(store, dataset)
    for table in ("steps", "episodes"):
        _check_source(store, table, dataset)
    goals = dataset_goals(store, dataset)
    ids = tuple(goals.column(fields.GOAL_ID).to_pylist())
    unknown = sorted(set(dataset.options.goals) - set(ids))
    if unknown:
        raise StoreError(
            f"{store.location}/{found.name}: has no goal {', '.join(unknown)}; its {len(ids)} "
            f"goals are {', '.join(ids[:10])}{', …' if len(ids) > 10 else ''}"
        )
    _check_options(store, dataset, found)
    wanted = set(dataset.options.goals) or set(ids)
    embedded = fields.TEXT_EMBEDDING in goals.column_names
    return DatasetInputs(
        basis=found,
        ids=ids,
        chosen=np.array([goal_id in wanted for goal_id in ids], bool),
        named=_names(store, dataset),
        embeddings=matrix(goals.column(fields.TEXT_EMBEDDING)) if embedded else None,
    )


def _names(store: Store, dataset: GoalDatasetManifest) -> dict[str, frozenset[int]]:
    if dataset.rewards is None:
        return names_of(goal.texts for goal in dataset.goals)
    return goal_names(store, dataset.rewards)


def _check_source(store: Store, table: str, dataset: GoalDatasetManifest) -> None:
    found = store.table_manifest(table).source_fingerprint
    if dataset.rewards is None:
        return
    rewards = store.rewards(dataset.rewards)
    if found != rewards.source_fingerprint:
        raise StoreError(
            f"{store.location}: {table} and {rewards.table} are of different sources "
            f"({found[:8]} and {rewards.source_fingerprint[:8]}): their frames are not the same; "
            "score this store's own embeddings again (`vlm-relabel score`)"
        )


def _check_options(store: Store, dataset: GoalDatasetManifest, found: Basis) -> None:
    where = f"{store.location}/{found.name}"
    if dataset.options.step_reward and not found.binary:
        kind, cure = "those of a column of bool", "take a column of bool"
        if found.rewards is not None:
            kind, cure = "rewards of 0 and 1", "score with softmax-threshold"
        raise StoreError(
            f"{where}: a step reward of {dataset.options.step_reward} needs {kind}, got rewards "
            f"which are used as they are; leave --step-reward at 0, or {cure}"
        )
    if found.difference and found.rewards is not None and not found.rewards.scores:
        raise StoreError(
            f"{where}: a potential difference does not tell when a goal is reached, and its "
            "scores were not kept; score again with --scores"
        )


def read_episodes(
    piece: Slice,
    *,
    store: Store,
    dataset: GoalDatasetManifest,
    inputs: DatasetInputs,
    columns: tuple[str, ...] = (),
    scores: bool = False,
) -> Iterator[EpisodeFrames]:
    """The episodes of one slice that the dataset takes, and that have a frame.

    Args:
        piece: the slice.
        store: read from.
        dataset: what is to be made.
        inputs: from `dataset_inputs`.
        columns: of the steps table that the caller needs beside the keys.
        scores: whether the caller needs the scores, which must have been kept.

    Raises:
        StoreError: tables that do not have the same rows.
    """
    spoken, whole = language_columns(store.manifest)
    if Kind.COMMANDED not in dataset.options.kinds:
        spoken, whole = [], []
    names = [fields.EPISODE_ID, fields.LENGTH, *whole]
    episodes = store.read_slices("episodes", [piece], names)
    steps = store.read_slices("steps", [piece], _steps_columns(store, dataset, (*columns, *spoken)))
    values = _values(piece, store, inputs.basis, steps, scores)
    lengths = episodes.column(fields.LENGTH).to_numpy().astype(np.int64)
    if int(lengths.sum()) != steps.num_rows:
        raise StoreError(f"{store.location}, {piece.name}: episodes and steps differ in length")
    told = commands(
        [steps.column(name) for name in spoken],
        [episodes.column(name) for name in whole],
        lengths,
        inputs.names,
        holds=dataset.options.commands_hold,
    )
    ids = episodes.column(fields.EPISODE_ID).to_pylist()
    start = 0
    for episode_id, length, own_commands in zip(ids, lengths.tolist(), told, strict=True):
        frames, own = steps.slice(start, length), values.slice(start, length)
        start += length
        if length and dataset.options.takes(episode_id):
            count, terminated = _transitions(frames, store, inputs.basis)
            episode = _episode(episode_id, own, count, terminated, own_commands, dataset, inputs)
            yield EpisodeFrames(episode, frames, own)


def _steps_columns(
    store: Store, dataset: GoalDatasetManifest, columns: tuple[str, ...]
) -> list[str]:
    stored = {spec.name for spec in store.manifest.fields}
    terminal = [fields.IS_TERMINAL] if fields.IS_TERMINAL in stored else []
    truth = [] if dataset.source_column is None else [dataset.source_column]
    wanted = [fields.EPISODE_ID, fields.STEP, *terminal, *truth, *columns]
    return list(dict.fromkeys(wanted))


def _values(piece: Slice, store: Store, found: Basis, steps: pa.Table, scores: bool) -> pa.Table:
    """Per frame: rewards and, if needed, scores; or the truth, in the column of rewards."""
    if found.column is not None:
        return pa.table({fields.REWARD: truth_values(steps.column(found.column))})
    score = [fields.SCORE] if found.difference or scores else []
    names = [fields.EPISODE_ID, fields.STEP, fields.REWARD, *score]
    table = store.read_slices(found.table, [piece], names)
    check_same_rows(steps, table, f"steps and {found.table}, {piece.name}")
    return table


def _transitions(frames: pa.Table, store: Store, found: Basis) -> tuple[int, bool]:
    """Number of transitions, and whether the environment ended the task with the last one."""
    ends_terminal = False
    if fields.IS_TERMINAL in frames.column_names:
        ends_terminal = bool(flags(frames.column(fields.IS_TERMINAL))[-1])
    count = transition_count(
        frames.num_rows,
        ends_terminal=ends_terminal,
        timing=found.timing,
        last_step=store.manifest.last_step,
    )
    return count, ends_terminal


def _episode(
    episode_id: str,
    values: pa.Table,
    count: int,
    terminated: bool,
    told: tuple[Commanded, ...],
    dataset: GoalDatasetManifest,
    inputs: DatasetInputs,
) -> Outcomes:
    found = inputs.basis
    rewards = matrix(values.column(fields.REWARD))
    if found.column is not None:
        rewards = outcomes(rewards, count, found.timing)
    reached = rewards
    if found.difference:
        reached = outcomes(matrix(values.column(fields.SCORE)), count, found.timing)
    rewards, reached = rewards[:count], reached[:count]
    success = reached > np.float32(found.above)
    missing = np.isnan(rewards) | np.isnan(reached)
    if found.binary:
        rewards = success.astype(np.float32) + np.float32(dataset.options.step_reward)
    return Outcomes(episode_id, rewards, success, missing, terminated, told)


def outcomes(per_frame: Array, count: int, timing: Timing) -> Array:
    """(n, G) what transition t looks at: frame t+1, or frame t."""
    first = 1 if timing is Timing.NEXT_FRAME else 0
    return per_frame[first : first + count]
