"""When each episode first succeeds at each goal: by labels, by a column, or by the scores alone.

first[e, g]   >= 0       step of the first frame that shows goal g
              NEVER      every frame of the episode is known not to
              UNKNOWN    nobody knows
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relabel.evaluation.evidence import Bools, Floats, Ints, Tell, flag_column
from relabel.evaluation.score_blocks import Block
from schemas import fields
from schemas.goal_basis import TRUE_ABOVE, truth_column, truth_values
from schemas.labels import Labels
from schemas.store import Store
from schemas.tables import flags, matrix

NEVER: Final = -1
UNKNOWN: Final = -2
_LATE: Final = np.iinfo(np.int32).max
_BATCH_VALUES: Final = 1 << 22


@dataclass(frozen=True, eq=False)
class Successes:
    """Of E episodes and G goals."""

    first: NDArray[np.int32]  # (E, G)
    by: str  # who says so, for people

    @property
    def happened(self) -> Bools:
        """(E, G)."""
        return np.asarray(self.first >= 0)

    @property
    def known(self) -> Bools:
        """(E, G) whether it is known to have happened or not."""
        return np.asarray(self.first != UNKNOWN)


def successes_of_field(
    store: Store,
    field: str,
    column_of: Sequence[int],
    *,
    where: str | None = None,
    tell: Tell | None = None,
) -> Successes:
    """Of a column of one truth per goal and frame.

    Args:
        store: has the column in its steps table.
        field: the column.
        column_of: per goal its place in the column; -1: not there, so that nothing is known.
        where: column of flags; only frames where it is true are looked at. An episode without
            such a frame is unknown.
        tell: told of slices.

    Raises:
        StoreError: no such column.
    """
    spec = truth_column(store, field)
    if where is not None:
        flag_column(store, where)
    ids = store.read("episodes", [fields.EPISODE_ID]).column(fields.EPISODE_ID).to_pylist()
    place = {episode_id: i for i, episode_id in enumerate(ids)}
    width = max(1, int(np.prod([d or 1 for d in spec.shape])))
    first = np.full((len(ids), width), _LATE, np.int32)
    seen = np.zeros(len(ids), bool)
    columns = [fields.EPISODE_ID, fields.STEP, field, *([] if where is None else [where])]
    for done, piece in enumerate(store.slices):
        for batch in store.batches("steps", piece, columns, rows=max(1, _BATCH_VALUES // width)):
            rows = np.ones(len(batch), bool) if where is None else flags(batch.column(where))
            table = pa.Table.from_batches([batch]).filter(pa.array(rows))
            values = matrix(truth_values(table.column(field))) > TRUE_ABOVE
            own = np.array([place[i] for i in table.column(fields.EPISODE_ID).to_pylist()], int)
            steps = table.column(fields.STEP).to_numpy()
            seen[own] = True
            row, goal = np.nonzero(values)
            np.minimum.at(first, (own[row], goal), steps[row].astype(np.int32))
        if tell is not None:
            tell(done + 1, len(store.slices))
    first[first == _LATE] = NEVER
    first[~seen] = UNKNOWN
    takes = np.asarray(column_of, int)
    found = first[:, np.maximum(takes, 0)]
    found[:, takes < 0] = UNKNOWN
    return Successes(found, f"column {field}")


def successes_of_labels(
    labels: Labels, episode_ids: Sequence[str], lengths: Ints, goal_ids: Sequence[str]
) -> Successes:
    """Of labels. An episode fails only if every frame of it is labelled, and none of them yes.

    Args:
        labels: of any goals and episodes.
        episode_ids: E, of the store.
        lengths: (E,) frames of each.
        goal_ids: G.
    """
    episode_of = {episode_id: i for i, episode_id in enumerate(episode_ids)}
    goal_of = {goal_id: i for i, goal_id in enumerate(goal_ids)}
    shape = (len(episode_ids), len(goal_ids))
    first, count = np.full(shape, _LATE, np.int32), np.zeros(shape, np.int32)
    for episode_id, step, goal_id, label in labels:
        episode, goal = episode_of.get(episode_id, -1), goal_of.get(goal_id, -1)
        if episode < 0 or goal < 0 or step >= lengths[episode]:
            continue
        count[episode, goal] += 1
        if label:
            first[episode, goal] = min(first[episode, goal], step)
    whole = (count == lengths[:, None]) & (count > 0)
    first = np.where(first < _LATE, first, np.where(whole, NEVER, UNKNOWN)).astype(np.int32)
    return Successes(first, "labels")


def successes_of_scores(blocks: Iterable[Block], thresholds: Floats, episodes: int) -> Successes:
    """What a reward set says of itself: a score above the goal's threshold.

    Args:
        blocks: its scores.
        thresholds: (G,) beta; NaN: the goal has none, and nothing is known of it.
        episodes: E.
    """
    first = np.full((episodes, len(thresholds)), UNKNOWN, np.int32)
    for block in blocks:
        above = block.counted & (block.scores > thresholds)
        steps = np.where(above, block.step[:, None], _LATE)
        found = np.minimum.reduceat(steps, block.starts, axis=0).astype(np.int32)
        seen = np.logical_or.reduceat(block.counted, block.starts, axis=0)
        first[block.episode] = np.where(found < _LATE, found, np.where(seen, NEVER, UNKNOWN))
    first[:, np.isnan(thresholds)] = UNKNOWN
    return Successes(first, "the reward set itself")
