"""The frames of a goal dataset as goals, in the space of its text embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from offline_rl.frames import EMBEDDING_PREFIX, Floats, FrameColumns, FrameTable, whole_names
from offline_rl.hindsight import AchievedGoals, GoalMix
from offline_rl.outcomes import Trajectories
from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.goal_basis import Basis
from schemas.goal_datasets import GoalDatasetManifest
from schemas.store import Store


def achieved_goals(
    store: Store,
    dataset: GoalDatasetManifest,
    basis: Basis,
    rows: pa.Table,
    trajectories: Trajectories,
    frames: FrameTable,
    mix: GoalMix,
    cache: Path | None,
) -> AchievedGoals:
    """What goals in hindsight need to know of some trajectories.

    Args:
        store: of the dataset.
        dataset: its manifest.
        basis: what its rewards come from.
        rows: the trajectories as stored, one per row.
        trajectories: the same, over the frames.
        frames: what the agent sees.
        mix: where goals come from.
        cache: folder of memory-mapped embeddings; None keeps them in memory.

    Raises:
        StoreError: frames have no embedding beside those of the texts, or rewards that are not of
            two values.
    """
    where = f"--goal-mix: {store.location}/{dataset.table}"
    if not basis.binary:
        raise StoreError(
            f"{where} has rewards of {basis.name} that are not 0 and 1, so there is none for a "
            "frame that was reached; take a reward set with a threshold"
        )
    embeddings, finite = _embeddings(store, basis, frames, where, cache)
    ids = rows.column(fields.EPISODE_ID)
    last = frames.ends(ids)
    missing = np.append(0, np.cumsum(~finite))
    if (bad := missing[last + 1] > missing[trajectories.first]).any():
        first = ids[int(np.flatnonzero(bad)[0])].as_py()
        raise StoreError(
            f"{where}: frames of {bad.sum()} trajectories have no embedding, since they could not "
            f"be decoded (such as of episode {first}); build the dataset again without them: "
            f"--episode '!{first}'"
        )
    step_reward = float(dataset.options.step_reward)
    return AchievedGoals(
        embeddings=embeddings,
        last=last,
        lag=int(basis.timing is Timing.NEXT_FRAME),
        reached=1.0 + step_reward,
        missed=step_reward,
        mix=mix,
    )


def _embeddings(
    store: Store, basis: Basis, frames: FrameTable, where: str, cache: Path | None
) -> tuple[Floats, np.ndarray]:
    """(F, E) embeddings of the frames by the encoder of the texts, and (F,) whether each is there.

    What the agent sees anyway is not read again.
    """
    tables = () if basis.rewards is None else basis.rewards.embeddings
    if len(tables) != 1:
        made = "without a reward set" if not tables else f"of {len(tables)} cameras"
        raise StoreError(
            f"{where} was made {made}, so a frame has no embedding that could stand in the place "
            "of a text's; take a reward set of one camera"
        )
    name = EMBEDDING_PREFIX + tables[0]
    seen = whole_names(store, frames.columns)
    if name in seen:
        first = sum(FrameColumns(store, seen[: seen.index(name)]).widths) if seen[0] != name else 0
        width = FrameColumns(store, [name]).widths[0]
        return frames.values[:, first : first + width], frames.finite
    table = FrameTable(FrameColumns(store, [name]), store, cache)
    return table.values, table.finite
