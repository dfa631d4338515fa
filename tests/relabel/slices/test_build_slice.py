"""Rewards into trajectories, against a brute-force oracle and on examples by hand."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relabel.goal_datasets.inputs import dataset_inputs
from relabel.goal_datasets.positives import check_positives
from relabel.slices.build_slice import build_slice
from schemas.enums import Kind, LastStep, Split, Timing
from schemas.errors import StoreError
from schemas.goal_dataset_checks import trajectory_problems
from schemas.goal_datasets import GOAL_DATASET_SCHEMA, DatasetOptions, split_of, transition_count
from schemas.manifests import manifest_bytes
from schemas.store import MANIFEST, PLAN, Store
from schemas.verify import verify_store
from tests import small
from tests.relabel.goal_dataset_stores import (
    How,
    Told,
    build,
    dataset_manifest,
    make_store,
    trajectories_of,
)

NAN = math.nan
LANGUAGES = (None, "A  red ROOM", "a green room", "goal 2", "something else")
SAID = ("", " ", "a red room", "GOAL  0", "a green room", "something else")


# --- the oracle: one goal, one frame at a time, written from the issue and not from the code


def transitions(told: Told, timing: Timing, last_step: LastStep) -> list[int]:
    found = []
    for t in range(told.length):
        is_last_frame = t == told.length - 1
        rewarded = timing is Timing.SAME_FRAME or not is_last_frame
        ends = is_last_frame and told.terminal and last_step is LastStep.CARRIES_ACTION
        if rewarded and (not is_last_frame or ends):
            found.append(t)
    return found


def hindsight(hits: Sequence[bool]) -> list[tuple[int, int]]:
    """Walks along one goal's successes, with a state for each thing it can be doing."""
    spans, state, start = [], "before the first", 0
    for t, hit in enumerate(hits):
        if state == "before the first" and hit:
            state = "in a run"
        elif state == "in a run" and not hit:
            state, start = "on the way", t
        elif state == "on the way" and hit:
            spans.append((start, t + 1))
            state = "in a run"
    return spans


def commanded(told: Told, texts: Sequence[str], count: int, hold: bool) -> list[tuple[int, int]]:
    """Walks along an episode and asks at each transition what was said before its action."""

    def says(text: str | None) -> bool:
        return " ".join((text or "").lower().split()) in texts

    heard = [text for step in told.said for text in step if text.strip()]
    spans, start, standing = [], None, [""] * len(told.said[0] if told.said else ())
    for t in range(told.length):
        now = list(told.said[t]) if told.said else []
        if hold:
            now = [n if n.strip() else before for n, before in zip(now, standing, strict=True)]
            standing = now
        named = any(map(says, now)) if heard else says(told.language)
        if named and start is None:
            start = t
        if start is not None and not named:
            spans.append((start, t))
            start = None
    if start is not None:
        spans.append((start, told.length))
    return [(a, min(b, count)) for a, b in spans if a < count]


