"""`build_slice`: the rewards of one slice become trajectories of a goal dataset.

Which trajectories there are is decided in `relabel.goal_datasets.trajectories`; where rewards and
successes come from, in `relabel.goal_datasets.inputs`. They lie episode after episode, by goal and
start. Nothing but the slice's own tables and the dataset's options decides on one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import pyarrow as pa

from relabel.goal_datasets.columns import components
from relabel.goal_datasets.inputs import DatasetInputs, EpisodeFrames, read_episodes
from relabel.goal_datasets.trajectories import Outcomes, Trajectory, episode_trajectories
from relabel.goal_datasets.transitions import (
    transition_batches,
    transition_columns,
    transitions_schema,
)
from schemas import fields
from schemas.errors import StoreError
from schemas.goal_datasets import (
    FIRST_SUCCESS,
    GOAL,
    GOAL_DATASET_SCHEMA,
    KIND,
    LEFT_OUT_SCHEMA,
    RETURN,
    REWARDS,
    SPLIT,
    START,
    STOP,
    SUCCESS,
    TERMINAL,
    GoalDatasetManifest,
)
from schemas.slice_writer import SliceWriter
from schemas.slices import Slice, TableFile
from schemas.store import Store

_EXAMPLES = 3  # of bad actions, in an error text


def build_slice(
    piece: Slice, *, store: Store, dataset: GoalDatasetManifest, inputs: DatasetInputs
) -> Slice:
    """Writes one slice of a goal dataset, unless it is committed already.

    Beside its trajectories: those that a missing reward left out, if there are any, and the flat
    transitions, if the dataset is materialized. The goal dataset's own file is committed last.

    Args:
        piece: the slice.
        store: read from and written to.
        dataset: what the table is to be.
        inputs: from `relabel.goal_datasets.inputs.dataset_inputs`.

    Returns:
        The slice with its files.

    Raises:
        StoreError: tables without the same rows, or an action that is not a finite number.
    """
    if done := store.committed(dataset, piece):
        return piece.with_files(*done)
    with ExitStack() as stack:
        job = _SliceJob(piece, store, dataset, inputs, stack)
        wanted = transition_columns(store.manifest.fields)
        columns = (*wanted[0], *wanted[1]) if dataset.materialized else tuple(wanted[1])
        for episode in read_episodes(
            piece, store=store, dataset=dataset, inputs=inputs, columns=columns
        ):
            check_actions(store, episode)
            job.write(episode)
        files = job.commit()
        store.record(dataset.table, piece, files)
        return piece.with_files(*files)


class _SliceJob:
    """The open writers of one slice."""

    def __init__(
        self,
        piece: Slice,
        store: Store,
        dataset: GoalDatasetManifest,
        inputs: DatasetInputs,
        stack: ExitStack,
    ) -> None:
        def open_writer(table: str, schema: pa.Schema) -> SliceWriter:
            writer = store.writer(table, piece, schema, fingerprint=dataset.fingerprint)
            return stack.enter_context(writer)

        self._store = store
        self._piece = piece
        self._options = dataset.options
        self._inputs = inputs
        self._open = open_writer
        self._left_out_table = dataset.left_out
        self._left_out: SliceWriter | None = None
        self._kept = open_writer(dataset.table, GOAL_DATASET_SCHEMA)
        self._transitions: SliceWriter | None = None
        if dataset.materialized:
            dim = None if inputs.embeddings is None else inputs.embeddings.shape[1]
            schema = transitions_schema(store.manifest.fields, dim)
            self._transitions = open_writer(dataset.transitions, schema)

    def write(self, item: EpisodeFrames) -> None:
        """Appends the trajectories of one episode to every table."""
        episode = item.episode
        trajectories, left_out = episode_trajectories(episode, self._options, self._inputs.chosen)
        split = self._options.split(episode.id)
        if left_out:
            if self._left_out is None:
                self._left_out = self._open(self._left_out_table, LEFT_OUT_SCHEMA)
            self._left_out.write(
                _named(trajectory_columns(episode, left_out, split), LEFT_OUT_SCHEMA)
            )
        if trajectories:
            columns = trajectory_columns(episode, trajectories, split)
            columns |= reward_columns(episode, trajectories, self._options.discount)
            self._kept.write(_named(columns, GOAL_DATASET_SCHEMA))
        if self._transitions is not None:
            goals = self._inputs.embeddings
            for batch in transition_batches(episode, trajectories, split, item.frames, goals):
                self._transitions.write(batch)

    def commit(self) -> list[TableFile]:
        """Commits every table of the slice, the goal dataset's own last."""
        if self._left_out is None:
            self._store.discard(self._left_out_table, self._piece)
        writers = (self._left_out, self._transitions, self._kept)
        return [writer.commit() for writer in writers if writer is not None]


def trajectory_columns(
    episode: Outcomes, trajectories: Sequence[Trajectory], split: str
) -> dict[str, pa.Array]:
    """All columns of a goal dataset but those that rewards are needed for."""
    first = [one.first_success for one in trajectories]
    return {
        fields.EPISODE_ID: pa.array([episode.id] * len(trajectories), pa.string()),
        GOAL: pa.array([one.goal for one in trajectories], pa.int32()),
        START: pa.array([one.start for one in trajectories], pa.int32()),
        STOP: pa.array([one.stop for one in trajectories], pa.int32()),
        KIND: pa.array([one.kind.value for one in trajectories], pa.string()),
        SUCCESS: pa.array([success is not None for success in first], pa.bool_()),
        FIRST_SUCCESS: pa.array(first, pa.int32()),
        TERMINAL: pa.array([one.terminal for one in trajectories], pa.bool_()),
        SPLIT: pa.array([str(split)] * len(trajectories), pa.string()),
    }


def reward_columns(
    episode: Outcomes, trajectories: Sequence[Trajectory], discount: float
) -> dict[str, pa.Array]:
    """The rewards of every trajectory, and their discounted sum from its first transition."""
    own = [episode.rewards[one.start : one.stop, one.goal] for one in trajectories]
    powers = np.power(discount, np.arange(len(episode.rewards), dtype=np.float64))
    returns = [float((rewards * powers[: len(rewards)]).sum()) for rewards in own]
    borders = np.append(0, np.cumsum([len(rewards) for rewards in own])).astype(np.int32)
    flat = pa.array(np.concatenate(own), pa.float32())
    return {
        RETURN: pa.array(returns, pa.float32()),
        REWARDS: pa.ListArray.from_arrays(pa.array(borders), flat),
    }


def _named(columns: dict[str, pa.Array], schema: pa.Schema) -> list[pa.Array]:
    return [columns[name] for name in schema.names]


def check_actions(store: Store, item: EpisodeFrames) -> None:
    """Refuses actions that are not finite, other than a last step's filler.

    Raises:
        StoreError: names the episode and its first such steps.
    """
    frames = item.frames.slice(0, len(item.episode.success))
    for name in transition_columns(store.manifest.fields)[1]:
        bad = np.flatnonzero(~np.isfinite(components(frames.column(name))).all(axis=1))
        if len(bad):
            steps = ", ".join(map(str, bad[:_EXAMPLES]))
            raise StoreError(
                f"{store.location}/steps: episode {item.episode.id}, column {name!r}: expected "
                f"finite numbers, got NaN or infinity in {len(bad)} of {len(frames)} actions "
                f"(step {steps}{', …' if len(bad) > _EXAMPLES else ''}); mend the source, or "
                f"leave the episode out: --episode '!{item.episode.id}'"
            )
