"""The frames that may be asked about: against a whole table in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relabel.evaluation import candidates
from relabel.evaluation.candidates import (
    Candidates,
    answers_of,
    labelled_frames,
    read_candidates,
)
from relabel.evaluation.evidence import apart, of_labels
from schemas.labels import Labels
from schemas.store import Store
from tests.relabel.goal_dataset_stores import How, Told, make_store

LENGTHS = (40, 1, 30, 25, 1, 60)
GOALS = 3


def told(lengths: tuple[int, ...] = LENGTHS, goals: int = GOALS, seed: int = 0) -> list[Told]:
    rng = np.random.default_rng(seed)
    episodes = []
    for length in lengths:
        scores = rng.random((length, goals)).astype(np.float32)
        scores[rng.random((length, goals)) < 0.1] = np.nan
        episodes.append(Told(np.nan_to_num(scores) > 0.5, scores=scores))
    return episodes


@pytest.fixture(name="store")
def _store(tmp_path: Path, row_groups_of_three: None) -> Store:
    return make_store(tmp_path / "store", told())


def whole() -> np.ndarray:
    return np.concatenate([episode.scores for episode in told()])  # type: ignore[misc]


def keys() -> np.ndarray:
    pairs = [(e, step) for e, length in enumerate(LENGTHS) for step in range(length)]
    return np.array([(episode << 32) + step for episode, step in pairs])


def read(store: Store, **how: object) -> Candidates:
    return read_candidates(store, store.rewards("v1"), range(GOALS), **how)  # type: ignore[arg-type]


def test_small_stores_are_candidates_whole(store: Store) -> None:
    found = read(store)
    assert found.keys.tolist() == sorted(keys().tolist())
    for goal in range(GOALS):
        scores = whole()[:, goal]
        known = np.isfinite(scores)
        pool = found.pool(goal)
        assert pool.count == known.sum() == len(pool)
        assert pool.score.tolist() == sorted(scores[known].tolist(), reverse=True)
        by_key = dict(zip(keys().tolist(), scores.tolist(), strict=True))
        assert [by_key[k] for k in found.keys[pool.frame].tolist()] == pool.score.tolist()
        assert pool.rank.tolist() == list(range(1, len(pool) + 1))
        assert pool.episode.tolist() == apart(found.keys[pool.frame])[0].tolist()


def test_large_stores_are_sampled_and_their_top_is_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "SAMPLE", 60)
    monkeypatch.setattr(candidates, "TOP", 7)
    monkeypatch.setattr(candidates, "_BATCH_SCORES", 4 * GOALS)
    found = read(store, seed=2)
    assert len(found.sample) == 60
    for goal in range(GOALS):
        scores = whole()[:, goal]
        ordered = np.sort(scores[np.isfinite(scores)])[::-1]
        pool = found.pool(goal)
        assert pool.score[:7].tolist() == ordered[:7].tolist()
        assert pool.rank[:7].tolist() == [1, 2, 3, 4, 5, 6, 7]
        true_rank = np.array([(ordered >= score).sum() for score in pool.score])
        assert (np.diff(pool.rank) >= 0).all()
        assert np.abs(pool.rank - true_rank).max() < 0.25 * len(ordered)
        assert pool.rank[-1] <= pool.count == len(ordered)
        assert len(set(pool.frame.tolist())) == len(pool)


def test_samples_are_those_of_their_seed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "SAMPLE", 20)
    samples = [read(store, seed=seed).sample.tolist() for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]


def test_some_goals_alone(store: Store) -> None:
    found = read_candidates(store, store.rewards("v1"), [2])
    assert found.pool(0).score.tolist() == read(store).pool(2).score.tolist()


def test_frames_to_draw_from_are_those_with_a_score(store: Store) -> None:
    pool = read(store).any_pool(1)
    assert len(pool) == np.isfinite(whole()[:, 1]).sum()


def test_a_store_without_scores_still_has_frames(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", told(), How(scores=False))
    found = read(store, scores=False)
    assert len(found.any_pool(0)) == sum(LENGTHS)
    labels = Labels.of_rows([("train/0/2", 4, "g1", True), ("gone", 0, "g1", True)])
    ids = [f"train/0/{i}" for i in range(len(LENGTHS))]
    none, own = labelled_frames(labels, ids, ["g0", "g1"], found)
    assert len(none.frame) == 0
    assert found.keys[own.frame[own.frame >= 0]].tolist() == [(2 << 32) + 4]


def test_earlier_labels_become_answers(store: Store) -> None:
    scores = whole()
    row = next(r for r in range(41, 71) if np.isfinite(scores[r]).all())  # of the third episode
    step = row - LENGTHS[0] - LENGTHS[1]
    labels = Labels.of_rows(
        [("train/0/2", step, "g1", True), ("nowhere", 0, "g1", True), ("train/0/0", 0, "no", True)]
    )
    found = read(store)
    answers = answers_of(of_labels(store, "v1", labels), [1, 2], found)
    assert [len(own.label) for own in answers] == [1, 0]
    assert found.keys[answers[0].frame].tolist() == [(2 << 32) + step]
    assert answers[0].score.tolist() == [scores[row, 1]]


def test_progress_is_told(store: Store) -> None:
    steps: list[tuple[int, int]] = []
    read(store, tell=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_all_scores_missing(tmp_path: Path) -> None:
    nothing = Told(np.zeros((3, 2)), scores=np.full((3, 2), np.nan, np.float32))
    store = make_store(tmp_path / "store", [nothing])
    found = read_candidates(store, store.rewards("v1"), [0, 1])
    assert [len(found.pool(goal)) for goal in (0, 1)] == [0, 0]
    assert len(found.any_pool(0)) == 0


def test_many_goals(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", told((5, 7), 1000))
    found = read_candidates(store, store.rewards("v1"), range(1000))
    known = np.isfinite(np.concatenate([e.scores for e in told((5, 7), 1000)]))  # type: ignore[misc]
    assert [len(found.pool(goal)) for goal in range(1000)] == known.sum(axis=0).tolist()