def expected_rows(
    episode_id: str, told: Told, how: How, options: DatasetOptions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Trajectories, those that a missing reward leaves out, and every possible failed one."""
    own = transitions(told, how.timing, how.last_step)
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for goal in range(told.rewards.shape[1]):
        if not own or (options.goals and f"g{goal}" not in options.goals):
            continue
        values = [float(told.rewards[t, goal]) for t in own]
        hits = [not math.isnan(v) and v > options.success_above for v in values]
        texts = (("a red room", "a green room", "a blue room")[goal], f"goal {goal}")
        spans: list[tuple[int, int, str]] = []
        told_to = []
        if Kind.COMMANDED in options.kinds:
            told_to = commanded(told, texts, len(own), options.commands_hold)
        for first, end in told_to:
            inside = [t for t in range(first, end) if hits[t]]
            end = inside[0] + 1 if inside and options.end_on_success else end
            spans.append((first, end, "commanded"))
        ranges = [(first, end) for first, end, _ in spans]
        if any(hits):
            stop = hits.index(True) + 1 if options.end_on_success else len(own)
            if Kind.ACHIEVED in options.kinds and (0, stop) not in ranges:
                spans.append((0, stop, "achieved"))
        elif (0, len(own)) not in ranges:
            spans.append((0, len(own), "failed"))
        if Kind.HINDSIGHT in options.kinds:
            later = [s for s in hindsight(hits) if s[1] - s[0] >= options.min_length]
            later = [s for s in later[: options.hindsight_most] if s not in ranges]
            spans += [(*span, "hindsight") for span in later]
        for first, end, kind in spans:
            if end - first < options.min_length:
                continue
            part = values[first:end]
            row = {
                "episode_id": episode_id,
                "goal": goal,
                "start": first,
                "stop": end,
                "kind": kind,
                "split": split_of(episode_id, options.validation, options.test).value,
            }
            if any(math.isnan(v) for v in part):
                (failed if kind == "failed" else left_out).append(row)
                continue
            inside = [t for t in range(first, end) if hits[t]]
            rewards = [
                (1.0 if hits[t] else 0.0) + options.step_reward if how.binary else values[t]
                for t in range(first, end)
            ]
            last = own[end - 1]
            after = last + 1 if last + 1 < told.length else last
            row |= {
                "success": bool(inside),
                "first_success": inside[0] if inside else None,
                "rewards": rewards,
                "return": sum(options.discount**k * r for k, r in enumerate(rewards)),
                "terminal": (options.end_on_success and bool(inside))
                or (end == len(own) and told.terminal and after == told.length - 1),
            }
            (failed if kind == "failed" else rows).append(row)
    return rows, left_out, failed


@st.composite
def stores(draw: st.DrawFn) -> tuple[list[Told], How]:
    """A few short episodes of three goals, with or without 0/1 rewards, some missing."""
    how = How(
        timing=draw(st.sampled_from(Timing)),
        last_step=draw(st.sampled_from(LastStep)),
        binary=draw(st.booleans()),
        per_slice=draw(st.integers(1, 3)),
        columns=draw(st.integers(0, 2)),
    )
    if not how.binary:
        how = How(**{**how.__dict__, "function": {"name": "probability"}})
    values = st.sampled_from([0, 0, 1, 1, NAN] if how.binary else [0.0, 0.25, 0.75, 1.0, NAN])
    episodes = []
    for length in draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 8]), min_size=1, max_size=4)):
        cells = draw(st.lists(values, min_size=3 * length, max_size=3 * length))
        rewards = np.array(cells, np.float64).reshape(length, 3)
        if how.timing is Timing.NEXT_FRAME:
            rewards[-1:] = NAN
        said: list[tuple[str, ...]] = []
        if how.columns and draw(st.booleans()):
            steps = st.tuples(*[st.sampled_from(SAID)] * how.columns)
            said = draw(st.lists(steps, min_size=length, max_size=length))
        episodes.append(
            Told(
                rewards,
                terminal=draw(st.booleans()),
                language=draw(st.sampled_from(LANGUAGES)),
                said=said,
            )
        )
    return episodes, how


@st.composite
def index_options(draw: st.DrawFn, binary: bool) -> dict[str, Any]:
    return {
        "end_on_success": draw(st.booleans()),
        "step_reward": draw(st.sampled_from([0, -1] if binary else [0])),
        "discount": draw(st.sampled_from([0.5, 0.99, 1.0])),
        "min_length": draw(st.integers(1, 3)),
        "failed_per_achieved": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
        "failed_at_least": draw(st.integers(0, 3)),
        "hindsight_most": draw(st.integers(0, 3)),
        "commands_hold": draw(st.booleans()),
        "kinds": draw(st.lists(st.sampled_from(Kind), min_size=1, unique=True).map(tuple)),
        "goals": draw(st.sampled_from([(), ("g0",), ("g2", "g1")])),
        "validation": 0.3,
        "test": 0.3,
        "seed": draw(st.integers(0, 3)),
    }


@settings(max_examples=75)
@given(stores(), st.data())
def test_index_is_what_loops_over_episodes_goals_and_frames_find(
    told: tuple[list[Told], How], data: st.DataObject
) -> None:
    episodes, how = told
    changes = data.draw(index_options(how.binary))
    options = DatasetOptions(**changes)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "s", episodes, how)
        manifest = build(store, **changes)
        found = trajectories_of(store)
        assert [str(p) for t, ps in verify_store(store) if "goal_datasets" in t for p in ps] == []
    kept: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for number, episode in enumerate(episodes):
        own_id = f"train/0/{number}"
        rows, left_out, failed = expected_rows(own_id, episode, how, options)
        own = [row for row in found if row["episode_id"] == own_id]
        own_failed = [row for row in own if row["kind"] == "failed"]
        wanted = _failed_number(episode, how, options)
        lost = _check_failed(own_failed, failed, wanted, options)
        kept += sorted(
            [*rows, *own_failed], key=lambda row: (row["goal"], row["start"], row["stop"])
        )
        split = options.split(own_id)
        for row in (*rows, *own_failed):
            counts[f"{split}/{row['kind']}"] = counts.get(f"{split}/{row['kind']}", 0) + 1
        if left_out or lost:
            name = f"{split}/left_out"
            counts[name] = counts.get(name, 0) + len(left_out) + len(lost)
    assert [_without_return(row) for row in found] == [_without_return(row) for row in kept]
    assert [row["return"] for row in found] == pytest.approx(
        [row["return"] for row in kept], rel=1e-6, abs=1e-6
    )
    total = {name: count for name, count in manifest.counts.items() if "left_out" not in name}
    assert total == {name: n for name, n in counts.items() if "left_out" not in name}
    left = {name: count for name, count in manifest.counts.items() if "left_out" in name}
    assert left == {name: n for name, n in counts.items() if "left_out" in name}


def _without_return(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "return"}


def _failed_number(told: Told, how: How, options: DatasetOptions) -> int:
    own = transitions(told, how.timing, how.last_step)
    chosen = [g for g in range(3) if not options.goals or f"g{g}" in options.goals]
    achieved = sum(any(told.rewards[t, g] > options.success_above for t in own) for g in chosen)
    return max(options.failed_at_least, round(options.failed_per_achieved * achieved))


def _check_failed(
    found: list[dict[str, Any]],
    possible: list[dict[str, Any]],
    number: int,
    options: DatasetOptions,
) -> list[dict[str, Any]]:
    """Found rows are among the possible; those left out make up what is missing of `number`."""
    whole = [row for row in possible if "rewards" in row]
    holed = [row for row in possible if "rewards" not in row]
    if Kind.FAILED not in options.kinds:
        assert not found
        return []
    for row in found:
        assert _without_return(row) in [_without_return(r) for r in whole]
    drawn = min(number, len(possible))
    lost = drawn - len(found)
    assert 0 <= lost <= len(holed)
    return holed[:lost]


# --- examples by hand


def column(*values: float) -> np.ndarray:
    return np.array([values], np.float64).T


def told(*values: float, **more: Any) -> Told:
    """An episode of one goal under NEXT_FRAME: its rewards, and the null of the last frame."""
    return Told(column(*values, NAN), **more)


def spans(store: Store, name: str = "gc1") -> list[tuple[str, int, int, bool]]:
    rows = trajectories_of(store, name)
    return [(row["kind"], row["start"], row["stop"], row["terminal"]) for row in rows]


def test_docstring_time_line(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(0, 0, 1, 1, 0, 0, 1, 0)])
    build(store)
    assert spans(store) == [("achieved", 0, 3, True), ("hindsight", 4, 7, True)]
    build(store, "whole", end_on_success=False)
    assert spans(store, "whole") == [("achieved", 0, 8, False), ("hindsight", 4, 7, False)]


def test_only_a_row_that_reaches_the_end_ends_with_the_environment(tmp_path: Path) -> None:
    values = (0, 1, 0, 1, 0)
    store = make_store(tmp_path / "s", [told(*values, terminal=True), told(*values)])
    build(store, end_on_success=False)
    assert spans(store) == [
        ("achieved", 0, 5, True),
        ("hindsight", 2, 4, False),
        ("achieved", 0, 5, False),
        ("hindsight", 2, 4, False),
    ]


def test_rewards_and_returns(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(0, 1, 0)])
    build(store, step_reward=-1, discount=0.5)
    (row,) = trajectories_of(store)
    assert (row["rewards"], row["return"], row["first_success"]) == ([-1, 0], -1, 1)
    build(store, "whole", end_on_success=False, discount=0.5)
    (row,) = trajectories_of(store, "whole")
    assert (row["rewards"], row["return"]) == ([0, 1, 0], 0.5)


def test_table_has_the_schema_of_the_contract(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(0, 1)])
    build(store)
    assert store.read("goal_datasets/gc1").schema.equals(GOAL_DATASET_SCHEMA)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("ends_terminal", [False, True])
@pytest.mark.parametrize("timing", list(Timing))
@pytest.mark.parametrize("last_step", list(LastStep))
def test_transition_count(
    length: int, ends_terminal: bool, timing: Timing, last_step: LastStep
) -> None:
    episode = Told(np.zeros((length, 1)), terminal=ends_terminal)
    count = transition_count(
        length, ends_terminal=ends_terminal, timing=timing, last_step=last_step
    )
    assert list(range(count)) == transitions(episode, timing, last_step)


def test_an_action_that_ended_the_task_is_a_transition_without_an_outcome(tmp_path: Path) -> None:
    how = How(timing=Timing.SAME_FRAME, last_step=LastStep.CARRIES_ACTION)
    episodes = [
        Told(column(0, 0, 0), terminal=True),
        Told(column(0, 0, 0)),
        Told(column(1), terminal=True),
        Told(column(1)),
    ]
    store = make_store(tmp_path / "s", episodes, how)
    build(store, materialized=True, validation=0, test=0)
    rows = trajectories_of(store)
    assert [(r["episode_id"], r["stop"], r["terminal"]) for r in rows] == [
        ("train/0/0", 3, True),
        ("train/0/1", 2, False),
        ("train/0/2", 1, True),
    ]
    flat = store.read_slices("transitions/gc1", store.slices).to_pylist()
    assert [(f["step"], f["terminal"]) for f in flat][:3] == [(0, False), (1, False), (2, True)]
    assert flat[2]["next.observation.state"] == flat[2]["observation.state"]


def test_commanded_wins_over_achieved_and_failed(tmp_path: Path) -> None:
    both = np.array([[1, 0], [NAN, NAN]])
    episodes = [Told(both, language=" a RED  room"), Told(both, language="goal 1")]
    store = make_store(tmp_path / "s", episodes)
    build(store)
    assert [(r["goal"], r["kind"], r["success"]) for r in trajectories_of(store)] == [
        (0, "commanded", True),
        (1, "failed", False),
        (0, "achieved", True),
        (1, "commanded", False),
    ]
    build(store, "others", kinds=("achieved", "failed"))
    kinds = [r["kind"] for r in trajectories_of(store, "others")]
    assert kinds == ["achieved", "failed"] * 2


def test_a_missing_reward_leaves_out_the_rows_that_hold_it(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(0, 1, NAN, 0, 1), told(0, NAN, 0)])
    manifest = build(store, validation=0, test=0)
    assert spans(store) == [("achieved", 0, 2, True)]
    assert manifest.counts == {"train/achieved": 1, "train/left_out": 2}
    left = store.read_slices("left_out/gc1", store.slices).to_pylist()
    assert [(r["episode_id"], r["start"], r["stop"], r["kind"]) for r in left] == [
        ("train/0/0", 2, 5, "hindsight"),
        ("train/0/1", 0, 3, "failed"),
    ]


def test_failed_goals_depend_on_seed_and_episode_alone(tmp_path: Path) -> None:
    episodes = [Told(np.array([[1, 0, 0, 0], [NAN] * 4])) for _ in range(6)]
    chosen = {}
    for per_slice in (1, 4):
        for count in (3, 6):
            store = make_store(
                tmp_path / f"{per_slice}-{count}", episodes[:count], How(per_slice=per_slice)
            )
            build(store, kinds=("failed",))
            build(store, "other", kinds=("failed",), seed=1)
            rows = [(r["episode_id"], r["goal"]) for r in trajectories_of(store)]
            chosen[per_slice, count] = rows
            assert rows != [(r["episode_id"], r["goal"]) for r in trajectories_of(store, "other")]
    assert chosen[1, 6] == chosen[4, 6]
    assert chosen[1, 3] == chosen[4, 6][:3]
    assert len({goal for _, goal in chosen[1, 6]}) > 1


def test_splits_are_stable_and_of_about_the_shares_asked_for() -> None:
    ids = [f"train/{shard}/{i}" for shard in range(4) for i in range(1000)]
    splits = [split_of(i, 0.2, 0.1) for i in ids]
    assert splits.count(Split.VALIDATION) == pytest.approx(800, abs=80)
    assert splits.count(Split.TEST) == pytest.approx(400, abs=60)
    assert [split_of(i, 0.2, 0.1) for i in ids[:7]] == splits[:7]
    wider = [split_of(i, 0.3, 0.1) for i in ids]
    assert all(b is a for a, b in zip(splits, wider, strict=True) if a is not Split.TRAIN)


def test_episode_patterns(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(1)] * 4)
    build(store, episodes=("train/0/[0-2]", "!train/0/1"))
    assert [r["episode_id"] for r in trajectories_of(store)] == ["train/0/0", "train/0/2"]


# --- other rewards, and the truth


def test_non_binary_rewards_are_used_as_they_are(tmp_path: Path) -> None:
    how = How(binary=False, function={"name": "probability"})
    store = make_store(tmp_path / "s", [told(0.25, 0.5, 0.75, 0.25)], how)
    build(store, success_above=0.5)
    (row,) = trajectories_of(store)
    assert (row["rewards"], row["first_success"]) == ([0.25, 0.5, 0.75], 2)
    with pytest.raises(StoreError, match="step reward of -1 needs rewards of 0 and 1"):
        build(store, "minus", step_reward=-1)


@pytest.mark.parametrize("timing", list(Timing))
def test_a_potential_difference_succeeds_by_its_score(tmp_path: Path, timing: Timing) -> None:
    function = {"name": "potential-difference", "of": {"name": "probability"}}
    how = How(timing=timing, binary=False, function=function)
    episode = told(0.5, 0.25, -0.5, scores=column(0.125, 0.625, 0.875, 0.375))
    store = make_store(tmp_path / "s", [episode], how)
    build(store, success_above=0.75)
    (row,) = trajectories_of(store)
    assert (row["rewards"], row["first_success"], row["stop"]) == ([0.5, 0.25], 1, 2)
    bare = make_store(tmp_path / "bare", [episode], How(**{**how.__dict__, "scores": False}))
    with pytest.raises(StoreError, match="scores were not kept; score again with --scores"):
        build(bare)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32", "int64"])
@pytest.mark.parametrize(("timing", "stop"), [(Timing.NEXT_FRAME, 1), (Timing.SAME_FRAME, 2)])
def test_truth_looks_at_the_frame_that_the_timing_says(
    tmp_path: Path, dtype: str, timing: Timing, stop: int
) -> None:
    how = How(timing=timing, truth_dtype=dtype)
    store = make_store(tmp_path / "s", [told(1, 0, truth=column(0, 1, 0))], how)
    build(store, "gc1.true", source_column="truth")
    (row,) = trajectories_of(store, "gc1.true")
    assert (row["stop"], row["success"]) == (stop, True)
    assert [p for t, ps in verify_store(store) if "goal_datasets" in t for p in ps] == []


def test_truth_columns_that_do_not_fit(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(1)])
    with pytest.raises(StoreError, match=r"goal, 1 per frame; its shape is \[2\]; columns that"):
        build(store, source_column="observation.state")
    with pytest.raises(StoreError, match=r"no such column of numbers; .*, truth"):
        build(store, source_column="tru")


# --- a column with no reward set behind it


def alone(store: Store, name: str = "gc1", **changes: Any) -> Any:
    """A dataset of the environment's own reward, one goal."""
    own = {"source_column": "reward", "timing": Timing.SAME_FRAME, "goals_of_column": [("go",)]}
    return build(store, name, rewards=None, **{**own, **changes})


@pytest.mark.parametrize("last_step", list(LastStep))
def test_dense_rewards_of_the_environment_are_kept(tmp_path: Path, last_step: LastStep) -> None:
    env = np.array([0.25, -1.5, 2.0, 0.75, 8.0])
    episodes = [
        Told(np.zeros((5, 1)), env=env, terminal=True),
        Told(np.zeros((5, 1)), env=-env),
    ]
    store = make_store(tmp_path / "s", episodes, How(last_step=last_step, per_slice=1))
    manifest = alone(store, end_on_success=False, success_above=1.0, hindsight_most=0)
    count = 5 if last_step is LastStep.CARRIES_ACTION else 4  # the last action ended the task
    first, second = trajectories_of(store)
    assert (first["rewards"], first["first_success"]) == (env[:count].tolist(), 2)
    assert (first["stop"], first["terminal"], first["kind"]) == (count, True, "achieved")
    assert (second["rewards"], second["kind"]) == ((-env[:4]).tolist(), "achieved")
    assert second["first_success"] == 1  # 1.5
    assert (manifest.rewards, manifest.rewards_fingerprint) == (None, None)
    assert [str(p) for t, ps in verify_store(store) if "goal_datasets" in t for p in ps] == []
    alone(store, "ends", success_above=1.0)
    assert trajectories_of(store, "ends")[0]["rewards"] == [0.25, -1.5, 2.0]
    with pytest.raises(StoreError, match="needs those of a column of bool, got rewards which are"):
        alone(store, "minus", step_reward=-1)


@pytest.mark.parametrize(("timing", "stop"), [(Timing.NEXT_FRAME, 1), (Timing.SAME_FRAME, 2)])
@pytest.mark.parametrize("dtype", ["bool", "float32", "int64"])
def test_a_column_of_truths_has_its_own_goals_and_timing(
    tmp_path: Path, timing: Timing, stop: int, dtype: str
) -> None:
    truth = np.array([[0, 0], [1, 0], [0, 0], [0, 0]])
    said = [("make it so",)] * 2 + [("hum",)] * 2
    told_so = Told(np.zeros((4, 2)), truth=truth, said=said)
    # What the reward set looks at makes no difference.
    how = How(timing=Timing.NEXT_FRAME, truth_dtype=dtype, columns=1)
    store = make_store(tmp_path / "s", [told_so], how)
    goals = [("on",), ("off", "Make it so.")]
    own = {"source_column": "truth", "timing": timing, "goals_of_column": goals}
    manifest = build(store, rewards=None, materialized=True, **own)
    assert [(r["goal"], r["start"], r["stop"], r["kind"]) for r in trajectories_of(store)] == [
        (0, 0, stop, "achieved"),
        (1, 0, 2, "commanded"),
        (1, 0, 3, "failed"),
    ]
    flat = store.read_slices(manifest.transitions, store.slices)
    assert "text_embedding" not in flat.column_names
    assert flat.num_rows == stop + 5
    assert [str(p) for t, ps in verify_store(store) if "goal_datasets" in t for p in ps] == []
    if dtype == "bool":
        build(store, "minus", rewards=None, step_reward=-1, **own)
        assert trajectories_of(store, "minus")[0]["rewards"] == [*[-1] * (stop - 1), 0]


def test_no_positive_of_a_column_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [Told(np.zeros((3, 1)), env=np.array([0, 0.25, 1]))])
    own = {"rewards": None, "source_column": "reward", "goals_of_column": [("go",)]}
    text = refused(store, timing=Timing.SAME_FRAME, **own)
    assert "reaches goal go: no value of column 'reward' that they look at is above" in text
    assert "--success-above 0.5; the nearest is 0.25 (goal go, frame 1 of train/0/0)" in text
    assert (
        "it is 1, above 0.5, only in frames that no transition looks at, such as for "
        "goal go, frame 2" in text
    )
    assert "or take --timing next-frame" in text
    with pytest.raises(StoreError, match=r"has no goal g0; its 1 goals are go"):
        dataset_inputs(store, dataset_manifest(store, goals=("g0",), **own))


