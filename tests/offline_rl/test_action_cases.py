"""Actions of odd sources from the source to a rollout, against the records themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tensorflow_datasets as tfds

from offline_rl import checkpoints, evaluation, policies, rollouts, training
from offline_rl.dataset import GoalEncoding
from offline_rl.observations import default_observations
from offline_rl.restoring import restorer
from offline_rl.run_config import TrainConfig, load_config
from pipelines import jobs
from relabel.jobs.options import EmbedOptions
from relabel.testing import load_pixel_mean_encoder
from schemas.enums import LastStep, Split
from schemas.store import Store
from tests.offline_rl import playground
from tests.offline_rl.runs import SMALL, run

CASES = Path(__file__).parents[2] / "../shared/cases"
BY_NAME = {  # case → columns in the order joined, whether one choice
    "act_int1": (("action",), True),
    "act_onehot": (("action",), False),
    "act_bool0": (("action",), True),
    "act_dict": (
        ("action.gripper", "action.terminate_episode", "action.world_vector"),
        False,
    ),
    "fractal_like": (
        (
            "action.base_displacement_vector",
            "action.gripper_closedness_action",
            "action.terminate_episode",
            "action.world_vector",
        ),
        False,
    ),
    "instr": (("action",), False),
}


@pytest.fixture(scope="module", params=BY_NAME)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name of a case and a store of it with dataset `gc1`; read-only."""
    source = CASES / request.param / "1.0.0"
    if not source.is_dir():
        pytest.skip(f"no odd sources at {CASES}")
    store = tmp_path_factory.mktemp(request.param) / "store"
    options = EmbedOptions(
        source=str(source),
        split="train",
        cameras=("image",),
        encoder=load_pixel_mean_encoder,
        last_step=LastStep.CARRIES_ACTION,
        dtype="float32",
        episodes_per_slice=3,
    )
    jobs.embed(playground.job_of(store), options)
    playground.score(store, "v1", parameters={"threshold": 1e-6})  # the rooms are no playground
    playground.goal_dataset(store, "gc1", "v1")
    return request.param, source, store


def recorded(source: Path, columns: tuple[str, ...]) -> np.ndarray:
    """(F, A) actions as TFDS reads them, joined by hand."""
    builder = tfds.builder_from_directory(str(source))
    rows = []
    for episode in builder.as_dataset("train", read_config=tfds.ReadConfig(try_autocache=False)):
        for step in episode["steps"].as_numpy_iterator():
            parts = []
            for column in columns:
                value: Any = step
                for key in column.split("."):
                    value = value[key]
                parts.append(np.ravel(np.asarray(value, np.float64)))
            rows.append(np.concatenate(parts))
    return np.array(rows)


def config_of(store: Path, discrete: bool, **more: Any) -> TrainConfig:
    options: dict[str, Any] = {
        "algo": "discrete-cql" if discrete else "td3-bc",
        "discrete": True if discrete else None,
        "observations": default_observations(Store.open(str(store))).names,
        "goal_encoding": GoalEncoding.ONE_HOT,
        **more,
    }
    return TrainConfig(store=str(store), dataset="gc1", settings=SMALL, steps=6, **options)


def test_actions_are_the_records_and_scaled(case: Any, tmp_path: Path) -> None:
    name, source, store = case
    columns, discrete = BY_NAME[name]
    wanted = recorded(source, columns)
    config = config_of(store, discrete)
    dataset = training.open_dataset(config)
    actions = dataset.actions(config.view)
    assert tuple(part.column for part in actions.layout.parts) == columns
    np.testing.assert_allclose(actions.values, wanted, rtol=1e-6)
    run(config, tmp_path / "run")
    agent = checkpoints.load_agent(tmp_path / "run")
    if discrete:
        assert agent.impl.action_size == wanted.max() + 1
        return
    low, high = wanted.min(axis=0), wanted.max(axis=0)
    low, high = np.where(low == high, low - 1, low), np.where(low == high, high + 1, high)
    scaled = agent.config.action_scaler.transform_numpy(wanted.astype(np.float32))
    np.testing.assert_allclose(scaled, (wanted - low) / (high - low) * 2 - 1, atol=1e-5)


