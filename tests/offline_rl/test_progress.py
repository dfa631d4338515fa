"""Weights by progress, against a walk over trajectories and the scores of their frames."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline_rl.algorithms import ALGORITHMS
from offline_rl.dataset import GoalDataset
from offline_rl.progress import ScoreProgress, progress_weights
from schemas.enums import Split, Timing
from schemas.errors import AlgorithmError, StoreError
from schemas.store import Store
from schemas.tables import matrix
from tests.offline_rl import playground
from tests.offline_rl.runs import config_of, modules_of, run


def walked(store: Store, dataset: GoalDataset, horizon: int, scores: dict[Any, Any]) -> list[float]:
    """Row after row, transition after transition: how much higher the goal's score is later."""
    lengths = {
        r["episode_id"]: r["length"]
        for r in store.read("episodes", ["episode_id", "length"]).to_pylist()
    }
    found = []
    for row in dataset.rows(Split.TRAIN).to_pylist():
        episode, goal = row["episode_id"], row["goal"]
        end = min(row["stop"], lengths[episode] - 1)
        for t in range(row["start"], row["stop"]):
            later = min(t + horizon, end)
            found.append(float(scores[episode, later][goal]) - float(scores[episode, t][goal]))
    return found


def by_hand(progress: list[float], kappa: float) -> list[float]:
    """Equations 8 and 9 of the paper, one by one."""
    mean, std = statistics.fmean(progress), statistics.pstdev(progress)
    weights = []
    for p in progress:
        soft = min(max((p - (mean - 2 * std)) / (4 * std + 1e-8), 0.0), 1.0)
        weights.append(1.0 if p > kappa else soft if p >= 0 else 0.0)
    return weights


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("timing", Timing)
def test_weights_are_those_of_the_scores(
    timing: Timing, horizon: int, every_store: dict[str, Path]
) -> None:
    for folder in every_store.values():
        store = Store.open(str(folder))
        assert len(store.slices) > 1
        dataset = GoalDataset(store, timing)
        table = store.read(f"rewards/{timing}", ["episode_id", "step", "score"])
        keys = zip(*(table.column(n).to_pylist() for n in ("episode_id", "step")), strict=True)
        scores = dict(zip(keys, matrix(table.column("score")), strict=True))
        progress = walked(store, dataset, horizon, scores)
        kappa = float(np.median([p for p in progress if p > 0]))
        view = dataset.view(observations="observation.state")
        replay = dataset.replay(Split.TRAIN, view, progress=ScoreProgress(horizon, kappa))
        weights = replay.trajectories.rewards
        np.testing.assert_allclose(weights, by_hand(progress, kappa), rtol=1e-5)
        assert 0 < (weights == 0).mean() < 1
        assert ((weights > 0) & (weights < 1)).any()
        batch = replay.sample_transition_batch(50)
        assert set(np.unique(batch.rewards)) <= set(np.unique(weights))


def test_the_truth_makes_progress_too(playground_store: Path) -> None:
    store = Store.open(str(playground_store))
    dataset = GoalDataset(store, "gc1.true")
    table = store.read("steps", ["episode_id", "step", "truth"])
    keys = zip(*(table.column(n).to_pylist() for n in ("episode_id", "step")), strict=True)
    truth = [np.array(v, np.float32) for v in table.column("truth").to_pylist()]
    progress = walked(store, dataset, 2, dict(zip(keys, truth, strict=True)))
    view = dataset.view(observations="observation.state")
    replay = dataset.replay(Split.TRAIN, view, progress=ScoreProgress(2, 0.01))
    np.testing.assert_allclose(replay.trajectories.rewards, by_hand(progress, 0.01), rtol=1e-5)


def test_figures_are_those_of_what_is_drawn() -> None:
    progress = np.array([0.5, -0.5, 0.1, 0.1, 3.0])
    drawn = np.array([1.0, 2.0, 1.0, 1.0, 0.0])
    expected = by_hand([0.5, -0.5, -0.5, 0.1, 0.1], 0.2)
    found = progress_weights(progress, drawn, 0.2)
    np.testing.assert_allclose(found, [expected[0], 0, expected[3], expected[4], 1.0], rtol=1e-5)


def test_equal_progress_is_no_reason_to_fail() -> None:
    assert progress_weights(np.zeros(3), np.ones(3), 0.01).tolist() == [0.0, 0.0, 0.0]


def test_without_scores_there_is_no_progress(own_store: Path) -> None:
    playground.score(own_store, "bare", scores=False)
    playground.goal_dataset(own_store, "bare", "bare")
    dataset = GoalDataset(own_store, "bare")
    view = dataset.view(observations="observation.state")
    with pytest.raises(StoreError, match=r"rewards/bare has none; score again without --no-scores"):
        dataset.replay(Split.TRAIN, view, progress=ScoreProgress(1, 0.0))


def test_settings_of_progress_reach_the_weights(playground_store: Path, tmp_path: Path) -> None:
    """And what is no reward is told."""
    near, far = (
        run(
            config_of(
                playground_store,
                "discrete-ra-bc",
                5,
                settings={"hidden_units": [16], "batch_size": 8, "horizon": horizon},
            ),
            tmp_path / str(horizon),
        )
        for horizon in (1, 4)
    )
    one, other = modules_of(near), modules_of(far)
    assert any((one[name] != other[name]).any() for name in one)
    assert not ALGORITHMS["ra-bc"].clones
    with pytest.raises(AlgorithmError, match=re.escape("ra-bc learns from rewards; choose bc")):
        run(config_of(playground_store, "ra-bc", 1, learn_from="none"), tmp_path / "none")
