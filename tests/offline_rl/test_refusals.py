"""What training, evaluation and datasets refuse, and the words that say how to go on."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from offline_rl import algorithms, checkpoints, training
from offline_rl.algorithms import ALGORITHMS, configure, find, parse_settings
from offline_rl.dataset import GoalDataset, GoalEncoding, View
from offline_rl.frames import FrameColumns, FrameTable
from offline_rl.run_config import CONFIG, load_config
from schemas.enums import Kind, LastStep, Split, Timing
from schemas.errors import AlgorithmError, RelabelError, RunError, StoreError
from schemas.manifests import manifest_bytes
from schemas.store import MANIFEST, PLAN, STORE_MANIFEST, Store
from tests.offline_rl import playground
from tests.offline_rl.runs import TRANSFORMER, config_of, run


def first_frame(frames: FrameTable, episode: str) -> int:
    return int(frames.starts(pa.chunked_array([[episode]]))[0])


def refused(store: Path, out: Path, algo: str = "iql", **changes: Any) -> str:
    """The message; nothing was written."""
    with pytest.raises(RelabelError) as caught:
        run(config_of(store, algo, 5, **changes), out)
    assert not out.exists()
    return str(caught.value)


def has(message: str, *parts: str) -> None:
    for part in parts:
        assert part in message


# --- the dataset


def test_dataset_without_its_manifest(own_store: Path, tmp_path: Path) -> None:
    folder = own_store / "goal_datasets" / "gc1"
    (folder / MANIFEST).rename(folder / PLAN)  # as a killed job leaves it
    message = refused(own_store, tmp_path / "run")
    has(message, "goal_datasets/gc1", "unfinished", "vlm-relabel build-goals … the same again")


def test_dataset_that_was_never_built(playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", dataset="gc7")
    has(message, "no table 'goal_datasets/gc7'", "goal_datasets/gc1", "build it: `vlm-relabel")
    has(message, "build-goals", "--name gc7`")


def test_reward_set_made_anew_since(own_store: Path, tmp_path: Path) -> None:
    job = replace(playground.job_of(own_store), overwrite=True)
    playground.score(own_store, Timing.NEXT_FRAME, job=job, parameters={"threshold": 0.8})
    message = refused(own_store, tmp_path / "run")
    has(message, "gc1", "'next-frame'", "made again", "build-goals", "--overwrite")


def test_no_positive_anywhere(own_store: Path) -> None:
    playground.score(own_store, "strict", parameters={"threshold": 0.99999})
    with pytest.raises(StoreError) as caught:
        playground.goal_dataset(own_store, "none", "strict")
    has(
        str(caught.value),
        "transitions reaches any of 3 goals",
        "threshold 0.99999",
        "the nearest is",
        "calibrate the threshold",
        "--threshold X",
    )
    assert not (own_store / "goal_datasets" / "none").exists()


def test_true_rewards_without_the_truths_dataset(playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", learn_from="true", dataset="next-frame")
    has(message, "next-frame.true", "vlm-relabel build-goals", "--name next-frame --truth COLUMN")


def test_no_trajectory_in_the_split(playground_store: Path) -> None:
    dataset = GoalDataset(Store.open(str(playground_store)), "next-frame")
    with pytest.raises(StoreError, match=r"no trajectory of kind .* in the validation split"):
        dataset.replay(Split.VALIDATION, View(("observation.state",)))


def test_every_kind_has_weight_nought(playground_store: Path, tmp_path: Path) -> None:
    weights = dict.fromkeys(("achieved", "failed", "commanded", "hindsight"), 0.0)
    message = refused(playground_store, tmp_path / "run", weights=weights)
    has(message, "every weight is 0", "train split")


def test_several_goals_without_a_goal_in_the_observation(
    playground_store: Path, tmp_path: Path
) -> None:
    message = refused(playground_store, tmp_path / "run", goal_encoding=GoalEncoding.NONE)
    has(message, "--goal-encoding none", "expected a dataset of one goal", "got 3 goals")


def test_positive_share_without_positives(own_store: Path, tmp_path: Path) -> None:
    playground.goal_dataset(
        own_store,
        "bad",
        Timing.NEXT_FRAME,
        playground.ALL.model_copy(update={"kinds": (Kind.FAILED,)}),
    )
    message = refused(own_store, tmp_path / "run", dataset="bad", positive_share=0.3)
    has(message, "--positive-share 0.3", "no transition has a positive reward")


# --- observations


@pytest.mark.parametrize("name", ["observation.stat", "embedding:clip", "language_instruction"])
def test_unknown_observation_column(name: str, playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", observations=(name,))
    has(message, name, "there are", "pixel-mean")
    assert "[" not in message
    assert ("observation.state" in message) == (not name.startswith("embedding:"))


def test_no_observation_column(playground_store: Path) -> None:
    with pytest.raises(StoreError, match="expected at least one column"):
        FrameColumns(Store.open(str(playground_store)), [])


def test_embedding_name_that_fits_several(own_store: Path) -> None:
    store = Store.open(str(own_store))
    one = next(t for t in store.tables() if t.startswith("embeddings/"))
    other = own_store / f"{one}-more" / MANIFEST
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    with pytest.raises(StoreError, match=r"fits several tables; there are pixel-mean\S*, pixel-"):
        FrameColumns(Store.open(str(own_store)), ["embedding:pixel"])


def test_trajectory_that_begins_with_a_missing_embedding(
    playground_store: Path,
) -> None:
    dataset = GoalDataset(Store.open(str(playground_store)), "next-frame")
    view = View(("observation.state",))
    frames = dataset.frames(view)
    rows = dataset.rows(Split.TRAIN).to_pylist()
    starts = {row["episode_id"] for row in rows if row["start"] == 0}
    episode = sorted(starts)[0]
    frames.finite[first_frame(frames, episode)] = False
    with pytest.raises(StoreError) as caught:
        dataset.replay(Split.TRAIN, view, frames=frames)
    has(str(caught.value), "observation.state", episode, f"--episode '!{episode}'", "1 episodes")
    # Behind the last transition of a terminal row nothing is looked at.
    frames = dataset.frames(view)
    last = {first_frame(frames, r["episode_id"]) + frames.length(r["episode_id"]) - 1 for r in rows}
    shown = {
        first_frame(frames, r["episode_id"]) + t
        for r in rows
        for t in range(r["start"], r["stop"] + (not r["terminal"]))
    }
    assert last - shown
    frames.finite[list(last - shown)] = False
    dataset.replay(Split.TRAIN, view, frames=frames)


# --- actions


def with_actions(
    folder: Path, change: Any, last_step: LastStep = LastStep.FINAL_OBSERVATION
) -> GoalDataset:
    """A dataset of a source whose actions were changed, indexed by another column's name."""
    items = playground.episodes()
    for number, item in enumerate(items):
        change(number, item["steps"])
    source = playground.write_source(folder / "source" / "1.0.0", items)
    store = folder / "store"
    playground.embed(source, store, last_step)
    playground.score(store, "v1")
    playground.goal_dataset(store, "gc1", "v1")
    return GoalDataset(Store.open(str(store)), "gc1")


