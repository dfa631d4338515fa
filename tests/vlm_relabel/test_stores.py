"""A store as arrays, against pandas and against the formula, over borders of row groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vlm_relabel
from relabel.testing import PixelMeanEncoder
from schemas.errors import StoreError
from schemas.manifests import embedding_name
from tests import small

FRAMES, GOALS = sum(small.LENGTHS), 3
IDS = ("train/0/0", "train/0/1", "train/0/2", "train/1/0", "train/1/1")
FRONT = embedding_name(PixelMeanEncoder().spec, small.FRONT)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two reward sets, one of them without scores; row groups of 3 rows."""
    folder = tmp_path_factory.mktemp("front")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("schemas.slice_writer.ROW_GROUP_ROWS", 3)
        store = small.build_store(folder / "my.store", small.write_source(folder / "source"))
        small.score(store, "cosine", (small.FRONT,), scores=False, reward="cosine")
    return folder / "my.store"


@pytest.fixture
def store(location: Path) -> vlm_relabel.OpenedStore:
    return vlm_relabel.open_store(location)


def by_pandas(location: Path, table: str, column: str) -> np.ndarray:
    """(T, N) float32, the column as another reader sees it."""
    files = sorted((location / table).glob("slice-*.parquet"))
    rows = pd.concat([pd.read_parquet(file) for file in files])[column]
    return np.array([[np.nan if v is None else v for v in row] for row in rows], np.float32)


@pytest.mark.parametrize("name", ["v1", "cosine"])
def test_rewards_are_what_the_files_hold(
    store: vlm_relabel.OpenedStore, location: Path, name: str
) -> None:
    rewards = store.rewards(name)
    assert (rewards.dtype, rewards.shape) == (np.float32, (FRAMES, GOALS))
    np.testing.assert_array_equal(rewards, by_pandas(location, f"rewards/{name}", "reward"))
    ends = np.cumsum([length for length in small.LENGTHS if length]) - 1
    assert np.flatnonzero(np.isnan(rewards).all(axis=1)).tolist() == ends.tolist()


def test_scores_are_what_the_files_hold(store: vlm_relabel.OpenedStore, location: Path) -> None:
    scores = store.scores("v1")
    assert (scores.dtype, scores.shape) == (np.float32, (FRAMES, GOALS))
    np.testing.assert_array_equal(scores, by_pandas(location, "rewards/v1", "score"))


def test_embeddings_are_those_of_the_frames(store: vlm_relabel.OpenedStore) -> None:
    encoder = PixelMeanEncoder()
    frames = [small.frame(e, t, 0) for e, length in enumerate(small.LENGTHS) for t in range(length)]
    expected = encoder.encode_images(frames)
    found = store.embeddings(FRONT)
    assert (found.dtype, found.shape) == (np.dtype("float16"), (FRAMES, 4))
    np.testing.assert_array_equal(found, expected.astype(np.float16))
    np.testing.assert_array_equal(store.embeddings(FRONT[:-3]), found)


def test_goals_are_the_columns(store: vlm_relabel.OpenedStore) -> None:
    goals = store.goals("v1")
    assert goals.column("goal_id").to_pylist() == ["a-red-room", "a-green-room", "a-blue-room"]
    assert store.goal_set("v1") == small.COLOURS


def test_steps_and_episodes_are_tables(store: vlm_relabel.OpenedStore) -> None:
    episodes = store.episodes()
    assert episodes.column("episode_id").to_pylist() == list(IDS)
    assert episodes.column("length").to_pylist() == list(small.LENGTHS)
    steps = store.steps(["episode_id", "action"])
    assert (steps.num_rows, steps.column_names) == (FRAMES, ["episode_id", "action"])
    assert "observation.state" in store.steps().column_names


@pytest.mark.parametrize(
    "asked",
    [["train/1/1", "train/0/0"], ["train/0/1"], "train/1/0", ["train/0/2", "train/1/0"], []],
)
def test_some_episodes_come_in_the_order_asked_for(
    store: vlm_relabel.OpenedStore, asked: str | list[str]
) -> None:
    stops = np.cumsum(small.LENGTHS)
    names = [asked] if isinstance(asked, str) else asked
    places = [IDS.index(name) for name in names]
    wanted = [r for p in places for r in range(stops[p] - small.LENGTHS[p], stops[p])]
    rows = np.array(wanted, np.int64)
    for whole, part in (
        (store.rewards("v1"), store.rewards("v1", episodes=asked)),
        (store.scores("v1"), store.scores("v1", episodes=asked)),
        (store.embeddings(FRONT), store.embeddings(FRONT, episodes=asked)),
    ):
        assert part.dtype == whole.dtype
        np.testing.assert_array_equal(part, whole[rows])
    steps = store.steps(["step", "action"], episodes=asked)
    assert steps.equals(store.steps(["step", "action"]).take(rows))
    assert store.steps(episodes=asked).column("episode_id").to_pylist() == [
        name for name, p in zip(names, places, strict=True) for _ in range(small.LENGTHS[p])
    ]


def test_each_episode_is_all_of_them(store: vlm_relabel.OpenedStore) -> None:
    found = list(store.each_episode("v1"))
    assert [e.episode_id for e in found] == [i for i in IDS if i != "train/0/2"]  # of no frame
    assert [len(e.rewards) for e in found] == [length for length in small.LENGTHS if length]
    np.testing.assert_array_equal(np.concatenate([e.rewards for e in found]), store.rewards("v1"))
    scores = [e.scores for e in found if e.scores is not None]
    np.testing.assert_array_equal(np.concatenate(scores), store.scores("v1"))
    assert all(e.scores is None for e in store.each_episode("cosine"))


def test_it_says_what_is_there(store: vlm_relabel.OpenedStore, location: Path) -> None:
    assert store.reward_sets == ("cosine", "v1")
    assert store.goal_datasets == ()
    assert FRONT in store.embedding_tables
    told = repr(store)
    assert told.startswith(f"<store {location}: 5 episodes in 3 slices; reward sets: cosine, v1")
    assert store.timing("v1") == "next-frame"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda s: s.scores("cosine"), "rewards/cosine: expected scores.*score the goals again"),
        (lambda s: s.rewards("v2"), "no table 'rewards/v2'; there are .*rewards/v1"),
        (lambda s: s.goals("v2"), "no table 'rewards/v2'"),
        (lambda s: s.goal_dataset("gc1"), "no table 'goal_datasets/gc1'"),
        (lambda s: s.embeddings("pixel"), f"'pixel' fits 2 tables; expected one of {FRONT}"),
        (lambda s: s.embeddings("other"), "no table 'embeddings/other'"),
        (lambda s: s.steps(["actoin"]), "no column actoin; there are episode_id, step, "),
        (lambda s: s.steps(["actoin"], episodes=IDS[0]), "no column actoin"),
        (lambda s: s.rewards("v1", episodes=["train/0/9"]), "no episode 'train/0/9'"),
        (lambda s: s.rewards("v1", episodes="drawer"), "no episode 'drawer'; ids look like"),
        (lambda s: s.rewards("v1", episodes=[IDS[0]] * 2), "train/0/0 is asked for twice"),
    ],
)
def test_what_is_not_there_is_said(store: vlm_relabel.OpenedStore, ask: Any, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        ask(store)


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a store"):
        vlm_relabel.open_store(tmp_path)
