"""What is known, beside the scores of the store: by labels and by a column, against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relabel.evaluation import evidence
from relabel.evaluation.evidence import GoalFrames, of_field, of_labels
from schemas.errors import StoreError
from schemas.labels import Labels
from schemas.store import Store
from tests.relabel.goal_dataset_stores import How, Told, make_store

GOALS = 3
LENGTHS = (4, 1, 3, 5, 1)

Row = tuple[int, int, float, bool]  # place of the episode, step, score, truth


def told(seed: int = 0) -> list[Told]:
    rng = np.random.default_rng(seed)
    episodes = []
    for length in LENGTHS:
        scores = rng.random((length, GOALS)).astype(np.float32)
        scores[rng.random(length) < 0.2] = np.nan  # frames that are missing
        truth = rng.integers(0, 2, (length, GOALS))
        episodes.append(Told(scores > 0.5, scores=scores, truth=truth))
    return episodes


@pytest.fixture(name="episodes")
def _episodes() -> list[Told]:
    return told()


@pytest.fixture(name="store")
def _store(tmp_path: Path, episodes: list[Told]) -> Store:
    return make_store(tmp_path / "store", episodes)


def known(found: GoalFrames) -> list[Row]:
    columns = (found.episode, found.step, found.score, found.label)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def expected(
    episodes: list[Told], goal: int, wanted: set[int]
) -> list[tuple[int, int, float, bool]]:
    rows = []
    for place, episode in enumerate(episodes):
        assert episode.scores is not None
        assert episode.truth is not None
        for step, scores in enumerate(episode.scores):
            if place in wanted and not np.isnan(scores[goal]):
                rows.append((place, step, float(scores[goal]), bool(episode.truth[step, goal])))
    return rows


@pytest.mark.parametrize("block_bytes", [1, 90, 1 << 29])
def test_a_column_tells_of_every_frame_that_has_a_score(
    store: Store, episodes: list[Told], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(evidence, "_BATCH_SCORES", 7)
    seen: list[tuple[int, int]] = []
    found = of_field(store, "v1", "truth", tell=lambda *at: seen.append(at))
    for _ in range(2):  # any number of times
        frames = list(found)
        assert [one.goal_id for one in frames] == ["g0", "g1", "g2"] == list(found.goal_ids)
        for goal, one in enumerate(frames):
            assert known(one) == expected(episodes, goal, set(range(len(LENGTHS))))
    assert seen[-1][0] == seen[-1][1]


def test_frames_of_some_episodes_and_some_frames(tmp_path: Path, episodes: list[Told]) -> None:
    ended = [Told(t.rewards, True, scores=t.scores, truth=t.truth) for t in episodes]
    store = make_store(tmp_path / "ended", ended)
    found = of_field(store, "v1", "truth", episodes=["train/0/3", "train/0/0"])
    assert known(next(iter(found))) == expected(episodes, 0, {0, 3})
    lasts = of_field(store, "v1", "truth", where="is_terminal")
    every = expected(episodes, 1, set(range(len(LENGTHS))))
    assert known(list(lasts)[1]) == [row for row in every if row[1] == LENGTHS[row[0]] - 1]


def test_labels_find_their_scores(
    store: Store, episodes: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "_BATCH_SCORES", 7)
    every = [
        (f"train/0/{place}", step, f"g{goal}", label)
        for goal in range(GOALS)
        for place, step, _, label in expected(episodes, goal, set(range(len(LENGTHS))))
    ]
    labels = Labels.of_rows(np.random.default_rng(1).permutation(np.array(every, object))[::2])
    found = list(of_labels(store, "v1", labels))
    assert sum(map(len, found)) == len(labels)
    said = {tuple(row[:3]): row[3] for row in labels}
    for goal, one in enumerate(found):
        rows = expected(episodes, goal, set(range(len(LENGTHS))))
        wanted = [row for row in rows if (f"train/0/{row[0]}", row[1], f"g{goal}") in said]
        assert sorted(known(one)) == wanted


def test_labels_that_do_not_fit_are_set_aside_and_told(store: Store, episodes: list[Told]) -> None:
    assert episodes[0].scores is not None
    gone = [
        (place, step)
        for place, episode in enumerate(episodes)
        for step in range(episode.length)
        if np.isnan(episode.scores[step, 0])  # type: ignore[index]
    ]
    assert gone
    labels = Labels.of_rows(
        [
            ("train/0/1", 0, "g9", True),
            ("train/0/77", 0, "g0", True),
            ("elsewhere", 0, "g0", True),
            ("train/0/1", 12, "g0", True),
            (f"train/0/{gone[0][0]}", gone[0][1], "g0", False),
            ("train/0/3", 1, "g1", True),
            ("train/0/3", 1, "g1", False),
        ]
    )
    found = of_labels(store, "v1", labels)
    assert [len(one) for one in found] == [0, 0, 0]
    assert [note.split(":")[0] for note in found.notes] == [
        "1 labels of goals that the reward set does not have",
        "2 labels of episodes that the store does not have",
        "2 labels of frames without a score, or that are not there",
        "1 frames labelled both yes and no",
    ]


def test_no_labels_at_all(store: Store) -> None:
    assert [len(one) for one in of_labels(store, "v1", Labels.of_rows([]))] == [0, 0, 0]


def test_what_cannot_be_evidence_is_said(
    tmp_path: Path, store: Store, episodes: list[Told]
) -> None:
    with pytest.raises(StoreError, match="truth column 'nothing'"):
        of_field(store, "v1", "nothing")
    with pytest.raises(StoreError, match="one bool per frame; those that would fit: is_terminal"):
        of_field(store, "v1", "truth", where="truth")
    with pytest.raises(StoreError, match="has no episode train/0/9"):
        of_field(store, "v1", "truth", episodes=["train/0/9"])
    bare = make_store(tmp_path / "bare", episodes, How(scores=False))
    for call in (
        lambda: of_field(bare, "v1", "truth"),
        lambda: of_labels(bare, "v1", Labels.of_rows([])),
    ):
        with pytest.raises(StoreError, match="expected scores"):
            call()


def test_a_column_may_belong_to_goals_of_another_order(store: Store, episodes: list[Told]) -> None:
    found = list(of_field(store, "v1", "truth", goals=["g2", "other", "g0"]))
    scores = [np.concatenate([e.scores[:, goal] for e in episodes]) for goal in range(GOALS)]  # type: ignore[index]
    truths = [np.concatenate([e.truth[:, column] for e in episodes]) for column in range(GOALS)]  # type: ignore[index]
    for goal, column in ((0, 2), (2, 0)):
        there = ~np.isnan(scores[goal])
        np.testing.assert_array_equal(found[goal].score, scores[goal][there])
        np.testing.assert_array_equal(found[goal].label, truths[column][there] > 0)
    assert len(found[1]) == 0  # the column tells nothing of it
    with pytest.raises(StoreError, match="2 per frame"):
        of_field(store, "v1", "truth", goals=["g0", "g1"])
