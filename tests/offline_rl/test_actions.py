"""Joined actions: their order, their scale, the way back, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from d3rlpy.constants import ActionSpace

from offline_rl import training
from offline_rl.actions import ActionBounds, ActionLayout, ActionPart, layout_of, read_actions
from offline_rl.algorithms import ALGORITHMS
from offline_rl.dataset import GoalDataset, View
from offline_rl.policies import RestoredPolicy
from offline_rl.restoring import restorer
from offline_rl.run_config import TrainConfig, load_config
from schemas.enums import Split
from schemas.errors import RunError, StoreError
from schemas.store import Store
from tests.offline_rl import arms
from tests.offline_rl.runs import SMALL, run

spaces = gym.spaces
WHOLE = ("action.arm.move", "action.arm.turn", "action.grip", "action.on", "action.stop")


@pytest.fixture(scope="module")
def arm_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only."""
    return arms.make_store(tmp_path_factory.mktemp("arms"))


@pytest.fixture
def store(arm_store: Path) -> Store:
    return Store.open(str(arm_store))


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    """Every step as it was written, in the order of the store."""
    return [step for item in arms.items() for step in item["steps"]]


def value(step: dict[str, Any], column: str) -> Any:
    found: Any = step
    for key in column.split("."):
        found = found[key]
    return np.ravel(np.asarray(found, np.float64))


# --- joining


def test_whole_group_is_joined_in_stored_order(
    store: Store, recorded: list[dict[str, Any]]
) -> None:
    layout = layout_of(store, ["action"])
    assert tuple(part.column for part in layout.parts) == WHOLE
    assert [part.shape for part in layout.parts] == [(2, 2), (), (1,), (), (3,)]
    assert (layout.width, layout.space) == (10, ActionSpace.CONTINUOUS)
    found = read_actions(store, layout)
    wanted = np.stack([np.concatenate([value(s, column) for column in WHOLE]) for s in recorded])
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6)
    assert found.taken.tolist() == [not step["is_last"] for step in recorded]


def test_columns_are_joined_in_the_order_given(
    store: Store, recorded: list[dict[str, Any]]
) -> None:
    names = ("action.stop", "keys", "action.arm")
    found = read_actions(store, layout_of(store, names))
    columns = ("action.stop", "keys", "action.arm.move", "action.arm.turn")
    wanted = np.stack([np.concatenate([value(s, column) for column in columns]) for s in recorded])
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6)
    assert str(found.layout) == (
        "action.stop int32[3] + keys int16[2] + action.arm.move float64[2×2] + "
        "action.arm.turn float32"
    )


# --- what is a choice


@pytest.mark.parametrize(
    ("name", "discrete", "space"),
    [
        ("id", None, ActionSpace.DISCRETE),  # one integer scalar
        ("id", False, ActionSpace.CONTINUOUS),
        ("key", None, ActionSpace.CONTINUOUS),  # uint8[1]
        ("key", True, ActionSpace.DISCRETE),
        ("press", None, ActionSpace.CONTINUOUS),
        ("press", True, ActionSpace.DISCRETE),
        ("action.grip", None, ActionSpace.CONTINUOUS),
        ("action.stop", None, ActionSpace.CONTINUOUS),
    ],
)
def test_choices_are_what_the_user_says(
    store: Store, name: str, discrete: bool | None, space: ActionSpace
) -> None:
    assert layout_of(store, [name], discrete).space is space


def test_choices_are_ids_and_fillers_do_not_widen_the_head(
    store: Store, recorded: list[dict[str, Any]]
) -> None:
    found = read_actions(store, layout_of(store, ["key"], discrete=True))
    assert found.values.dtype == np.int64
    wanted = [[0] if s["is_last"] else s["key"].tolist() for s in recorded]  # fillers are 200
    assert found.values.tolist() == wanted
    assert found.size == 6
    (note,) = found.notes()
    assert "key uint8[1]: 3 of 6 ids are ever taken (never: 1, 3, 4)" in note
    pressed = read_actions(store, layout_of(store, ["press"], discrete=True))
    assert (pressed.size, pressed.notes()) == (2, [])


