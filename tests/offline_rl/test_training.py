"""Every algorithm trains; an interrupted run ends as one that was never interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import d3rlpy
import numpy as np
import pytest
import tensorflow as tf

from offline_rl import checkpoints, training
from offline_rl.algorithms import ALGORITHMS, configure, find
from offline_rl.dataset import GoalEncoding
from offline_rl.run_config import load_config
from schemas.enums import LastStep, Split
from tests.offline_rl import playground
from tests.offline_rl.runs import acts, assert_same_weights, config_of, modules_of, run

WIDTH = 3 + 4  # state, text embedding of the goal


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_algorithm_runs_fifty_updates_and_comes_back(
    algo: str, playground_store: Path, tmp_path: Path
) -> None:
    config = config_of(playground_store, algo, 50, checkpoint_every=50)
    checkpoint = run(config, tmp_path / "run")
    assert checkpoint.name == "step-00000050"
    lines = training.metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(5, 51, 5))
    assert np.isfinite([v for line in lines for v in line.values()]).all()
    dataset = training.open_dataset(config)
    replay = dataset.replay(Split.TRAIN, config.view)
    agent = training.build_agent(config, ALGORITHMS[algo], dataset, replay)
    checkpoints.restore(tmp_path / "run", agent, replay)
    loaded = checkpoints.load_agent(tmp_path / "run")
    # BCQ samples its proposals, so both have to draw the same.
    d3rlpy.seed(1)
    done = acts(agent, algo, WIDTH)
    d3rlpy.seed(1)
    np.testing.assert_array_equal(done, acts(loaded, algo, WIDTH))
    if algo.startswith("discrete"):
        assert set(np.ravel(done)) <= set(range(4))
    else:
        assert done.shape == (6, 2)
        assert (np.abs(done) > 1e-6).any()


@pytest.fixture(scope="module")
def differing_fillers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Stores of episodes that are the same but for the actions of their final observations."""
    stores = []
    for filler in (0, 3):
        items = playground.episodes()
        for item in items:
            item["steps"][-1].update(action=np.full(2, filler, np.float32), choice=filler)
        folder = tmp_path_factory.mktemp("filler")
        source = playground.write_source(folder / "playground" / "1.0.0", items)
        playground.embed(source, folder / "store", LastStep.FINAL_OBSERVATION)
        playground.score(folder / "store", "v1")
        playground.goal_dataset(folder / "store", "gc1", "v1")
        stores.append(folder / "store")
    return stores


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_no_algorithm_learns_from_the_action_of_a_final_observation(
    algo: str, differing_fillers: list[Path], tmp_path: Path
) -> None:
    zero, three = (
        run(config_of(store, algo, 5), tmp_path / str(n))
        for n, store in enumerate(differing_fillers)
    )
    assert_same_weights(zero, three)


def test_every_algorithm_of_the_issue_is_there() -> None:
    named = (
        "iql cql td3-bc awac bc rebrac decision-transformer discrete-cql discrete-bcq "
        "discrete-bc discrete-decision-transformer"
    )
    assert set(named.split()) <= set(ALGORITHMS)


class PowerError(Exception):
    """The machine goes down."""


@pytest.mark.parametrize(
    "algo",
    [
        *("discrete-cql", "iql", "td3-bc", "cql", "decision-transformer", "bcq"),
        *("gcivl", "gciql", "discrete-gcivl", "discrete-gciql", "awr", "discrete-ra-bc"),
    ],
)
def test_interrupted_run_ends_as_an_uninterrupted_one(
    algo: str, playground_store: Path, tmp_path: Path
) -> None:
    # Lines of metrics and checkpoints at different steps: a line spans the interruption.
    config = config_of(playground_store, algo, 40, log_every=4, checkpoint_every=10)
    whole = run(config, tmp_path / "whole")

    def stop(step: int, steps: int, losses: dict[str, float]) -> None:
        if step == 16:
            raise PowerError

    with pytest.raises(PowerError):
        run(config, tmp_path / "broken", show=stop)
    assert checkpoints.last_step(tmp_path / "broken") == 10
    assert [line["step"] for line in training.metrics(tmp_path / "broken")] == [4, 8, 12, 16]
    resumed = run(config, tmp_path / "broken")
    assert resumed.name == whole.name
    assert_same_weights(whole, resumed)
    for name in ("metrics.jsonl", "config.json", "algorithm.json"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "broken" / name).read_text()
    states = [json.loads((c / "state.json").read_text()) for c in (whole, resumed)]
    assert states[0] == states[1]


def test_weights_depend_on_the_seed(playground_store: Path, tmp_path: Path) -> None:
    """Otherwise equal weights would mean nothing."""
    one, two, other = (
        run(config_of(playground_store, "discrete-bc", 10, seed=s), tmp_path / str(n))
        for n, s in enumerate((0, 0, 1))
    )
    assert_same_weights(one, two)
    with pytest.raises(AssertionError):
        assert_same_weights(one, other)


def test_more_steps_go_on_from_the_last(playground_store: Path, tmp_path: Path) -> None:
    whole = run(config_of(playground_store, "iql", 20), tmp_path / "whole")
    run(config_of(playground_store, "iql", 10), tmp_path / "longer")
    longer = run(config_of(playground_store, "iql", 20), tmp_path / "longer")
    assert_same_weights(whole, longer)