def test_nan_action_is_named_and_filler_is_not_one(tmp_path: Path) -> None:
    def spoil(number: int, steps: list[Any]) -> None:
        steps[-1]["action"] = np.full(2, np.nan, np.float32)  # RLDS: it means nothing
        for step in steps:
            step["observation"]["state"] = np.ones(3, np.float32)
        if number == 40:
            steps[1]["observation"]["state"] = np.full(3, np.nan, np.float32)

    dataset = with_actions(tmp_path, spoil)
    actions = dataset.actions(View((), actions=("action",)))
    assert np.isfinite(actions.values).all()
    # As an action column, the state has one bad row: episode 40 is the 17th of shard 1.
    with pytest.raises(StoreError, match=r"1 actions are not finite.* train/1/16 step 1;"):
        dataset.actions(View((), actions=("observation.state",)))
    replay = dataset.replay(Split.TRAIN, View(("observation.flat",)))
    assert np.isfinite(replay.sample_transition_batch(256).next_actions).all()


def test_nan_action_at_build_goals(tmp_path: Path) -> None:
    def spoil(number: int, steps: list[Any]) -> None:
        if number == 45:
            steps[2]["action"] = np.array([0, np.nan], np.float32)

    with pytest.raises(
        Exception, match=r"episode train/1/21, column 'action'.*\(step 2\)"
    ) as caught:
        with_actions(tmp_path, spoil)
    assert "--episode '!train/1/21'" in str(caught.value)