def test_wide_head_is_noted(store: Store) -> None:
    found = read_actions(store, layout_of(store, ["id"]))
    assert found.size == 1507
    holes, wide = found.notes()
    assert "3 of 1,507 ids are ever taken (never: 0, 1, 2, 3, 4, 5, 6, 7…)" in holes
    assert "a head of 1,507 outputs" in wide and "--no-discrete" in wide


@pytest.mark.parametrize(
    ("names", "discrete", "parts"),
    [
        (["motion"], None, ("no action column 'motion'; there are ", "action.arm.move")),
        (["action", "action.grip"], None, ("action.grip is named twice",)),
        (["key", "key"], None, ("key is named twice",)),
        (["words"], None, ("words.said cannot be joined", "--action words.loud")),
        (["note"], None, ("no action column 'note'",)),
        ([], None, ("expected at least one column",)),
        (["keys"], True, ("--discrete: expected one number per step", "keys int16[2] (2 values)")),
        (["key", "press"], True, ("--discrete", "(2 values)")),
    ],
)
def test_what_cannot_be_joined(
    store: Store, names: list[str], discrete: bool | None, parts: tuple[str, ...]
) -> None:
    with pytest.raises(StoreError) as caught:
        layout_of(store, names, discrete)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("action.grip", "numbered from 0, the lowest is -3"),
        ("words.loud", r"discrete actions are whole numbers, got 0\.[0-9]+; leave --discrete"),
    ],
)
def test_what_is_no_id(store: Store, name: str, text: str) -> None:
    with pytest.raises(StoreError, match=text):
        read_actions(store, layout_of(store, [name], discrete=True))


# --- the scale


@pytest.mark.parametrize("names", [("action",), ("keys",), ("key", "press"), ("action.grip",)])
def test_every_continuous_action_is_scaled_whatever_its_type(
    names: tuple[str, ...], arm_store: Path, recorded: list[dict[str, Any]]
) -> None:
    config = TrainConfig(
        store=str(arm_store),
        dataset="gc1",
        algo="td3-bc",
        settings=SMALL,
        observations=("observation.state",),
        actions=names,
        steps=1,
    )
    dataset = training.open_dataset(config)
    replay = dataset.replay(Split.TRAIN, config.view)
    agent = training.build_agent(config, ALGORITHMS["td3-bc"], dataset, replay)
    columns = [part.column for part in dataset.action_layout(config.view).parts]
    options = dataset.manifest.options
    own = [
        np.concatenate([value(step, column) for column in columns])
        for number, item in enumerate(arms.items())
        for step in item["steps"]
        if not step["is_last"] and options.split(episode_id(number)) is Split.TRAIN
    ]
    low, high = np.min(own, axis=0), np.max(own, axis=0)
    low, high = np.where(low == high, low - 1, low), np.where(low == high, high + 1, high)
    wanted = (np.array(own) - low) / (high - low) * 2 - 1
    assert len({len(own), len(recorded)}) == 2
    scaled = agent.config.action_scaler.transform_numpy(np.array(own, np.float32))
    np.testing.assert_allclose(scaled, wanted, atol=1e-5)
    batch = replay.sample_transition_batch(64).actions
    assert np.abs(agent.config.action_scaler.transform_numpy(batch)).max() <= 1 + 1e-5
    acts = agent.predict(np.zeros((4, 3 + 4), np.float32))
    assert (acts >= low - 1e-3 * np.abs(low) - 1e-5).all()
    assert (acts <= high + 1e-3 * np.abs(high) + 1e-5).all()


def bounded(arm_store: Path, **changes: Any) -> TrainConfig:
    config = TrainConfig(
        store=str(arm_store),
        dataset="gc1",
        algo="td3-bc",
        settings=SMALL,
        observations=("observation.state",),
        action_bounds=ActionBounds.PERCENTILES,
        steps=1,
    )
    return config.model_copy(update=changes)