def test_finished_run_is_left_as_it_is(playground_store: Path, tmp_path: Path) -> None:
    config = config_of(playground_store, "discrete-bc", 10)
    checkpoint = run(config, tmp_path)
    before = modules_of(checkpoint)
    shown: list[int] = []
    assert run(config, tmp_path, show=lambda step, *_: shown.append(step)) == checkpoint
    assert shown == []
    assert modules_of(checkpoint).keys() == before.keys()


def test_line_cut_off_by_the_interruption_is_written_again(
    playground_store: Path, tmp_path: Path
) -> None:
    run(config_of(playground_store, "discrete-bc", 10), tmp_path)
    path = tmp_path / training.METRICS
    path.write_text(path.read_text() + '{"step": 15, "lo')
    run(config_of(playground_store, "discrete-bc", 20), tmp_path)
    assert [line["step"] for line in training.metrics(tmp_path)] == [5, 10, 15, 20]


def test_cached_frames_train_the_same_agent(playground_store: Path, tmp_path: Path) -> None:
    config = config_of(playground_store, "discrete-bc", 10)
    plain = run(config, tmp_path / "plain")
    cached = run(config, tmp_path / "cached", cache=tmp_path / "cache")
    assert_same_weights(plain, cached)
    assert list((tmp_path / "cache").glob("frames-*.npy"))


def test_true_rewards_and_cloning_choose_their_data(playground_store: Path) -> None:
    true = config_of(playground_store, "iql", 1, learn_from="true")
    assert training.open_dataset(true).manifest.source_column == "truth"
    clone = config_of(playground_store, "bc", 1, learn_from="none")
    assert {k for k, w in clone.view.weights.items() if w} == {"commanded"}
    dataset = training.open_dataset(clone)
    replay = dataset.replay(Split.TRAIN, clone.view)
    commanded = dataset.rows(Split.TRAIN, ["commanded"])
    assert replay.size() == commanded.num_rows < dataset.rows(Split.TRAIN).num_rows


@pytest.mark.parametrize("goals", [GoalEncoding.ONE_HOT, GoalEncoding.TEXT])
def test_scalers_are_the_datasets(goals: GoalEncoding, playground_store: Path) -> None:
    config = config_of(playground_store, "iql", 1, goal_encoding=goals)
    dataset = training.open_dataset(config)
    replay = dataset.replay(Split.TRAIN, config.view)
    agent = training.build_agent(config, ALGORITHMS["iql"], dataset, replay)
    known = dataset.manifest.statistics["observation.state"]
    scaler = agent.config.observation_scaler
    np.testing.assert_allclose(scaler.mean[:3], known.mean, rtol=1e-6)
    np.testing.assert_allclose(scaler.std[:3], known.std, rtol=1e-6)
    # Goals: one factor for all of them, so that they are as large as what stands beside them.
    assert not scaler.mean[3:].any()
    assert len(set(scaler.std[3:].tolist())) == 1
    batch = replay.sample_transition_batch(64).observations
    scaled = scaler.transform_numpy(batch)[:, 3:]
    assert (scaled**2).mean() == pytest.approx(1, rel=0.01)  # d3rlpy adds 0.001 to each std
    batches = [replay.sample_transition_batch(64).actions for _ in range(8)]
    scaled = agent.config.action_scaler.transform_numpy(np.concatenate(batches))
    assert np.abs(scaled).max() == pytest.approx(1, abs=0.3)
    assert np.abs(scaled).max() <= 1 + 1e-5


def test_hidden_units_reach_every_network() -> None:
    algorithm = find("iql", d3rlpy.ActionSpace.CONTINUOUS)
    config = configure(algorithm, {"hidden_units": [7, 5], "expectile": 0.9}, {})
    assert config.expectile == 0.9
    for name in ("actor_encoder_factory", "critic_encoder_factory", "value_encoder_factory"):
        assert getattr(config, name).hidden_units == [7, 5]


def test_run_holds_its_whole_configuration(playground_store: Path, tmp_path: Path) -> None:
    run(config_of(playground_store, "iql", 1), tmp_path)
    stored = load_config(tmp_path)
    dataset = training.open_dataset(stored)
    assert stored.dataset_fingerprint == dataset.fingerprint
    algorithm = json.loads((tmp_path / training.ALGORITHM).read_text())
    assert algorithm["batch_size"] == 8
    assert algorithm["expectile"] == 0.7  # a default
    assert algorithm["observation_scaler"]["type"] == "standard"


def test_d3rlpys_loggers_see_what_metrics_see(playground_store: Path, tmp_path: Path) -> None:
    for steps in (10, 20):  # the second resumes
        run(config_of(playground_store, "discrete-bc", steps, loggers=("file",)), tmp_path / "a")
    found = next((tmp_path / "a" / "logs").rglob("loss.csv"))
    logged = [float(line.split(",")[2]) for line in found.read_text().splitlines()]
    assert logged == pytest.approx([line["loss"] for line in training.metrics(tmp_path / "a")])


def test_tensorboard_sees_the_metrics(playground_store: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    out = tmp_path / "a"
    run(config_of(playground_store, "discrete-bc", 10, loggers=("tensorboard",)), out)
    (events,) = (out / "logs" / "tensorboard" / "runs" / "a").glob("events*")
    logged = [
        (event.step, value.simple_value)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "metrics/loss"
    ]
    lines = training.metrics(out)
    assert [step for step, _ in logged] == [line["step"] for line in lines] == [5, 10]
    assert [loss for _, loss in logged] == pytest.approx([line["loss"] for line in lines])