def test_constant_action_beside_its_filler(tmp_path: Path) -> None:
    def spoil(number: int, steps: list[Any]) -> None:
        for step in steps[:-1]:
            step["action"] = np.array([0.5, -1], np.float32)

    dataset = with_actions(tmp_path, spoil)
    with pytest.raises(StoreError, match=r"action: every action is .*0\.5, -1\.0.*right column"):
        dataset.actions(View((), actions=("action",)))


def test_negative_choice_is_refused_unless_it_is_filler(
    playground_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = GoalDataset(Store.open(str(playground_store)), "gc1")
    choice = dataset.store.read("steps", ["choice"]).column("choice").to_numpy()
    steps = dataset.store.read("steps", ["step"]).column("step").to_numpy()
    last = np.append(steps[1:] == 0, True)

    def read(values: Any) -> Any:
        monkeypatch.setattr("offline_rl.actions.as_matrix", lambda _: values.reshape(-1, 1))
        fresh = GoalDataset(dataset.store, "gc1")
        return fresh.actions(View((), actions=("choice",))).values[:, 0]

    filled = read(np.where(last, -1, choice).astype(np.float32))
    np.testing.assert_array_equal(filled, np.where(last, 0, choice))
    with pytest.raises(StoreError, match="numbered from 0, the lowest is -1"):
        read(choice.astype(np.float32) - 1)


@pytest.mark.parametrize("column", ["acton", "language_instruction"])
def test_unknown_action_column(column: str, playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", actions=(column,))
    has(message, f"no action column {column!r}; there are action, choice, ")


# --- algorithms


def test_algorithm_for_the_other_action_space(playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", "iql", actions=("choice",))
    has(message, "--algo iql", "discrete actions", "discrete-cql, discrete-bcq, discrete-bc")
    assert "td3-bc" not in message
    message = refused(playground_store, tmp_path / "run", "discrete-bc", actions=("action",))
    has(message, "--algo discrete-bc", "continuous actions", "iql, cql", "td3-bc")
    message = refused(playground_store, tmp_path / "run", "sac", settings={})
    has(message, "--algo sac: unknown", "iql")


def test_unknown_hyper_parameter(playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", settings={"expectil": 0.5})
    has(message, "unknown hyper-parameter expectil of IQLConfig; the known ones are hidden_units, ")
    has(message, "expectile", "batch_size")


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("batch_size=many", "batch_size='many': expected an int like 256"),
        ("batch_size=2.5", "batch_size=2.5: expected an int like 256"),
        ("batch_size=true", "batch_size=True: expected an int like 256"),
        ("expectile=high", "expectile='high': expected a float like 0.7"),
        ("expectile=false", "expectile=False: expected a float like 0.7"),
        ("compile_graph=1", "compile_graph=1: expected a bool like False"),
        ("hidden_units=16", "hidden_units=16: expected a list such as [256,256]"),
        ("hidden_units=[16,-1]", "expected a list such as [256,256]"),
        ("expectile", "'expectile': expected key=value"),
        ("expectile=[1", "'expectile=[1': the value is not YAML"),
    ],
)
def test_wrong_kind_of_value(setting: str, problem: str) -> None:
    with pytest.raises(AlgorithmError, match=re.escape(problem)) as caught:
        configure(ALGORITHMS["iql"], parse_settings([setting]), {})
    assert str(caught.value).startswith("--set ")


def test_numbers_are_read_as_they_are_written() -> None:
    read = parse_settings(["a=1e-4", "b=3", "c=0.5", "d=[8,8]", "e=true", "f = -2E3", "g=x=y"])
    assert read == {"a": 1e-4, "b": 3, "c": 0.5, "d": [8, 8], "e": True, "f": -2000.0, "g": "x=y"}
    config = configure(ALGORITHMS["iql"], parse_settings(["actor_learning_rate=1e-5"]), {})
    assert config.actor_learning_rate == 1e-5


def test_choices_are_listed() -> None:
    algorithm = find("decision-transformer", ALGORITHMS["decision-transformer"].action_space)
    config = configure(algorithm, {"position_encoding_type": "global"}, {})
    assert config.position_encoding_type.value == "global"
    with pytest.raises(AlgorithmError, match="expected one of simple, global"):
        configure(algorithm, {"position_encoding_type": "local"}, {})


def test_algorithm_that_needs_rewards_without_any(playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", learn_from="none")
    has(message, "--learn-from none: iql learns from rewards; choose bc")
    assert "discrete" not in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"positive_share": 0.5}, "--positive-share 0.5: --learn-from none learns without"),
        ({"positive_share": 0.0}, "--positive-share 0: --learn-from none learns without"),
        ({"weights": {"failed": 0.5}}, "--kind-weight failed=0.5: --learn-from none learns from"),
        ({"weights": {"commanded": 1.0, "failed": 0.0}}, "--kind-weight failed=0: --learn-from"),
    ],
)
def test_what_rewards_decide_is_refused_without_them(
    changes: dict[str, Any], said: str, playground_store: Path, tmp_path: Path
) -> None:
    changes = {"positive_share": None, "learn_from": "none", **changes}
    message = refused(playground_store, tmp_path / "run", "bc", **changes)
    has(message, said)
    assert message.endswith("; leave it out")
    assert message.count("leave it out") == 1
    with_rewards = config_of(playground_store, "bc", 1, **{**changes, "learn_from": "vlm"})
    run(with_rewards, tmp_path / "run")


