"""Which transitions count as positive, against a walk over episodes, rows and frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline_rl.dataset import GoalDataset, View
from offline_rl.positives import reached
from schemas.enums import Split, Timing
from schemas.store import Store
from schemas.tables import matrix
from tests.offline_rl import playground

STATE = "observation.state"


def walked(store: Store, dataset: GoalDataset) -> list[bool]:
    """Row after row, transition after transition: is the next frame's score above 0.5?"""
    table = store.read("rewards/lift", ["episode_id", "step", "score"])
    keys = zip(*(table.column(name).to_pylist() for name in ("episode_id", "step")), strict=True)
    scores = dict(zip(keys, matrix(table.column("score")), strict=True))
    return [
        bool(scores[row["episode_id"], t + 1][row["goal"]] > np.float32(0.5))
        for row in dataset.table.to_pylist()
        for t in range(row["start"], row["stop"])
    ]


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("timing", list(Timing))
def test_a_potential_difference_is_positive_by_its_score(
    own_store: Path, end: bool, timing: Timing
) -> None:
    playground.score(own_store, "lift", reward="potential-difference/probability", timing=timing)
    options = playground.ALL.model_copy(update={"end_on_success": end})
    playground.goal_dataset(own_store, "lift", "lift", options)
    store = Store.open(str(own_store))
    assert len(store.slices) > 1
    dataset = GoalDataset(store, "lift")
    view = View((STATE,), positive_share=1.0)
    replay = dataset.replay(Split.TRAIN, view)
    expected = walked(store, dataset)
    found = reached(store, dataset.manifest, replay.trajectories)
    assert found.tolist() == expected
    rewards = replay.trajectories.rewards
    assert (rewards[found] < 0.5).any()  # it stayed there: nothing was added
    if not end:
        assert found.sum() > sum(dataset.table.column("success").to_pylist())
    row, step = replay._draw(500)
    assert found[replay.trajectories.offset[row] + step].all()