def test_percentiles_bound_floats_and_cut_what_lies_beyond(arm_store: Path) -> None:
    config = bounded(arm_store)
    dataset = training.open_dataset(config)
    replay = dataset.replay(Split.TRAIN, config.view)
    parts = dataset.action_layout(config.view).parts
    options = dataset.manifest.options
    own = {
        part.column: np.array(
            [
                value(step, part.column)
                for number, item in enumerate(arms.items())
                for step in item["steps"]
                if not step["is_last"] and options.split(episode_id(number)) is Split.TRAIN
            ]
        )
        for part in parts
    }
    floats = ("action.arm.move", "action.arm.turn")
    assert {part.column for part in parts} == set(WHOLE)
    low, high = (
        np.concatenate(
            [
                np.percentile(own[part.column], share if part.column in floats else end, axis=0)
                for part in parts
            ]
        )
        for share, end in ((1, 0), (99, 100))
    )
    scaler = training.build_agent(config, ALGORITHMS["td3-bc"], dataset, replay)
    scaler = scaler.config.action_scaler
    constant = low == high
    np.testing.assert_allclose(scaler.minimum, low - constant, rtol=1e-5)
    np.testing.assert_allclose(scaler.maximum, high + constant, rtol=1e-5)
    wanted = np.concatenate([own[part.column] for part in parts], axis=1)
    assert ((wanted < low) | (wanted > high))[:, :5].any(axis=0).all()  # each float is cut
    seen = {tuple(np.round(a, 4)) for a in replay.sample_transition_batch(4096).actions.tolist()}
    assert seen <= {tuple(np.round(a, 4)) for a in np.clip(wanted, low, high).tolist()}
    plain = dataset.actions(bounded(arm_store, action_bounds=ActionBounds.MIN_MAX).view)
    assert plain.values.max() > dataset.actions(config.view).values.max()  # the other view's stay


def test_a_value_that_nearly_all_actions_have_leaves_the_least_and_greatest(
    arm_store: Path,
) -> None:
    dataset = GoalDataset(str(arm_store), "gc1")
    actions = dataset.actions(View((), actions=("action.arm.turn", "action.on")))
    known = dataset.manifest.statistics["action.arm.turn"]
    low, high = np.array([-3, 0], np.float32), np.array([3, 1], np.float32)
    found = actions.within(low, high, {"action.arm.turn": known})
    np.testing.assert_array_equal(found, np.float32([[known.p01[0], 0], [known.p99[0], 1]]))
    flat = known.model_copy(update={"p01": (0.5,), "p99": (0.5,)})
    assert [b.tolist() for b in actions.within(low, high, {"action.arm.turn": flat})] == [
        [-3, 0],
        [3, 1],
    ]
    with pytest.raises(StoreError, match=r"no percentiles of action\.arm\.turn; build it again"):
        actions.within(low, high, {})


def test_choices_have_no_bounds(arm_store: Path) -> None:
    config = bounded(arm_store, actions=("id",))
    dataset = training.open_dataset(config)
    with pytest.raises(StoreError, match=r"p01-p99: id int64 is the id of a choice"):
        dataset.replay(Split.TRAIN, config.view)


def test_bounds_belong_to_the_run(arm_store: Path, tmp_path: Path) -> None:
    run(bounded(arm_store), tmp_path)
    assert load_config(tmp_path).action_bounds is ActionBounds.PERCENTILES
    with pytest.raises(RunError, match="action_bounds: stored p01-p99, asked for min-max"):
        run(bounded(arm_store, action_bounds=ActionBounds.MIN_MAX), tmp_path)


def episode_id(number: int) -> str:
    return f"train/0/{number}" if number < 4 else f"train/1/{number - 4}"


def test_layout_is_kept_in_the_run(arm_store: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        store=str(arm_store),
        dataset="gc1",
        algo="bc",
        settings=SMALL,
        observations=("observation.state",),
        actions=("action.stop", "action.arm"),
        steps=1,
    )
    plans: list[training.Plan] = []
    run(config, tmp_path, begins=plans.append)
    stored = load_config(tmp_path).layout
    assert stored is not None and plans[0].does == stored
    assert [part.column for part in stored.parts] == [
        "action.stop",
        "action.arm.move",
        "action.arm.turn",
    ]
    assert stored.parts[0].one_hot == (0, 1)
    assert stored.parts[1].one_hot == ()


# --- the way back