@pytest.mark.parametrize(
    ("kinds", "mined", "parts"),
    [
        (("achieved",), True, ("built without that kind", "--rewards named --name NAME")),
        (Kind, True, ("no instruction equals", "--goals field:language_instruction --name mined")),
        (Kind, False, ("has no instructions", "--algo bc --kind-weight failed=0")),
    ],
)
def test_cloning_commands_where_there_are_none(
    kinds: Sequence[str],
    mined: bool,
    parts: tuple[str, ...],
    own_store: Path,
    tmp_path: Path,
) -> None:
    goals = playground.GOALS.replace("room", "kitchen")  # which no instruction says
    named = playground.GOALS if kinds is not Kind else goals
    playground.score(own_store, "named", goals=named)
    options = playground.ALL.model_copy(update={"kinds": tuple(map(Kind, kinds))})
    playground.goal_dataset(own_store, "told", "named", options)
    if not mined:
        manifest = Store.open(str(own_store)).manifest
        without = manifest.model_copy(update={"language_fields": ()})
        (own_store / STORE_MANIFEST).write_bytes(manifest_bytes(without))
    bare = {"learn_from": "none", "positive_share": None}
    message = refused(own_store, tmp_path / "run", "bc", dataset="told", **bare)
    has(message, "--learn-from none: clones commanded trajectories", "goal_datasets/told has none")
    has(message, *parts)
    assert "positive" not in message


def test_trajectory_longer_than_a_transformer_can_count(
    playground_store: Path, tmp_path: Path
) -> None:
    settings = {"hidden_units": [16], "max_timestep": 3, "context_size": 2}
    message = refused(playground_store, tmp_path / "run", "decision-transformer", settings=settings)
    has(message, "longest trajectory has 4 transitions", "--set max_timestep=4")


# --- runs


def test_another_run_in_the_folder(playground_store: Path, tmp_path: Path) -> None:
    run(config_of(playground_store, "discrete-bc", 5), tmp_path)
    before = (tmp_path / CONFIG).read_text()
    with pytest.raises(RunError) as caught:
        run(config_of(playground_store, "discrete-bc", 5, seed=3), tmp_path)
    message = str(caught.value)
    has(message, str(tmp_path), "another run", "seed: stored 0, asked for 3", "another --out")
    assert message.count(": stored ") == 1
    assert (tmp_path / CONFIG).read_text() == before


