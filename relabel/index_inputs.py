"""What an index is made from: goals, rewards or truth, and the episodes of a slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relabel.index_rows import Bools, Episode
from relabel.instructions import Command, commands, language_columns
from schemas import fields
from schemas.enums import Kind, Timing
from schemas.errors import StoreError
from schemas.goal_datasets import (
    GoalDatasetManifest,
    effective_timing,
    is_difference,
    transition_count,
)
from schemas.goal_names import goal_names
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store, check_same_rows
from schemas.tables import Array, matrix
from schemas.texts import normalised

_NONE: frozenset[int] = frozenset()
_TRUE_ABOVE = 0.5  # of a truth column, whatever the threshold of the rewards


@dataclass(frozen=True, eq=False)
class IndexInputs:
    """What all slices of an index share."""

    rewards: RewardManifest
    timing: Timing  # as effective, not as asked for
    ids: tuple[str, ...]  # G
    chosen: Bools  # (G,) goals that rows may be of
    named: dict[str, frozenset[int]]  # goals by the normalised texts that name them
    embeddings: NDArray[np.float32]  # (G, D) of the goals' texts

    def names(self, text: str) -> frozenset[int]:
        """The goals that a text names."""
        return self.named.get(normalised(text), _NONE)


@dataclass(frozen=True, eq=False)
class EpisodeFrames:
    """One episode and the rows of the steps table that it consists of."""

    episode: Episode
    frames: pa.Table  # its T steps


def index_inputs(store: Store, dataset: GoalDatasetManifest) -> IndexInputs:
    """Opens what a goal-conditioned dataset is to be made from, and checks that it fits.

    Raises:
        StoreError: steps, episodes or rewards are missing, unfinished or of different sources;
            a goal that the reward set does not have; options that its rewards do not allow; no
            such truth column.
    """
    rewards = store.rewards(dataset.rewards)
    for table in ("steps", "episodes"):
        _check_source(store, table, rewards)
    goals = store.goals(dataset.rewards)
    ids = tuple(goals.column(fields.GOAL_ID).to_pylist())
    unknown = sorted(set(dataset.options.goals) - set(ids))
    if unknown:
        raise StoreError(
            f"{store.location}/{rewards.table}: has no goal {', '.join(unknown)}; its {len(ids)} "
            f"goals are {', '.join(ids[:10])}{', …' if len(ids) > 10 else ''}"
        )
    _check_options(store, dataset, rewards)
    wanted = set(dataset.options.goals) or set(ids)
    return IndexInputs(
        rewards=rewards,
        timing=effective_timing(rewards.function, rewards.timing),
        ids=ids,
        chosen=np.array([goal_id in wanted for goal_id in ids], bool),
        named=goal_names(store, dataset.rewards),
        embeddings=matrix(goals.column(fields.TEXT_EMBEDDING)),
    )


def _check_source(store: Store, table: str, rewards: RewardManifest) -> None:
    found = store.table_manifest(table).source_fingerprint
    if found != rewards.source_fingerprint:
        raise StoreError(
            f"{store.location}: {table} and {rewards.table} are of different sources "
            f"({found[:8]} and {rewards.source_fingerprint[:8]}): their frames are not the same; "
            "score this store's own embeddings again (`vlm-relabel score`)"
        )


def _check_options(store: Store, dataset: GoalDatasetManifest, rewards: RewardManifest) -> None:
    where = f"{store.location}/{rewards.table}"
    if dataset.options.step_reward and not rewards.binary and dataset.source_column is None:
        raise StoreError(
            f"{where}: a step reward of {dataset.options.step_reward} needs rewards of 0 and 1, "
            f"got those of {rewards.function.get('name')}, which are used as they are; leave "
            "--step-reward at 0, or score with softmax-threshold"
        )
    if is_difference(rewards.function) and not rewards.scores and dataset.source_column is None:
        raise StoreError(
            f"{where}: a potential difference does not tell when a goal is reached, and its "
            "scores were not kept; score again with --scores"
        )
    if dataset.source_column is not None:
        _check_truth(store, dataset.source_column, rewards)


def _check_truth(store: Store, column: str, rewards: RewardManifest) -> None:
    shapes = {
        spec.name: spec.shape
        for spec in store.manifest.fields
        if spec.kind == "tensor" and spec.dtype != "object"
    }
    if shapes.get(column) == (rewards.goals,):
        return
    got = f"its shape is {list(shapes[column])}" if column in shapes else "there is no such column"
    fitting = [name for name, shape in shapes.items() if shape == (rewards.goals,)]
    raise StoreError(
        f"{store.location}/steps: truth column {column!r}: expected one value per goal of "
        f"{rewards.table}, shape [{rewards.goals}]; {got}; columns that would fit: "
        f"{', '.join(fitting) or 'none'}"
    )


def read_episodes(
    piece: Slice,
    *,
    store: Store,
    dataset: GoalDatasetManifest,
    inputs: IndexInputs,
    columns: tuple[str, ...] = (),
) -> Iterator[EpisodeFrames]:
    """The episodes of one slice that the dataset takes, and that have a frame.

    Args:
        piece: the slice.
        store: read from.
        dataset: what is to be made.
        inputs: from `index_inputs`.
        columns: of the steps table that the caller needs beside the keys.

    Raises:
        StoreError: tables that do not have the same rows.
    """
    spoken, whole = language_columns(store.manifest)
    if Kind.COMMANDED not in dataset.options.kinds:
        spoken, whole = [], []
    names = [fields.EPISODE_ID, fields.LENGTH, *whole]
    episodes = store.read_slices("episodes", [piece], names)
    steps = store.read_slices("steps", [piece], _steps_columns(store, dataset, (*columns, *spoken)))
    values = _values(piece, store, dataset, inputs, steps)
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
            count, terminated = _transitions(frames, store, inputs)
            yield EpisodeFrames(
                _episode(episode_id, own, count, terminated, own_commands, dataset, inputs), frames
            )


def _steps_columns(
    store: Store, dataset: GoalDatasetManifest, columns: tuple[str, ...]
) -> list[str]:
    stored = {spec.name for spec in store.manifest.fields}
    terminal = [fields.IS_TERMINAL] if fields.IS_TERMINAL in stored else []
    truth = [] if dataset.source_column is None else [dataset.source_column]
    wanted = [fields.EPISODE_ID, fields.STEP, *terminal, *truth, *columns]
    return list(dict.fromkeys(wanted))


def _values(
    piece: Slice,
    store: Store,
    dataset: GoalDatasetManifest,
    inputs: IndexInputs,
    steps: pa.Table,
) -> pa.Table:
    """Per frame: rewards and, if needed, scores; or the truth, in the column of rewards."""
    if dataset.source_column is not None:
        type_ = pa.list_(pa.float32(), inputs.rewards.goals)
        return pa.table({fields.REWARD: steps.column(dataset.source_column).cast(type_)})
    score = [fields.SCORE] if is_difference(inputs.rewards.function) else []
    names = [fields.EPISODE_ID, fields.STEP, fields.REWARD, *score]
    table = store.read_slices(inputs.rewards.table, [piece], names)
    check_same_rows(steps, table, f"steps and {inputs.rewards.table}, {piece.name}")
    return table


def _transitions(frames: pa.Table, store: Store, inputs: IndexInputs) -> tuple[int, bool]:
    """Number of transitions, and whether the environment ended the task with the last one."""
    ends_terminal = False
    if fields.IS_TERMINAL in frames.column_names:
        ends_terminal = bool(frames.column(fields.IS_TERMINAL)[-1].as_py())
    count = transition_count(
        frames.num_rows,
        ends_terminal=ends_terminal,
        timing=inputs.timing,
        last_step=store.manifest.last_step,
    )
    return count, ends_terminal


def _episode(
    episode_id: str,
    values: pa.Table,
    count: int,
    terminated: bool,
    told: tuple[Command, ...],
    dataset: GoalDatasetManifest,
    inputs: IndexInputs,
) -> Episode:
    looked_at = matrix(values.column(fields.REWARD))
    above, ahead = dataset.options.success_above, looked_at
    if dataset.source_column is not None:
        above = _TRUE_ABOVE
        ahead = looked_at = _outcomes(looked_at, count, inputs.timing)
    elif is_difference(inputs.rewards.function):
        ahead = _outcomes(matrix(values.column(fields.SCORE)), count, inputs.timing)
    rewards, reached = looked_at[:count], ahead[:count]
    success = reached > np.float32(above)
    if inputs.rewards.binary or dataset.source_column is not None:
        rewards = success.astype(np.float32) + np.float32(dataset.options.step_reward)
        missing = np.isnan(reached)
    else:
        missing = np.isnan(rewards) | np.isnan(reached)
    return Episode(episode_id, rewards, success, missing, terminated, told)


def _outcomes(per_frame: Array, count: int, timing: Timing) -> Array:
    """(n, G) what transition t looks at: frame t+1, or frame t."""
    first = 1 if timing is Timing.NEXT_FRAME else 0
    return per_frame[first : first + count]