# --- what is refused


def refused(store: Store, **changes: Any) -> str:
    dataset = dataset_manifest(store, **changes)
    with pytest.raises(StoreError) as caught:
        check_positives(store, dataset, dataset_inputs(store, dataset))
    return str(caught.value)


def test_no_positive_names_threshold_highest_score_and_the_cure(tmp_path: Path) -> None:
    scores = np.array([[0.125, 0.25], [0.4375, 0.0]])
    episodes = [Told(np.array([[0, 0], [NAN, NAN]]), scores=scores)]
    text = refused(make_store(tmp_path / "s", episodes))
    assert "none of 1 transitions reaches any of 2 goals" in text
    assert "no score of rewards/v1 that they look at is above its threshold 0.5" in text
    assert "the nearest is 0.4375 (goal g0, frame 1 of train/0/0, threshold 0.5)" in text
    assert "`vlm-relabel score" in text
    assert "--threshold X` with X below 0.4375" in text
    bare = make_store(tmp_path / "bare", episodes, How(scores=False))
    assert "scores were not kept; score again with --scores" in refused(bare)
    one = refused(make_store(tmp_path / "one", episodes), goals=("g1",))
    assert "reaches goal g1: " in one
    assert "the nearest is 0 (goal g1, frame 1" in one  # 0.25 is in a frame that none looks at


