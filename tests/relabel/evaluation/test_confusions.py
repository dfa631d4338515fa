"""The confusion of goals and episodes against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relabel.evaluation import claims, confusions
from relabel.evaluation.confusions import Confusion, confusion
from relabel.evaluation.evidence import of_field, of_labels
from schemas.enums import Timing
from schemas.labels import Labels
from tests.relabel.goal_dataset_stores import TEXTS, How, Told, make_store

LENGTHS = (4, 1, 3, 5, 1, 2)
GOALS = 3

Known = Callable[[int, int, int], bool | None]  # of episode, step, goal: whether it holds


def told(seed: int, *, languages: bool = False, goals: int = GOALS) -> list[Told]:
    rng = np.random.default_rng(seed)
    episodes = []
    for place, length in enumerate(LENGTHS):
        scores = rng.random((length, goals)).astype(np.float32)
        scores[rng.random(length) < 0.2] = np.nan  # frames that are missing
        truth = rng.integers(0, 2, (length, goals)) * rng.integers(0, 2, goals)
        said = TEXTS[place % goals].upper() if languages and place != 3 else None
        rewards = np.where(np.isnan(scores), np.nan, scores > 0.5)
        episodes.append(Told(rewards, scores=scores, truth=truth, language=said))
    return episodes


def expected(
    episodes: list[Told], of: list[set[int]], truth: Known | None, above: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes, share and rise by loops.

    Args:
        episodes: all.
        of: the episodes of each goal.
        truth: None: all frames count.
        above: what a goal claims a frame above.
    """
    goals = len(of)
    counts = np.zeros((3, goals, goals))
    for i in range(goals):
        for j in range(goals):
            for place in of[j]:
                scores = episodes[place].scores
                assert scores is not None
                frames = [
                    float(score[i])
                    for step, score in enumerate(scores)
                    if not np.isnan(score[i])
                    and (truth is None or truth(place, step, i) is (i == j))
                ]
                seen = any(score > above for score in frames)
                counts[0, i, j] += bool(frames)
                counts[1, i, j] += seen
                counts[2, i, j] += seen and not frames[0] > above
    with np.errstate(invalid="ignore"):
        return counts[0], counts[1] / counts[0], counts[2] / counts[0]


def check(found: Confusion, wanted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    assert np.array_equal(found.episodes, wanted[0])
    np.testing.assert_allclose(found.share, wanted[1], rtol=1e-6)
    np.testing.assert_allclose(found.rise, wanted[2], rtol=1e-6)


@pytest.fixture(name="small", autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confusions, "_CHUNK", 2)
    monkeypatch.setattr(claims, "_BLOCK_VALUES", 7)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("above", [None, 0.8])
def test_with_a_column_of_truth(tmp_path: Path, seed: int, above: float | None) -> None:
    episodes = told(seed, languages=True)
    store = make_store(tmp_path / "store", episodes)

    def truth(place: int, step: int, goal: int) -> bool:
        return bool(episodes[place].truth[step, goal])  # type: ignore[index]

    of = [
        {
            place
            for place, one in enumerate(episodes)
            for step in range(one.length)
            if truth(place, step, goal) and not np.isnan(one.scores[step, goal])  # type: ignore[index]
        }
        for goal in range(GOALS)
    ]
    found = confusion(store, "v1", of_field(store, "v1", "truth"), above=above)
    assert found.basis == "truth"
    check(found, expected(episodes, of, truth, above or 0.5))


def test_with_labels_of_some_frames(tmp_path: Path) -> None:
    episodes = told(1)
    store = make_store(tmp_path / "store", episodes)
    rng = np.random.default_rng(0)
    said = {
        (place, step, goal): bool(rng.integers(2))
        for place, length in enumerate(LENGTHS)
        for step in range(length)
        for goal in range(GOALS)
        if rng.random() < 0.6 and not np.isnan(episodes[place].scores[step, goal])  # type: ignore[index]
    }
    rows = [(f"train/0/{p}", s, f"g{g}", label) for (p, s, g), label in said.items()]
    of = [{p for (p, _, g), label in said.items() if label and g == goal} for goal in range(GOALS)]
    found = confusion(store, "v1", of_labels(store, "v1", Labels.of_rows(rows)))
    check(found, expected(episodes, of, lambda *at: said.get(at), 0.5))


@pytest.mark.parametrize("seed", range(3))
def test_without_truth_by_instructions_or_by_the_rewards_themselves(
    tmp_path: Path, seed: int
) -> None:
    for languages in (True, False):
        episodes = told(seed, languages=languages)
        store = make_store(tmp_path / f"store{languages}", episodes)
        found = confusion(store, "v1")
        assert found.basis == ("commands" if languages else "claims")
        of: list[set[int]] = [set() for _ in range(GOALS)]
        for place, one in enumerate(episodes):
            for goal in range(GOALS):
                claimed = np.nan_to_num(one.scores[:, goal]).max() > 0.5  # type: ignore[index]
                if place != 3 and place % GOALS == goal if languages else claimed:
                    of[goal].add(place)
        check(found, expected(episodes, of, None, 0.5))


@pytest.mark.parametrize("timing", list(Timing))
def test_without_scores_the_rewards_tell(tmp_path: Path, timing: Timing) -> None:
    episodes = told(5)
    store = make_store(tmp_path / "store", episodes, How(scores=False, timing=timing))
    seen = []
    for one in episodes:
        scores = np.array(one.rewards, np.float32)
        if timing is Timing.NEXT_FRAME:  # of the action before
            scores = np.concatenate([np.full((1, GOALS), np.nan), scores[:-1]])
        seen.append(Told(one.rewards, scores=scores))
    of = [
        {p for p, one in enumerate(seen) if np.nan_to_num(one.scores[:, goal]).max() > 0.5}  # type: ignore[index]
        for goal in range(GOALS)
    ]
    check(confusion(store, "v1"), expected(seen, of, None, 0.5))


def test_dense_rewards_claim_their_highest_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    scores = [rng.normal(0.2, 0.05, (50, 2)).astype(np.float32) for _ in range(4)]
    store = make_store(
        tmp_path / "store",
        [Told(one, scores=one) for one in scores],
        How(binary=False, threshold=None, function={"name": "cosine"}),
    )
    bounds = claims.bounds_of(store, "v1")
    every = np.concatenate(scores)
    assert ((every > bounds.above).mean(axis=0) == 0.05).all()
    assert "5%" in bounds.how
    assert claims.bounds_of(store, "v1", 0.3).above.tolist() == [np.float32(0.3)] * 2


def test_odd_stores(tmp_path: Path) -> None:
    missing = np.full((2, 1), np.nan, np.float32)
    store = make_store(tmp_path / "one", [Told(missing, scores=missing)])
    found = confusion(store, "v1")
    assert found.episodes.tolist() == [[0]]
    assert np.isnan(found.share).all()
    assert found.worst() == []
    labels = Labels.of_rows([("train/0/0", 0, "g0", True)])  # of a frame without a score
    assert not confusion(store, "v1", of_labels(store, "v1", labels)).episodes.any()


def test_the_worst_pairs_come_first(tmp_path: Path) -> None:
    on, off = np.ones((2, 1)), np.zeros((2, 1))
    episodes = [
        Told(np.hstack(columns), language=TEXTS[goal])
        for goal, columns in [(0, (on, on, off)), (0, (on, off, off)), (1, (off, on, on))]
    ]
    found = confusion(make_store(tmp_path / "s", episodes), "v1")
    assert found.worst() == [(2, 1), (1, 0)]
    assert found.worst(2) == [(1, 0)]
