"""RLDS → transitions, against an oracle that walks through the source step by step.

terminated × truncated × last-step meaning × timing × T in {1, 2, 3, 5}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_datasets as tfds

from offline_rl.dataset import GoalDataset, GoalEncoding, View
from offline_rl.frames import FrameColumns, FrameTable
from schemas.enums import Kind, LastStep, Split, Timing
from schemas.errors import StoreError
from schemas.store import Store
from tests.offline_rl import playground
from tests.offline_rl.playground import CASES, RGB, TIMES

STATE, FLAT, EMBEDDING = "observation.state", "observation.flat", "embedding:pixel-mean"
Step = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """One transition, by hand."""

    observation: Step
    action: Any
    choice: int
    reward: float
    following: Step | None  # None: nothing may be made of what comes after
    terminal: bool


Rows = dict[tuple[str, int, int], list[Wanted]]  # by episode, goal and first transition


@pytest.fixture(scope="module")
def recorded(playground_source: Path) -> list[list[Step]]:
    """Steps of every episode, as TFDS reads them."""
    builder = tfds.builder_from_directory(str(playground_source))
    read = tfds.ReadConfig(interleave_cycle_length=1)
    episodes = builder.as_dataset(split="train", read_config=read)
    return [list(tfds.as_numpy(episode["steps"])) for episode in episodes]


def goal_shown(step: Step) -> int:
    """0 red, 1 green, 2 blue, 3 none."""
    return int((step["observation"]["front"][0, 0] == RGB).all(axis=1).argmax())


def wanted_rows(
    steps: list[Step], timing: Timing, last_step: LastStep
) -> Iterator[tuple[int, list[int], bool]]:
    """Goal, transitions and whether the last of them is terminal, of every trajectory."""
    ends = bool(steps[-1]["is_terminal"])
    usable = [t for t in range(len(steps)) if t + 1 < len(steps)]
    if ends and last_step is LastStep.CARRIES_ACTION and timing is Timing.SAME_FRAME:
        usable.append(len(steps) - 1)
    for goal in range(3):
        taken: list[int] = []
        found = holding = False
        for t in usable:
            looked_at = steps[t + 1] if timing is Timing.NEXT_FRAME else steps[t]
            reached = goal_shown(looked_at) == goal
            if reached and holding:
                continue
            taken.append(t)
            holding = reached
            if reached:
                yield goal, taken, True
                found, taken = True, []
        if taken and not found:
            yield goal, taken, ends


def oracle(episodes: list[list[Step]], timing: Timing, last_step: LastStep) -> Rows:
    rows: Rows = {}
    half = len(episodes) // 2
    for number, steps in enumerate(episodes):
        name = f"train/{number // half}/{number % half}"
        for goal, taken, terminal in wanted_rows(steps, timing, last_step):
            rows[name, goal, taken[0]] = [
                Wanted(
                    observation=steps[t],
                    action=steps[t]["action"],
                    choice=int(steps[t]["choice"]),
                    reward=float(
                        goal_shown(steps[t + 1] if timing is Timing.NEXT_FRAME else steps[t])
                        == goal
                    ),
                    following=None if terminal and t == taken[-1] else steps[t + 1],
                    terminal=terminal and t == taken[-1],
                )
                for t in taken
            ]
    return rows


def unit(colour: Any) -> Any:
    vector = np.array([*colour, 0.1])
    return vector / np.linalg.norm(vector)


def seen(step: Step, goal: int, columns: tuple[str, ...], encoding: GoalEncoding) -> Any:
    """What the agent is to see of a step."""
    parts: dict[str, Any] = {
        STATE: step["observation"]["state"],
        FLAT: [step["observation"]["flat"]],
        EMBEDDING: unit(step["observation"]["front"][0, 0] / 255),
    }
    goals: dict[GoalEncoding, Any] = {
        GoalEncoding.TEXT: unit(np.eye(3)[goal]),
        GoalEncoding.ONE_HOT: np.eye(3)[goal],
        GoalEncoding.NONE: [],
    }
    return np.concatenate([*(parts[name] for name in columns), goals[encoding]])


VIEWS = [
    ((STATE,), GoalEncoding.TEXT, "action"),
    ((STATE, EMBEDDING), GoalEncoding.ONE_HOT, "choice"),
    ((EMBEDDING, FLAT, STATE), GoalEncoding.TEXT, "choice"),
]


@pytest.mark.parametrize(("last_step", "timing"), CASES)
@pytest.mark.parametrize(("columns", "encoding", "action"), VIEWS)
def test_every_transition_is_the_sources(
    every_store: dict[str, Path],
    recorded: list[list[Step]],
    last_step: LastStep,
    timing: Timing,
    columns: tuple[str, ...],
    encoding: GoalEncoding,
    action: str,
) -> None:
    dataset = GoalDataset(Store.open(str(every_store[last_step])), timing)
    replay = dataset.replay(Split.TRAIN, View(columns, encoding, actions=(action,)))
    rows = dataset.rows(Split.TRAIN).to_pylist()
    wanted = oracle(recorded, timing, last_step)
    assert sorted((r["episode_id"], r["goal"], r["start"]) for r in rows) == sorted(wanted)
    assert replay.transition_count == sum(map(len, wanted.values()))
    for place, row in enumerate(rows):
        goal = row["goal"]
        expected = wanted[row["episode_id"], goal, row["start"]]
        number = len(expected)
        assert row["stop"] - row["start"] == number
        batch = replay.transition_batch(np.full(number, place), np.arange(number))
        for t, one in enumerate(expected):
            close(batch.observations[t], seen(one.observation, goal, columns, encoding))
            close(batch.actions[t], one.action if action == "action" else [one.choice])
            assert batch.rewards[t].tolist() == [one.reward]
            assert batch.terminals[t].tolist() == [one.terminal]
            if one.following is None:
                assert not batch.next_observations[t].any()
            else:
                close(batch.next_observations[t], seen(one.following, goal, columns, encoding))


@pytest.mark.parametrize(("last_step", "timing"), CASES)
def test_next_actions_were_taken(
    every_store: dict[str, Path], recorded: list[list[Step]], last_step: LastStep, timing: Timing
) -> None:
    """By hand: what is left is every transition that ends the task or goes on to an action."""
    dataset = GoalDataset(Store.open(str(every_store[last_step])), timing)
    replay = dataset.replay(Split.TRAIN, View((STATE,)), next_actions=True)
    count = replay.trajectories.count
    row = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(row)) - replay.trajectories.offset[row]
    batch = replay.transition_batch(row, step)
    columns = (
        *(batch.observations, batch.actions, batch.rewards),
        *(batch.next_observations, batch.next_actions, batch.terminals),
    )
    carried = last_step is LastStep.CARRIES_ACTION
    fillers = [] if carried else [steps[-1] for steps in recorded]
    nothing = {"observation": {"state": np.zeros(3)}, "action": np.zeros(2)}
    wanted = [
        np.concatenate(
            [
                seen(one.observation, goal, (STATE,), GoalEncoding.TEXT),
                one.action,
                [one.reward],
                np.zeros(7) if one.terminal else seen(ahead, goal, (STATE,), GoalEncoding.TEXT),
                ahead["action"],
                [one.terminal],
            ]
        )
        for (_, goal, _), ones in oracle(recorded, timing, last_step).items()
        for one in ones
        for ahead in [one.following or nothing]
        if not any(ahead is filler for filler in fillers)
    ]
    got = np.concatenate(columns, axis=1)
    assert got.shape == np.shape(wanted)
    close(got[np.lexsort(got.T)], np.array(wanted)[np.lexsort(np.array(wanted).T)])
    whole = dataset.replay(Split.TRAIN, View((STATE,)))
    assert (replay.transition_count == whole.transition_count) == carried
    assert (replay.size() == whole.size()) == carried  # some rows were one such transition


def test_transitions_with_next_actions_stay_as_they_are(own_store: Path) -> None:
    playground.score(own_store, "soft", reward="probability")
    options = playground.ALL.model_copy(update={"end_on_success": False})
    playground.goal_dataset(own_store, "soft", "soft", options)
    dataset = GoalDataset(Store.open(str(own_store)), "soft")
    view = View((STATE,), weights={"hindsight": 0.5})
    whole, cut = (dataset.replay(Split.TRAIN, view, next_actions=n) for n in (False, True))
    lengths = dict(dataset.store.read("episodes", ["episode_id", "length"]).to_pandas().to_numpy())
    pairs, left = [], []  # row and step of every transition of `whole`, of those to be left
    for place, row in enumerate(dataset.rows(Split.TRAIN).to_pylist()):
        for t in range(row["start"], row["stop"]):
            last = t == lengths[row["episode_id"]] - 2 and not row["terminal"]
            pairs.append((place, t - row["start"]))
            left.append(not last)
    assert 0 < sum(left) < len(left)
    before = whole.transition_batch(*np.array(pairs)[left].T)
    row = np.repeat(np.arange(cut.size()), cut.trajectories.count)
    after = cut.transition_batch(row, np.arange(len(row)) - cut.trajectories.offset[row])
    assert len(np.unique(before.rewards)) > 3
    for name in ("observations", "actions", "rewards", "next_observations", "next_actions"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)
    np.testing.assert_array_equal(
        cut.trajectories.weight[row], whole.trajectories.weight[np.array(pairs)[left][:, 0]]
    )


def test_no_action_is_ever_followed_by_another(own_store: Path) -> None:
    two_frames = tuple(f"train/0/{number}" for number in range(18, 24))  # and cut off
    changes = {"episodes": two_frames, "kinds": (Kind.FAILED,)}
    options = playground.ALL.model_copy(update=changes)
    playground.goal_dataset(own_store, "short", Timing.NEXT_FRAME, options)
    dataset = GoalDataset(Store.open(str(own_store)), "short")
    assert set(dataset.replay(Split.TRAIN, View((STATE,))).trajectories.count) == {1}
    with pytest.raises(StoreError, match=r"goal_datasets/short: every .* final observation"):
        dataset.replay(Split.TRAIN, View((STATE,)), next_actions=True)


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_the_source_has_every_case(recorded: list[list[Step]]) -> None:
    ends = [(len(s), bool(s[-1]["is_terminal"]), bool(s[-1]["is_last"])) for s in recorded]
    assert len(ends) == 16 * TIMES == TIMES * len(set(ends))
    for timing in Timing:
        found = oracle(recorded, timing, LastStep.CARRIES_ACTION)
        assert any(start > 0 for _, _, start in found)  # hindsight
        assert {rows[-1].terminal for rows in found.values()} == {True, False}
        assert {sum(one.reward for one in rows) for rows in found.values()} == {0, 1}


@pytest.mark.parametrize("timing", Timing)
def test_the_last_step_changes_what_there_is(recorded: list[list[Step]], timing: Timing) -> None:
    """The oracle can tell the cases apart, so agreeing with it means something."""
    counts = {
        last_step: sum(map(len, oracle(recorded, timing, last_step).values()))
        for last_step in LastStep
    }
    assert (len(set(counts.values())) == 2) == (timing is Timing.SAME_FRAME)


def test_one_goal_needs_no_goal_in_the_observation(own_store: Path) -> None:
    options = playground.ALL.model_copy(update={"goals": ("green",)})
    playground.goal_dataset(own_store, "one", Timing.NEXT_FRAME, options)
    dataset = GoalDataset(Store.open(str(own_store)), "one")
    replay = dataset.replay(Split.TRAIN, View((STATE,), GoalEncoding.NONE))
    assert replay.dataset_info.observation_signature.shape == [(3,)]
    assert set(dataset.table.column("goal").to_pylist()) == {1}


def test_step_rewards_are_minus_one_and_zero(own_store: Path) -> None:
    options = playground.ALL.model_copy(update={"step_reward": -1})
    playground.goal_dataset(own_store, "minus", Timing.NEXT_FRAME, options)
    store = Store.open(str(own_store))
    minus, plain = (
        GoalDataset(store, name).replay(Split.TRAIN, View((STATE,), positive_share=0.5))
        for name in ("minus", "next-frame")
    )
    np.testing.assert_array_equal(minus.trajectories.rewards, plain.trajectories.rewards - 1)
    assert (minus.sample_transition_batch(64).rewards == 0).sum() >= 32
    # One is reached at once in the data; this is what a transformer is asked for.
    assert GoalDataset(store, "minus").best_return() == 0
    assert GoalDataset(store, "next-frame").best_return() == 1


def test_positives_of_probabilities_are_above_the_threshold(own_store: Path) -> None:
    playground.score(own_store, "soft", reward="probability")
    playground.goal_dataset(own_store, "soft", "soft")
    dataset = GoalDataset(Store.open(str(own_store)), "soft")
    replay = dataset.replay(Split.TRAIN, View((STATE,), positive_share=1.0))
    rewards = replay.sample_transition_batch(64).rewards
    assert (rewards > 0.5).all()
    assert (rewards < 1).any()


# --- the memory-mapped cache


def test_cached_frames_equal_those_in_memory(playground_store: Path, tmp_path: Path) -> None:
    dataset = GoalDataset(Store.open(str(playground_store)), "gc1")
    view = View((STATE, EMBEDDING))
    plain = dataset.frames(view)
    for _ in range(2):  # written, then found
        cached = dataset.frames(view, tmp_path)
        assert isinstance(cached.values, np.memmap)
        assert not cached.values.flags.writeable
        np.testing.assert_array_equal(cached.values, plain.values)
        np.testing.assert_array_equal(cached.finite, plain.finite)
        episodes = ("train/0/0", "train/1/5", "train/1/23")
        ids = pa.chunked_array([episodes])
        np.testing.assert_array_equal(cached.starts(ids), plain.starts(ids))
        for episode in episodes:
            assert cached.length(episode) == plain.length(episode)
    one = dataset.replay(Split.TRAIN, view, cache=tmp_path).sample_transition_batch(16)
    two = dataset.replay(Split.TRAIN, view).sample_transition_batch(16)
    np.testing.assert_array_equal(one.next_observations, two.next_observations)


def test_cache_is_reused_and_made_anew_for_other_columns(
    playground_store: Path, tmp_path: Path
) -> None:
    dataset = GoalDataset(Store.open(str(playground_store)), "gc1")

    def files() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("frames-*")}

    dataset.frames(View((STATE,)), tmp_path)
    first = files()
    dataset.frames(View((STATE,), GoalEncoding.ONE_HOT), tmp_path)
    assert files() == first
    wider = dataset.frames(View((STATE, FLAT)), tmp_path)
    assert wider.width == 4
    assert files().items() > first.items()
    assert not list(tmp_path.glob("*.tmp"))


def test_cache_and_dataset_of_a_store_that_has_grown_are_others(
    playground_source: Path, tmp_path: Path
) -> None:
    store = tmp_path / "grown.store"

    def opened() -> GoalDataset:
        playground.score(store, "v1")
        playground.goal_dataset(store, "gc1", "v1")
        return GoalDataset(Store.open(str(store)), "gc1")

    playground.embed(playground_source, store, LastStep.FINAL_OBSERVATION, split="train[:30%]")
    part = opened()
    frames = part.frames(View((STATE,)), tmp_path / "cache")
    playground.embed(playground_source, store, LastStep.FINAL_OBSERVATION)
    whole = opened()
    assert whole.manifest.fingerprint == part.manifest.fingerprint
    assert whole.fingerprint != part.fingerprint
    grown = whole.frames(View((STATE,)), tmp_path / "cache")
    count = len(frames.values)
    assert 0 < count < len(grown.values) == whole.store.table_manifest("steps").rows
    np.testing.assert_array_equal(grown.values[:count], frames.values)


def test_cache_of_embeddings_made_anew_is_not_used(
    playground_source: Path, own_store: Path, tmp_path: Path
) -> None:
    def frames() -> Any:
        store = Store.open(str(own_store))
        return FrameTable(FrameColumns(store, (EMBEDDING,)), store, tmp_path).values

    before = np.array(frames())
    job = replace(playground.job_of(own_store), overwrite=True)
    playground.embed(
        playground_source, own_store, LastStep.FINAL_OBSERVATION, job=job, dtype="float16"
    )
    after = frames()
    assert (after != before).any()
    np.testing.assert_allclose(after, before, atol=1e-3)
