"""A goal dataset opened by path and asked in plain words gives the batches of the full forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm_relabel
from offline_rl.dataset import GoalDataset, GoalEncoding, View
from schemas.enums import Split
from schemas.errors import AlgorithmError, RelabelError, RunError, StoreError
from schemas.store import Store

STATE = "observation.state"
BATCH = 64


def batches(replay: Any) -> list[np.ndarray]:
    batch = replay.sample_transition_batch(BATCH)
    return [batch.observations, batch.actions, batch.rewards, batch.next_observations]


@pytest.mark.parametrize("split", ["train", "validation", Split.VALIDATION])
@pytest.mark.parametrize(
    ("view", "choices"),
    [
        (View((STATE,)), {"observations": STATE}),
        (
            View((STATE,), GoalEncoding.ONE_HOT, {"hindsight": 0.5}, 0.5),
            {
                "observations": [STATE],
                "goals": "one-hot",
                "weights": {"hindsight": 0.5},
                "positive_share": 0.5,
            },
        ),
        (View((STATE,), actions=("action",)), {"observations": (STATE,), "actions": ["action"]}),
    ],
)
def test_plain_words_mean_the_full_forms(
    playground_store: Path, split: str, view: View, choices: dict[str, Any]
) -> None:
    opened = GoalDataset(Store.open(str(playground_store)), "gc1")
    expected = batches(opened.replay(Split(split), view, seed=3))
    for dataset in (
        vlm_relabel.GoalDataset(playground_store, "gc1"),
        vlm_relabel.GoalDataset(str(playground_store), "gc1", trust=True),
    ):
        assert dataset.view(**choices) == view
        found = batches(dataset.replay(split=split, seed=3, **choices))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_defaults_are_those_of_train(playground_store: Path, tmp_path: Path) -> None:
    dataset = vlm_relabel.GoalDataset(playground_store, "gc1")
    view = dataset.view()
    assert view.goals is GoalEncoding.TEXT
    assert STATE in view.observations
    widths = dict(dataset.widths(view.observations, view.goals))
    found = batches(dataset.replay(cache=tmp_path))
    assert found[0].shape == (BATCH, sum(widths.values()))
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"split": "all"}, RunError, "--split: expected one of train, validation, test, got 'all'"),
        ({"goals": "image"}, RunError, "--goal-encoding: expected one of text, one-hot, none"),
        ({"weights": {"won": 1}}, AlgorithmError, "unknown won; the known ones are achieved"),
        ({"weights": {"failed": -1}}, AlgorithmError, "failed=-1: expected a number of at least 0"),
        ({"view": View((STATE,)), "goals": "text"}, RunError, "a view or goals, got both"),
        ({"observations": "observation.sate"}, StoreError, "observation.sate"),
    ],
)
def test_what_is_not_there_is_said(
    playground_store: Path, asked: dict[str, Any], kind: type[RelabelError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        vlm_relabel.GoalDataset(playground_store, "gc1").replay(**asked)
