"""Which transitions of some trajectories reach their goal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offline_rl.outcomes import Trajectories
from offline_rl.scores import stored_scores
from schemas.goal_basis import basis
from schemas.goal_datasets import GoalDatasetManifest
from schemas.store import Store

Bools = NDArray[np.bool_]


def reached(store: Store, dataset: GoalDatasetManifest, rows: Trajectories) -> Bools:
    """Whether each transition is a success, as `build-goals` understands it.

    Of a potential difference the score of the next frame decides, which is read from the store:
    what an action added says nothing about where it led.

    Args:
        store: of the dataset.
        dataset: its manifest.
        rows: trajectories of it, over the frames of the whole store.

    Returns:
        (N,) for the transitions, trajectory after trajectory.
    """
    made_of = basis(store, dataset)
    if made_of.binary:
        return rows.rewards >= 1 + dataset.options.step_reward
    above = np.float32(made_of.above)
    if not made_of.difference:
        return rows.rewards > above
    frame = np.repeat(rows.first, rows.count) + rows.within + 1
    scores = stored_scores(store, made_of, frame, np.repeat(rows.goal, rows.count))
    found: Bools = scores > above
    return found
