"""Trajectories written out as flat transitions, for trainers that read nothing else.

    o_t ──a_t──▶ o_{t+1}      observation.*, goal, action, reward, next.observation.*, terminal

Every observation is written as often as a goal uses it; the goal dataset itself copies none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from relabel.goal_datasets.trajectories import Outcomes, Trajectory
from schemas import fields
from schemas.goal_datasets import GOAL, KIND, NEXT_PREFIX, SPLIT, TERMINAL
from schemas.tables import KEYS, Array, FieldSpec, steps_schema, vectors

_BLOCK: int = 4096  # transitions made at once


def is_action(name: str) -> bool:
    """Whether a column of the steps table is the action or a part of it."""
    return name.split(".")[0] == fields.ACTION


def is_observation(name: str) -> bool:
    """Whether a column of the steps table is an observation."""
    return name.startswith(f"{fields.OBSERVATION}.") or name == fields.OBSERVATION


def transition_columns(columns: Sequence[FieldSpec]) -> tuple[list[str], list[str]]:
    """Names of the observation and of the action columns that transitions consist of."""
    tensors = [column.name for column in columns if column.kind == "tensor"]
    return [n for n in tensors if is_observation(n)], [n for n in tensors if is_action(n)]


def transitions_schema(columns: Sequence[FieldSpec], dim: int | None) -> pa.Schema:
    """Schema of materialized transitions.

    Args:
        columns: of the store's steps table.
        dim: D, length of the goals' text embeddings; None: they have none.
    """
    steps = steps_schema(columns)
    observations, actions = transition_columns(columns)
    embedding = (
        [] if dim is None else [pa.field(fields.TEXT_EMBEDDING, pa.list_(pa.float32(), dim))]
    )
    return pa.schema(
        [
            *KEYS,
            *(steps.field(name) for name in observations),
            pa.field(GOAL, pa.int32(), nullable=False),
            *embedding,
            *(steps.field(name) for name in actions),
            pa.field(fields.REWARD, pa.float32(), nullable=False),
            *(steps.field(name).with_name(NEXT_PREFIX + name) for name in observations),
            pa.field(TERMINAL, pa.bool_(), nullable=False),
            pa.field(KIND, pa.string(), nullable=False),
            pa.field(SPLIT, pa.string(), nullable=False),
        ]
    )


def transition_batches(
    episode: Outcomes,
    trajectories: Sequence[Trajectory],
    split: str,
    frames: pa.Table,
    goals: Array | None,
) -> list[list[pa.Array]]:
    """Transitions, trajectory after trajectory, in columns of `transitions_schema`.

    After a last step that carries an action there is no frame to show: the next observation
    repeats the last one, and `terminal` says that nothing may be made of it.

    Args:
        episode: with the rewards.
        trajectories: of the episode.
        split: of the episode.
        frames: its T steps, with keys, observations and actions.
        goals: (G, D) float32 text embeddings; None: there are none.
    """
    if not trajectories:
        return []
    steps = np.concatenate([np.arange(one.start, one.stop) for one in trajectories])
    own = np.repeat(np.arange(len(trajectories)), [one.stop - one.start for one in trajectories])
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(steps), _BLOCK))
    return [_block(episode, trajectories, split, frames, goals, steps[b], own[b]) for b in blocks]


def _block(
    episode: Outcomes,
    trajectories: Sequence[Trajectory],
    split: str,
    frames: pa.Table,
    goals: Array | None,
    steps: Array,
    own: Array,
) -> list[pa.Array]:
    """Columns of some transitions: `steps` and `own`, their trajectory, are (N,)."""
    goal = np.array([one.goal for one in trajectories], np.int32)[own]
    ends = steps + 1 == np.array([one.stop for one in trajectories])[own]
    terminal = ends & np.array([one.terminal for one in trajectories])[own]
    kinds = pa.array([one.kind.value for one in trajectories], pa.string())
    now = _taken(frames, steps)
    after = _taken(frames, np.minimum(steps + 1, frames.num_rows - 1))
    names = frames.column_names
    return [
        *(now[field.name] for field in KEYS),
        *(now[name] for name in names if is_observation(name)),
        pa.array(goal, pa.int32()),
        *([] if goals is None else [vectors(goals[goal], pa.float32())]),
        *(now[name] for name in names if is_action(name)),
        pa.array(episode.rewards[steps, goal], pa.float32()),
        *(after[name] for name in names if is_observation(name)),
        pa.array(terminal, pa.bool_()),
        kinds.take(pa.array(own)),
        pa.array([split] * len(steps), pa.string()),
    ]


def _taken(frames: pa.Table, steps: Array) -> dict[str, pa.Array]:
    taken = frames.take(pa.array(steps))
    return {name: _whole(taken.column(name)) for name in taken.column_names}


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