def test_no_instruction_is_seen(case: Any) -> None:
    name, _, store = case
    found = default_observations(Store.open(str(store)))
    embedded = name in ("fractal_like", "instr")
    text = "observation.natural_language_embedding"
    assert (text in found.left_out) == embedded
    assert text not in found.names


class Endless:
    """Takes whatever its space contains."""

    def __init__(self, space: Any, keys: dict[str, tuple[int, ...]]) -> None:
        self.action_space, self.keys = space, keys

    def reset(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        self.left = 3
        return self.seen(), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.left -= 1
        return self.seen(), 0.0, False, self.left == 0, {}

    def seen(self) -> dict[str, Any]:
        return {key: np.ones(shape, np.float32) for key, shape in self.keys.items()}

    def close(self) -> None:
        """Nothing to give back."""


SPACES = {
    "act_int1": gym.spaces.Box(0, 99, (1,), np.int64),
    "act_onehot": gym.spaces.MultiBinary(4),
    "act_bool0": gym.spaces.Discrete(2),
    "instr": gym.spaces.Box(-99, 99, (4,)),
    "act_dict": gym.spaces.Dict(
        gripper=gym.spaces.Box(-99, 99, (1,)),
        terminate_episode=gym.spaces.Discrete(9),
        world_vector=gym.spaces.Box(-99, 99, (3,)),
    ),
    "fractal_like": gym.spaces.Dict(
        base_displacement_vector=gym.spaces.Box(-99, 99, (2,)),
        gripper_closedness_action=gym.spaces.Box(-99, 99, (1,)),
        terminate_episode=gym.spaces.MultiBinary(3),
        world_vector=gym.spaces.Box(-99, 99, (3,)),
    ),
}


def test_rollouts_give_environments_their_own_actions(case: Any, tmp_path: Path) -> None:
    name, _, store = case
    _, discrete = BY_NAME[name]
    config = config_of(store, discrete)
    run(config, tmp_path)
    layout = load_config(tmp_path).layout
    assert layout is not None
    specs = {f.name: f.shape for f in Store.open(str(store)).manifest.fields}
    keys = {n.removeprefix("observation."): specs[n] for n in config.observations}
    space = SPACES[name]
    policy = policies.RestoredPolicy(checkpoints.load_agent(tmp_path), restorer(layout, space))
    goals = {"red": np.eye(3, dtype=np.float32)[0]}
    observer = rollouts.Observer(config.observations, goals)
    made = lambda: Endless(space, keys)  # noqa: E731
    results = rollouts.roll_out(policy, made, observer, ["red"], episodes=2, seed=0)
    assert [result.length for result in results] == [3, 3]


def test_one_hot_parts_are_known(case: Any) -> None:
    name, source, store = case
    columns, discrete = BY_NAME[name]
    config = config_of(store, discrete)
    layout = training.open_dataset(config).actions(config.view).layout
    found = {part.column: part.one_hot for part in layout.parts if part.one_hot}
    wanted = recorded(source, columns)
    if name == "act_onehot":
        assert found == {"action": tuple(np.flatnonzero(wanted.any(axis=0)))}
    elif name == "fractal_like":
        assert found == {"action.terminate_episode": (0, 1)}
    else:
        assert found == {}


def test_reports_of_cases_are_json(case: Any, tmp_path: Path) -> None:
    name, _, store = case
    config = config_of(store, BY_NAME[name][1])
    run(config, tmp_path)
    dataset = training.open_dataset(config)
    replay = dataset.replay(Split.TRAIN, config.view)
    agent = checkpoints.load_agent(tmp_path)
    values = evaluation.goal_values(agent, [], replay, dataset.goal_ids, critic=True)
    report = evaluation.EvaluationReport(run="r", step=6, split="train", values=tuple(values))
    saved = evaluation.save_report(report, tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(Path(saved.saved).read_text(), parse_constant=refuse)