def test_no_positive_of_thresholds_that_differ(tmp_path: Path) -> None:
    scores = np.array([[0, 0], [0.5, 0.25], [0.0, 0.3125]])
    episodes = [Told(np.array([[0, 0], [0, 0], [NAN, NAN]]), scores=scores)]
    text = refused(make_store(tmp_path / "s", episodes, How(threshold=(0.875, 0.375))))
    assert "above its threshold, 0.375 to 0.875" in text
    assert "the nearest is 0.3125 (goal g1, frame 2 of train/0/0, threshold 0.375)" in text
    assert "X below 0.3125" in text


@pytest.mark.parametrize(
    ("timing", "frame", "why"),
    [
        (Timing.NEXT_FRAME, 0, "reward is that of its outcome; choose goals that do not hold"),
        (Timing.SAME_FRAME, 2, "nothing follows it; choose other goals"),
    ],
)
def test_a_goal_that_is_seen_where_no_transition_looks(
    tmp_path: Path, timing: Timing, frame: int, why: str
) -> None:
    other = {Timing.NEXT_FRAME: "same-frame", Timing.SAME_FRAME: "next-frame"}[timing]
    scores = column(0.25, 0.125, 0.25)
    scores[frame] = 0.96875
    episodes = [told(0, 0, scores=column(0.25, 0.375, 0.25)), told(0, 0, scores=scores)]
    store = make_store(tmp_path / "s", episodes, How(timing=timing, per_slice=1))
    text = refused(store)
    assert "the nearest is 0.375 (goal g0, frame 1 of train/0/0, threshold 0.5)" in text
    assert (
        f"it is 0.9688, above 0.5, only in frames that no transition looks at, such as "
        f"for goal g0, frame {frame} of" in text
    )
    assert why in text
    assert f"or score with --timing {other}" in text
    assert "calibrate" not in text
    # Of an episode or a goal that is left out nothing is said.
    alone = refused(store, episodes=("train/0/0",))
    assert "only in frames that no transition looks at" not in alone
    assert "calibrate" in alone


