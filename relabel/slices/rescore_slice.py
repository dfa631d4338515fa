"""`rescore_slice`: stored scores of one slice become other scores and rewards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from relabel.rewards.scorer import Rewarder
from relabel.slices.profile import Profile
from relabel.slices.score_slice import Block, block_rows, episode_blocks, write_rewards
from schemas import fields
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import Array, matrix


def rescore_slice(
    piece: Slice,
    *,
    store: Store,
    rewards: RewardManifest,
    of: str,
    rewarder: Rewarder,
    profile: Profile | None = None,
) -> Slice:
    """Writes one slice of a reward set made of another one's scores, unless it is committed.

    Memory is that of some blocks of episodes, however many frames the slice has.

    Args:
        piece: the slice.
        store: read from and written to.
        rewards: what the table is to be.
        of: name of the complete reward set whose scores are taken.
        rewarder: what becomes of them.
        profile: told where the time goes.

    Returns:
        The slice with the file of its rewards.
    """
    if done := store.committed(rewards, piece):
        return piece.with_files(*done)
    profile = Profile() if profile is None else profile
    with profile.stage("other"):
        blocks = _rescored(store, piece, f"rewards/{of}", rewarder, profile)
        return write_rewards(piece, store, rewards, blocks, profile)


def _rescored(
    store: Store, piece: Slice, table: str, rewarder: Rewarder, profile: Profile
) -> Iterator[Block]:
    keys = store.read_slices(table, [piece], [fields.EPISODE_ID, fields.STEP])
    rows = block_rows(rewarder.goals)
    stored = _Rows(store, table, piece, rows)
    for start, lengths in episode_blocks(keys, rows):
        with profile.stage("score"):
            scores = rewarder.function.rescored(stored.take(int(lengths.sum())))
            reward = rewarder.rewards(scores, lengths)
        yield keys.slice(start, len(scores)), scores, reward


class _Rows:
    """The scores of a slice, as many rows at a time as are asked for."""

    def __init__(self, store: Store, table: str, piece: Slice, rows: int) -> None:
        self._batches = store.batches(table, piece, [fields.SCORE], rows=rows)
        self._left: list[Array] = []

    def take(self, count: int) -> Array:
        """(count, G) the next rows."""
        while sum(map(len, self._left)) < count:
            batch: pa.RecordBatch = next(self._batches)
            self._left.append(matrix(batch.column(fields.SCORE)))
        rows = np.concatenate(self._left)
        self._left = [rows[count:]]
        return rows[:count].copy()
