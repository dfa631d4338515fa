"""Whether scores follow instructions, on scores of which that is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from relabel.evaluation.claims import bounds_of, claim_blocks, places_with_frames
from relabel.evaluation.commanded import commanded_goals
from relabel.evaluation.instructed import BestScores, Instructed
from schemas.store import Store
from tests.relabel.goal_dataset_stores import TEXTS, Told, make_store

GOALS = 4


def found(store: Store) -> Instructed | None:
    best = BestScores(commanded_goals(store, "v1"), places_with_frames(store))
    for block in claim_blocks(store, "v1", bounds_of(store, "v1")):
        best.add(block)
    return best.result()


def store_of(path: Path, scores: list[np.ndarray], told: list[int | None]) -> Store:
    episodes = [
        Told(own > 0.5, scores=own, language=None if goal is None else TEXTS[goal])
        for own, goal in zip(scores, told, strict=True)
    ]
    return make_store(path, episodes)


@pytest.mark.parametrize("seed", range(3))
def test_the_lift_is_a_mean_rank(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = [rng.integers(0, 4, (rng.integers(1, 5), GOALS)) / 4 for _ in range(15)]
    told = [None if place == 3 else int(rng.integers(GOALS)) for place in range(15)]
    result = found(store_of(tmp_path / "s", scores, told))
    assert result is not None
    best = {p: own.max(axis=0) for p, own in enumerate(scores) if told[p] is not None}

    def rank(place: int, goal: int) -> float:
        others = [best[other][goal] for other in best if other != place]
        mine = best[place][goal]
        return float(np.mean([(other < mine) + (other == mine) / 2 for other in others]))

    assert result.lift == pytest.approx(np.mean([rank(p, told[p]) for p in best]))  # type: ignore[arg-type]
    assert (result.episodes, result.instructions) == (14, len({told[p] for p in best}))
    used = sorted({goal for goal in told if goal is not None})
    lifts = [
        np.mean([rank(p, dict(zip(used, other, strict=True))[told[p]]) for p in best])  # type: ignore[index]
        for other in itertools.permutations(used)
    ]
    as_good = np.mean(np.array(lifts) >= result.lift - 1e-9)
    assert result.p == pytest.approx(as_good, abs=0.06)


def test_scores_that_follow_and_scores_that_do_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    told = [place % GOALS for place in range(40)]
    noise = [rng.random((3, GOALS)) / 2 for _ in told]
    following = [own + np.eye(GOALS)[goal] / 2 for own, goal in zip(noise, told, strict=True)]
    follows, ignores = (
        found(store_of(tmp_path / name, list(own), list(told)))
        for name, own in (("follows", following), ("ignores", noise))
    )
    assert follows is not None
    assert ignores is not None
    assert follows.lift > 0.85
    assert follows.p < 0.07  # of 24 assignments, one
    assert abs(ignores.lift - 0.5) < 0.1


def test_too_little_is_said(tmp_path: Path) -> None:
    scores = [np.ones((2, GOALS)), np.zeros((1, GOALS))]
    assert found(store_of(tmp_path / "none", scores, [None, None])) is None
    assert found(store_of(tmp_path / "one", scores, [0, 0])) is None
    missing = np.full((2, GOALS), np.nan)
    assert found(store_of(tmp_path / "missing", [missing, missing], [0, 1])) is None