def test_no_positive_of_other_rewards(tmp_path: Path) -> None:
    how = How(binary=False, function={"name": "cosine"}, threshold=None)
    store = make_store(tmp_path / "s", [told(0.25, 0.125, scores=column(0, 0.25, 0.125))], how)
    assert "--success-above 0.5; the nearest is 0.25 (goal g0, frame 1" in refused(store)
    bare = make_store(tmp_path / "n", [told(0.25, 0.125)], How(**{**vars(how), "scores": False}))
    text = refused(bare)
    assert "no reward of rewards/v1 that they look at is above --success-above 0.5" in text
    assert (
        "the nearest is 0.25 (goal g0, frame 1 of train/0/0); give a --success-above below" in text
    )
    first = make_store(tmp_path / "f", [told(0.25, 0.125, scores=column(0.75, 0.25, 0.125))], how)
    assert "it is 0.75, above 0.5, only in frames that no transition looks at" in refused(first)
    lost = make_store(tmp_path / "l", [told(NAN, NAN)], how)
    assert "every score of rewards/v1 that they look at is missing" in refused(lost)
    binary = make_store(tmp_path / "b", [told(1, 1)])
    assert "leave it at 0.5" in refused(binary, success_above=1.0)
    text = refused(binary, source_column="truth")
    assert "no value of column 'truth' that they look at is above 0.5" in text
    assert "are the goals in its order?" in text