def test_fewer_steps_than_there_are(playground_store: Path, tmp_path: Path) -> None:
    run(config_of(playground_store, "discrete-bc", 5), tmp_path)
    before = (tmp_path / CONFIG).read_text()
    with pytest.raises(RunError, match="has 5 steps already, more than --steps 3"):
        run(config_of(playground_store, "discrete-bc", 3), tmp_path)
    assert (tmp_path / CONFIG).read_text() == before


def test_refused_option_does_not_occupy_the_folder(playground_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused(playground_store, out, "discrete-bc", settings={"bath_size": 8})
    run(config_of(playground_store, "discrete-bc", 5), out)


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run .*vlm-relabel train"):
        load_config(tmp_path)
    (tmp_path / CONFIG).write_text('{"algo": 3}')
    with pytest.raises(RunError, match="not the configuration of a run"):
        load_config(tmp_path)


def test_unknown_checkpoint(playground_store: Path, tmp_path: Path) -> None:
    config = config_of(playground_store, "discrete-bc", 20)
    run(config, tmp_path)
    with pytest.raises(RunError, match="no checkpoint of step 7; there are those of 10, 20"):
        checkpoints.load_agent(tmp_path, 7)
    (tmp_path / "new").mkdir()
    with pytest.raises(RunError, match="no checkpoint yet"):
        checkpoints.load_agent(tmp_path / "new")


def test_checkpoint_that_was_not_finished_is_none(playground_store: Path, tmp_path: Path) -> None:
    run(config_of(playground_store, "discrete-bc", 10), tmp_path)
    (tmp_path / "checkpoints" / ".tmp-step-00000020").mkdir()
    assert checkpoints.last_step(tmp_path) == 10


def test_unknown_logger(playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", loggers=("file", "mlflow"))
    has(message, "--logger mlflow", "tensorboard, wandb, file")


def test_logger_that_is_not_installed(
    playground_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    message = refused(playground_store, tmp_path / "run", loggers=("tensorboard",))
    has(message, "--logger tensorboard: not installed", "tensorboardX")


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_device_that_is_not_there(device: str, playground_store: Path, tmp_path: Path) -> None:
    message = refused(playground_store, tmp_path / "run", device=device)
    has(message, f"--device {device}: cannot be used")


def test_losses_of_the_run_are_plain_numbers(playground_store: Path, tmp_path: Path) -> None:
    run(config_of(playground_store, "discrete-bc", 5), tmp_path)
    for line in (tmp_path / training.METRICS).read_text().splitlines():
        assert all(isinstance(v, int | float) for v in json.loads(line).values())


@pytest.mark.parametrize(
    ("algo", "setting", "expected"),
    [
        ("iql", "gamma=1.5", "gamma=1.5: expected a number in [0, 1]"),
        ("iql", "gamma=-0.1", "gamma=-0.1: expected a number in [0, 1]"),
        ("iql", "gamma=nan", "gamma=nan: expected a finite number"),
        ("iql", "gamma=.inf", "gamma=inf: expected a finite number"),
        ("iql", "actor_learning_rate=0", "actor_learning_rate=0: expected more than 0"),
        ("iql", "critic_learning_rate=-1e-4", "critic_learning_rate=-0.0001: expected more than 0"),
        ("iql", "batch_size=0", "batch_size=0: expected at least 1"),
        ("iql", "n_critics=-2", "n_critics=-2: expected at least 1"),
        ("iql", "tau=0", "tau=0: expected a number in (0, 1]"),
        ("iql", "tau=2", "tau=2: expected a number in (0, 1]"),
        ("iql", "expectile=1", "expectile=1: expected a number in (0, 1)"),
        ("iql", "hidden_units=[]", "expected a list such as [256,256]"),
        ("iql", "hidden_units=[true]", "expected a list such as [256,256]"),
        ("td3-bc", "update_actor_interval=0", "update_actor_interval=0: expected at least 1"),
        ("td3-bc", "alpha=-1", "alpha=-1: expected at least 0"),
        ("cql", "temp_learning_rate=0", "temp_learning_rate=0: expected more than 0"),
        ("cql", "initial_alpha=0", "initial_alpha=0: expected more than 0"),
        ("awac", "lam=0", "lam=0: expected more than 0"),
        ("bcq", "lam=1.5", "lam=1.5: expected a number in [0, 1]"),
        ("crr", "beta=0", "beta=0: expected more than 0"),
        ("crr", "advantage_type=median", "advantage_type=median: expected one of mean, max"),
        ("bear", "mmd_kernel=cubic", "mmd_kernel=cubic: expected one of gaussian, laplacian"),
        ("bc", "policy_type=random", "policy_type=random: expected one of deterministic, "),
        ("discrete-cql", "target_update_interval=0", "target_update_interval=0: expected at least"),
        ("ra-bc", "horizon=0", "horizon=0: expected at least 1"),
        ("discrete-ra-bc", "kappa=-1", "kappa=-1: expected at least 0"),
        ("awr", "n_critics=2", "unknown hyper-parameter n_critics of AWRConfig"),
        ("gcivl", "expectile=0", "expectile=0: expected a number in (0, 1)"),
        ("gciql", "actor_loss=ppo", "actor_loss=ppo: expected one of awr, ddpg-bc"),
        ("discrete-gciql", "actor_loss=awr", "unknown hyper-parameter actor_loss of DiscreteGCIQL"),
        ("gcivl", "compile_graph=true", "unknown hyper-parameter compile_graph of GCIVLConfig"),
        ("gcivl", "normalize_advantage=1", "expected a bool like True"),
        ("discrete-bcq", "action_flexibility=2", "action_flexibility=2: expected a number in [0,"),
        ("decision-transformer", "attn_dropout=1", "attn_dropout=1: expected a number in [0, 1)"),
        ("decision-transformer", "context_size=0", "context_size=0: expected at least 1"),
        ("decision-transformer", "activation_type=sine", "activation_type=sine: expected one of"),
    ],
)
def test_values_out_of_their_range(algo: str, setting: str, expected: str) -> None:
    with pytest.raises(AlgorithmError, match=re.escape(expected)):
        configure(ALGORITHMS[algo], parse_settings([setting]), {})


@pytest.mark.parametrize(
    ("algo", "settings"),
    [
        ("iql", ["gamma=0", "tau=1", "batch_size=1", "weight_temp=0", "n_critics=1"]),
        ("iql", ["gamma=1", "expectile=0.5", "max_weight=1e9"]),
        ("awac", ["lam=7"]),
        ("bcq", ["lam=0", "rl_start_step=0"]),
        ("cql", ["alpha_threshold=-1", "conservative_weight=0"]),
        ("crr", ["weight_type=binary", "target_update_type=soft"]),
    ],
)
def test_values_at_the_ends_of_their_range(algo: str, settings: list[str]) -> None:
    config = configure(ALGORITHMS[algo], parse_settings(settings), {})
    for name, value in parse_settings(settings).items():
        assert getattr(config, name) == value


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_default_is_within_its_range(algo: str) -> None:
    """And every number of an algorithm has a range, but for thresholds of any sign."""
    config = configure(ALGORITHMS[algo], {}, {})
    simple = {k: v for k, v in vars(config).items() if type(v) in (int, float, str)}
    assert vars(configure(ALGORITHMS[algo], simple, {})) == vars(config)
    numbers = {k for k, v in simple.items() if not isinstance(v, str)}
    ranged = {n for n in numbers if n in algorithms._RANGES or n.endswith("learning_rate")}
    assert numbers - ranged <= {"alpha_threshold"}


@pytest.mark.parametrize("algo", ["decision-transformer", "discrete-decision-transformer"])
def test_heads_that_do_not_share_the_width(algo: str) -> None:
    for settings, width in (({"num_heads": 3}, 256), ({"num_heads": 8, "hidden_units": [20]}, 20)):
        with pytest.raises(AlgorithmError, match=f"expected a divisor of {width}"):
            configure(ALGORITHMS[algo], settings, {})
    configure(ALGORITHMS[algo], {"num_heads": 5, "hidden_units": [8, 20]}, {})


@pytest.mark.parametrize("activation", algorithms._WORDS["activation_type"])
def test_every_activation_trains(activation: str, playground_store: Path, tmp_path: Path) -> None:
    settings = {**TRANSFORMER, "activation_type": activation}
    run(config_of(playground_store, "decision-transformer", 2, settings=settings), tmp_path)