JOINED = ActionLayout(
    parts=(
        ActionPart(column="action.arm.move", dtype="float64", shape=(2, 2)),
        ActionPart(column="action.grip", dtype="int64", shape=(1,)),
        ActionPart(column="action.on", dtype="bool"),
        ActionPart(column="action.stop", dtype="int32", shape=(3,), one_hot=(0, 1)),
    )
)
VECTOR = np.array([1, 2, 3, 4, 6.7, 0.4, 0.2, 0.3, 0.9], np.float32)
DICT = spaces.Dict(
    {
        "arm": spaces.Dict({"move": spaces.Box(-9, 9, (2, 2), np.float32)}),
        "grip": spaces.Box(-9, 9, (1,), np.int64),
        "on": spaces.Discrete(2),
        "stop": spaces.MultiBinary(3),
    }
)


def test_dict_environments_get_dicts() -> None:
    action = restorer(JOINED, DICT)(VECTOR)
    assert DICT.contains(action)
    np.testing.assert_array_equal(action["arm"]["move"], [[1, 2], [3, 4]])
    assert action["grip"].tolist() == [7]
    assert action["on"] == 0
    assert action["stop"].tolist() == [0, 1, 0]  # the third is never 1 in the data


def test_box_environments_get_the_joined_vector() -> None:
    space = spaces.Box(-9, 9, (9,), np.float32)
    action = restorer(JOINED, space)(VECTOR)
    assert space.contains(action)
    assert action.tolist() == [1, 2, 3, 4, 7, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("part", "space", "given", "wanted"),
    [
        (ActionPart(column="a", dtype="int64"), spaces.Discrete(4), 2, 2),
        (ActionPart(column="a", dtype="int64", shape=(1,)), spaces.Discrete(9), [3.4], 3),
        (ActionPart(column="a", dtype="bool"), spaces.Discrete(2), 1, 1),
        (ActionPart(column="a", dtype="float32"), spaces.Box(-9, 9, (1,)), [0.25], [0.25]),
        (ActionPart(column="a", dtype="uint8", shape=(2,)), spaces.Box(-9, 999, (2,)),
         [300, 4.6], [255, 5]),
        (ActionPart(column="a", dtype="int32", shape=(2,)), spaces.MultiDiscrete([9, 9]),
         [1.6, 4.4], [2, 4]),
        (ActionPart(column="a", dtype="int64", shape=(1,)), None, 3, [3]),
        (ActionPart(column="a", dtype="bool"), None, 1, True),
    ],
)  # fmt: skip
def test_spaces_get_their_own_type(part: ActionPart, space: Any, given: Any, wanted: Any) -> None:
    made = restorer(ActionLayout(parts=(part,)), space)(np.asarray(given))
    assert np.asarray(made).tolist() == wanted
    assert space is None or space.contains(made)


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (spaces.Box(-1, 1, (7,)), r"takes actions of shape \(7,\), the agent's have 9 values"),
        (spaces.Discrete(4), r"the agent's have 9 values"),
        (spaces.Dict({"arm": spaces.Box(-1, 1, (4,))}), "no 'move' for action.arm.move, only Box"),
        (spaces.Dict({**DICT.spaces, "grip": spaces.Box(-1, 1, (2,))}), "action.grip: .*takes"),
        (spaces.Dict({**DICT.spaces, "fly": spaces.Discrete(2)}), "need fly, which no --action"),
    ],
)
def test_environments_of_other_actions_are_refused(space: Any, text: str) -> None:
    with pytest.raises(RunError, match=text):
        restorer(JOINED, space)(VECTOR)


def test_policy_acts_in_the_environments_terms() -> None:
    class Agent:
        def predict(self, x: Any) -> Any:
            return np.tile(VECTOR, (len(x), 1))

    acts = RestoredPolicy(Agent(), restorer(JOINED, DICT)).predict(np.zeros((3, 2), np.float32))
    assert len(acts) == 3
    assert all(DICT.contains(action) for action in acts)


def test_actions_are_read_once(arm_store: Path) -> None:
    dataset = GoalDataset(Store.open(str(arm_store)), "gc1")
    view = View((), actions=("keys",))
    assert dataset.actions(view) is dataset.actions(view)