def test_no_positive_of_a_potential_difference(tmp_path: Path) -> None:
    function = {"name": "potential-difference", "of": {"name": "probability"}}
    how = How(timing=Timing.SAME_FRAME, binary=False, function=function)
    scores = column(0.875, 0.25, 0.375)
    store = make_store(tmp_path / "s", [told(-0.625, 0.125, scores=scores)], how)
    text = refused(store)
    assert "--success-above 0.5; the nearest is 0.375 (goal g0, frame 2 of train/0/0)" in text
    assert (
        "it is 0.875, above 0.5, only in frames that no transition looks at, such as "
        "for goal g0, frame 0" in text
    )
    assert text.endswith("choose goals that do not hold from the start")  # it always looks ahead


def test_nothing_to_look_at(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [Told(column(NAN)), Told(np.zeros((0, 1)))])
    assert "none of the 1 episodes has a transition" in refused(store)
    assert "ids look like train/0/0" in refused(store, episodes=("tset/*",))


def test_rewards_of_another_source(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(1)])
    other = store.rewards("v1").model_copy(update={"source_fingerprint": "e" * 64})
    store.folder.write(f"{other.table}/{MANIFEST}", manifest_bytes(other))
    with pytest.raises(StoreError, match="steps and rewards/v1 are of different sources"):
        build(store)


def test_rewards_of_other_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(1, 1)])
    other = make_store(tmp_path / "o", [told(1)])
    name = f"rewards/v1/{store.slices[0].file}"
    store.folder.write(name, other.folder.read(name))
    small.relist(store, store.rewards("v1"))
    with pytest.raises(StoreError, match="3 rows against 2"):
        build(store)


def test_unknown_goals_and_reward_sets(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(1)])
    with pytest.raises(StoreError, match="no goal g7; its 1 goals are g0"):
        build(store, goals=("g7",))
    (tmp_path / "s/rewards/v1" / MANIFEST).rename(tmp_path / "s/rewards/v1" / PLAN)
    with pytest.raises(StoreError, match="rewards/v1: unfinished"):
        dataset_manifest(store)


@pytest.mark.parametrize("bad", [NAN, math.inf])
def test_an_action_that_is_not_finite_is_named(tmp_path: Path, bad: float) -> None:
    actions = np.zeros((4, 2))
    actions[[1, 2], 1] = bad
    store = make_store(tmp_path / "s", [told(1), told(0, 0, 1, action=actions)])
    with pytest.raises(StoreError, match=r"episode train/0/1, column 'action'.*step 1, 2\)"):
        build(store)
    assert build(store, "without", episodes=("!train/0/1",)).rows == 1


def test_the_filler_action_of_a_last_step_may_be_anything(tmp_path: Path) -> None:
    filler = np.array([[0, 0], [NAN, NAN]])
    store = make_store(tmp_path / "s", [told(1, action=filler)])
    assert build(store).rows == 1


# --- files


def test_materialized_transitions(tmp_path: Path) -> None:
    rewards = np.array([[0, 0], [1, 0], [NAN, NAN]])
    store = make_store(tmp_path / "s", [Told(rewards)])
    manifest = build(store, materialized=True)
    flat = store.read_slices("transitions/gc1", store.slices)
    steps = store.read("steps")
    assert flat.num_rows == sum(r["stop"] - r["start"] for r in trajectories_of(store)) == 4
    rows = flat.to_pylist()
    assert [(r["goal"], r["step"], r["reward"], r["terminal"], r["kind"]) for r in rows] == [
        (0, 0, 0, False, "achieved"),
        (0, 1, 1, True, "achieved"),
        (1, 0, 0, False, "failed"),
        (1, 1, 0, False, "failed"),
    ]
    states = steps.column("observation.state").to_pylist()
    counts = steps.column("observation.count").to_pylist()
    for row in rows:
        assert row["observation.state"] == states[row["step"]]
        assert row["next.observation.state"] == states[row["step"] + 1]
        assert row["next.observation.count"] == counts[row["step"] + 1]
        assert row["action"] == steps.column("action").to_pylist()[row["step"]]
        assert row["text_embedding"] == np.eye(4)[row["goal"]].tolist()
        assert row["split"] == split_of("train/0/0", 0.1, 0.1)
    assert {f.table for f in manifest.files} == {"goal_datasets/gc1", manifest.transitions}


def test_transitions_run_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "s", [told(*[0, 0, 1] * 5)] * 2)
    build(store, materialized=True, end_on_success=False)
    monkeypatch.setattr("relabel.goal_datasets.transitions._BLOCK", 3)
    build(store, "blocks", materialized=True, end_on_success=False)
    one, other = (
        store.read_slices(f"transitions/{name}", store.slices) for name in ("gc1", "blocks")
    )
    assert one.equals(other)


def test_a_committed_slice_is_not_written_again(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(0, 1, NAN, 1)] * 3)
    manifest = build(store, materialized=True, end_on_success=False)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s/goal_datasets").rglob("*.parquet")}
    dataset = manifest.model_copy(update={"files": ()})
    inputs = dataset_inputs(store, dataset)
    files = [
        file
        for piece in store.slices
        for file in build_slice(piece, store=store, dataset=dataset, inputs=inputs).files
    ]
    assert set(files) == set(manifest.files)
    assert {f.table for f in files} == {dataset.table, dataset.transitions, dataset.left_out}
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    episodes = [Told(np.r_[random.integers(0, 2, (9, 3)), [[NAN] * 3]]) for _ in range(8)]
    contents = []
    for order in (1, -1):
        store = make_store(tmp_path / f"s{order}", episodes)
        dataset = dataset_manifest(store, materialized=True)
        inputs = dataset_inputs(store, dataset)
        for piece in store.slices[::order]:
            build_slice(piece, store=store, dataset=dataset, inputs=inputs)
        files = sorted((tmp_path / f"s{order}/goal_datasets").rglob("*.parquet"))
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]


# --- verify


@pytest.mark.parametrize(
    ("column_name", "value", "problem"),
    [
        ("rewards", [0.5] * 3, "rewards that do not follow"),
        ("return", 7.0, "another return"),
        ("terminal", True, "against the flags"),
        ("stop", 9, "beyond the transitions"),
        ("goal", 1, "no goal of the reward set"),
        ("first_success", 0, "another first success"),
        ("success", False, "or none and success"),
        ("split", "elsewhere", "another split"),
        ("kind", "hindsight", "not asked for"),
        ("episode_id", "train/9/9", "not of this slice"),
    ],
)
def test_verify_finds_a_changed_row(
    tmp_path: Path, column_name: str, value: Any, problem: str
) -> None:
    store = make_store(tmp_path / "s", [told(0, 1, 0)])
    manifest = build(store, kinds=("achieved",), end_on_success=False)
    (file,) = manifest.slice_files
    path = tmp_path / "s/goal_datasets/gc1" / file.file
    rows = pq.read_table(path).to_pylist()
    rows[0][column_name] = value
    metadata = pq.read_schema(path).metadata
    table = pa.Table.from_pylist(rows, GOAL_DATASET_SCHEMA.with_metadata(metadata))
    pq.write_table(table, path)
    sums = store.folder.checksums(f"goal_datasets/gc1/{file.file}")
    changed = replace(file, bytes=path.stat().st_size, **asdict(sums))
    listed = manifest.model_copy(update={"files": (changed,)})
    (path.parent / MANIFEST).write_bytes(manifest_bytes(listed))
    found = [p.text for t, ps in verify_store(store) if "goal_datasets" in t for p in ps]
    assert len(found) >= 1
    assert problem in " ".join(found)


def test_verify_finds_a_row_that_is_there_twice(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(0, 1, 0)])
    manifest = build(store, kinds=("achieved",))
    index = store.read(manifest.table)
    doubled = pa.concat_tables([index, index])
    assert list(trajectory_problems(store, manifest, store.slices[0], index)) == []
    found = list(trajectory_problems(store, manifest, store.slices[0], doubled))
    assert found == ["1 trajectories are there twice"]


def test_verify_finds_rewards_made_anew_and_lost_transitions(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [told(0, 1, 0)])
    manifest = build(store, materialized=True)
    (tmp_path / "s" / manifest.transitions / store.slices[0].file).unlink()
    found = dict(verify_store(store))["goal_datasets/gc1"]
    assert [(p.table, p.text) for p in found] == [(manifest.transitions, "missing")]
    anew = store.rewards("v1").model_copy(update={"goals_hash": "h"})
    store.folder.write(f"{anew.table}/{MANIFEST}", manifest_bytes(anew))
    texts = [p.text for p in dict(verify_store(store))["goal_datasets/gc1"]]
    assert any("was made again" in text for text in texts)
