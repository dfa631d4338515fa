"""`train` and `evaluate` as typed: what people see, what machines read, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from d3rlpy.constants import ActionSpace
from PIL import Image

import vlm_relabel
from offline_rl import checkpoints, training
from offline_rl.algorithms import ALGORITHMS
from offline_rl.run_config import load_config
from schemas.enums import LastStep, Timing
from schemas.store import Store
from tests.offline_rl import playground
from tests.offline_rl.rooms import Colours
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run, refusal

ROOT = Path(__file__).parents[3]
ENCODER = ROOT / "examples" / "playroom" / "encoders" / "small"
BRIDGE_GOALS = """\
name: bridge
goals:
  - {id: carrot, texts: [put carrot on plate]}
  - {id: lever, texts: [turn lever vertical to front]}
"""
ROOM = "tests.offline_rl.rooms:Colours"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `gc1` and `gc1.true`; read-only."""
    folder = tmp_path_factory.mktemp("agents")
    source = playground.write_source(folder / "playground" / "1.0.0")
    store = folder / "store"
    playground.embed(source, store, LastStep.FINAL_OBSERVATION)
    playground.score(store, "v1", timing=Timing.NEXT_FRAME)
    playground.goal_dataset(store, "gc1", "v1", playground.SPLITS, truth="truth")
    return store


def training_words(store: Path, out: Path, **changes: Any) -> list[str]:
    options: dict[str, Any] = {
        "dataset": "gc1",
        "algo": "discrete-cql",
        "out": out,
        "steps": 20,
        "observation": "observation.state",
        "action": "choice",
        "log-every": 10,
        "checkpoint-every": 10,
        "device": "cpu",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return ["train", str(store), *words, "--set", "hidden_units=[16]", "--set", "batch_size=8"]


@pytest.fixture(scope="module")
def _trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from vlm_relabel.cli.main import app

    out = tmp_path_factory.mktemp("runs") / "agent"
    assert CliRunner().invoke(app, training_words(made, out)).exit_code == 0
    return out


@pytest.fixture
def agent(_trained: Path, tmp_path: Path) -> Path:
    """A finished run of its own."""
    return Path(shutil.copytree(_trained, tmp_path / "agent"))


# --- train


def test_training_tells_people_and_goes_on(run: Run, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "agent"
    first = run(*training_words(made, out))
    assert first.exit_code == 0, first.output
    assert "discrete-cql: 20 steps; " in first.stdout
    assert f"checkpoint {out}/checkpoints/step-00000020" in first.stdout
    assert f"next:\n  vlm-relabel evaluate {out}" in first.stdout
    assert "10/20 steps, " in first.stderr
    assert "goes on" not in first.stderr
    second = run(*training_words(made, out, steps=30))
    assert second.exit_code == 0, second.output
    assert f"{out}: goes on from its checkpoint after 20 steps" in second.stderr
    assert "30/30 steps, " in second.stderr
    other = run(*training_words(made, out, steps=40), "--set", "alpha=2")
    assert other.exit_code == 2
    assert "holds another run" in other.stderr
    assert "goes on" not in other.stderr


def test_training_tells_machines(run: Run, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "agent"
    for resumed_from, steps in ((0, 10), (10, 20)):
        result = run(*training_words(made, out, steps=steps), "--json")
        assert result.exit_code == 0, result.output
        told = strict(result.stdout)
        assert told == {
            "run": str(out),
            "checkpoint": str(checkpoints.checkpoint_folder(out, steps)),
            "algo": "discrete-cql",
            "steps": steps,
            "resumed_from": resumed_from,
            "losses": {k: v for k, v in training.metrics(out)[-1].items() if k != "step"},
            "sees": {"observation.state": 3, "goal": 4},
            "left_out": {},
            "does": {
                "parts": [{"column": "choice", "dtype": "int64", "shape": [], "one_hot": []}],
                "discrete": True,
            },
            "notes": [],
            "next_command": f"vlm-relabel evaluate {out}",
        }
        assert result.stderr == ""


@pytest.mark.parametrize("logger", ["file", "tensorboard"])
def test_loggers_keep_to_their_files(run: Run, made: Path, tmp_path: Path, logger: str) -> None:
    result = run(*training_words(made, tmp_path / "a", steps=10, logger=logger), "--json")
    assert strict(result.stdout)["steps"] == 10
    assert result.stderr == ""
    assert list((tmp_path / "a" / "logs").rglob("*"))


def strict(text: str) -> Any:
    """JSON as everybody reads it, without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_options_reach_the_run(run: Run, made: Path, tmp_path: Path) -> None:
    words = training_words(
        *(made, tmp_path / "a"), seed=4, goal_encoding="one-hot", kind_weight="hindsight=0.5",
        steps=1, positive_share=0.25, learn_from="true", logger="file", cache=tmp_path / "cache",
    )  # fmt: skip
    result = run(*words, "--observation", "embedding:pixel", "--set", "alpha=5e-2")
    assert result.exit_code == 0, result.output
    config = load_config(tmp_path / "a")
    assert config.settings == {"hidden_units": [16], "batch_size": 8, "alpha": 0.05}
    table = next(t for t in Store.open(str(made)).tables() if t.startswith("embeddings/"))
    whole = table.replace("embeddings/", "embedding:")
    assert config.observations == ("observation.state", whole)
    assert config.store == str(made)
    assert (config.seed, config.goal_encoding, config.positive_share) == (4, "one-hot", 0.25)
    assert (config.learn_from, config.loggers) == ("true", ("file",))
    assert config.weights == {"hindsight": 0.5}
    assert list((tmp_path / "cache").glob("*.npy"))
    assert list((tmp_path / "a" / "logs").rglob("loss.csv"))


def test_default_observations_are_the_vectors(run: Run, made: Path, tmp_path: Path) -> None:
    words = training_words(made, tmp_path / "a", steps=1)
    place = words.index("--observation")
    assert run(*words[:place], *words[place + 2 :]).exit_code == 0
    found = load_config(tmp_path / "a").observations
    assert set(found) == {"observation.state", "observation.flat"}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"algo": "iql"}, ("--algo iql", "discrete actions", "discrete-bcq")),
        ({"algo": "dqn"}, ("--algo dqn: unknown",)),
        ({"learn_from": "best"}, ("--learn-from: expected vlm, true or none, got 'best'",)),
        (
            {"goal_encoding": "image"},
            ("--goal-encoding: expected text, one-hot or none, got 'image'",),
        ),
        ({"goal_encoding": "none"}, ("expected a dataset of one goal, got 3",)),
        ({"kind_weight": "won=1"}, ("--kind-weight: unknown won; the known ones are achieved, ",)),
        ({"kind_weight": "failed=few"}, ("--kind-weight failed='few'", "at least 0")),
        ({"kind_weight": "failed=-1"}, ("--kind-weight failed=-1", "at least 0")),
        ({"kind_weight": "failed"}, ("--kind-weight 'failed': expected key=value",)),
        ({"device": "cuda:77"}, ("--device cuda:77",)),
        ({"logger": "paper"}, ("--logger paper", "wandb")),
        ({"observation": "observation.smell"}, ("'observation.smell'", "observation.state, ")),
        ({"action": "motion"}, ("no action column 'motion'", ", choice, ")),
        ({"dataset": "gc9"}, ("goal_datasets/gc9", "vlm-relabel build-goals")),
        ({"learn_from": "none"}, ("--learn-from none: discrete-cql", "discrete-bc")),
    ],
)
def test_training_refuses(
    run: Run, made: Path, tmp_path: Path, changes: dict[str, str], parts: tuple[str, ...]
) -> None:
    message = refusal(run(*training_words(made, tmp_path / "a", **changes), "--json"))
    for part in parts:
        assert part in message
    assert not (tmp_path / "a").exists()


def test_store_that_is_none(run: Run, tmp_path: Path) -> None:
    refusal(run(*training_words(tmp_path / "nothing", tmp_path / "a"), "--json"))


def test_interruption_says_that_it_can_go_on(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_loop", interrupted)
    result = run(*training_words(made, tmp_path / "a"))
    assert result.exit_code == 130
    assert "the same command resumes where it stopped" in result.stderr


# --- evaluate


def test_off_policy_table(run: Run, agent: Path) -> None:
    result = run("evaluate", agent, "--fqe-steps", 3)
    assert result.exit_code == 0, result.output
    heading, columns, *rows, note, kept = result.stdout.splitlines()
    assert heading == f"{agent} after 20 steps, validation split"
    for column in ("goal", "trajectories", "initial value", "FQE initial value", "of fits"):
        assert column in columns
    assert columns.endswith("TD error")
    assert [row.split()[0] for row in rows] == ["red", "green", "blue"]
    assert all(len(row.split()) == 8 for row in rows)  # the spread has three words
    assert "note: validation split: fewer than 10 trajectories for 3 of 3 goals" in note
    assert kept == f"kept in {agent}/evaluations/step-00000020-validation-1.json"
    assert "9/9 FQE steps" in result.stderr  # of three fits


def test_off_policy_for_machines(run: Run, agent: Path) -> None:
    whole, part = (
        strict(run("evaluate", agent, "--fqe-steps", 0, "--json", *more).stdout)
        for more in ((), ("--step", 10, "--split", "train"))
    )
    assert (whole["step"], whole["split"]) == (20, "validation")
    assert (part["step"], part["split"]) == (10, "train")
    assert all(value["fqe_initial_value"] is None for value in whole["values"])
    assert all(value["td_error"] >= 0 for value in whole["values"])
    assert whole["outcomes"] == []
    count = sum(value["trajectories"] for value in part["values"])
    assert count > sum(value["trajectories"] for value in whole["values"]) > 0


def test_rollouts_with_the_vlm_beside_the_truth(run: Run, agent: Path, tmp_path: Path) -> None:
    """The colours say what is true, so the return by `PixelMeanEncoder` is the true one."""
    words = (
        *("evaluate", agent, "--fqe-steps", 0, "--env", ROOM, "--episodes", 5),
        *("--encoder", PIXEL_MEAN, "--gif", tmp_path / "a.gif"),
    )
    told = strict(run(*words, "--json").stdout)
    outcomes = {(o["policy"], o["family"]): o for o in told["outcomes"]}
    assert {policy for policy, _ in outcomes} == {"agent", "random"}
    assert [family for policy, family in outcomes if policy == "agent"] == ["warm", "cold", "all"]
    assert [o["success"]["count"] for o in outcomes.values()] == [5, 10, 15] * 2
    assert outcomes["random", "all"]["success"]["mean"] > 0
    for outcome in outcomes.values():
        assert outcome["vlm_return"]["mean"] == pytest.approx(outcome["true_return"]["mean"])
        assert 0 <= outcome["success"]["low"] <= outcome["success"]["high"] <= 1
    assert set(told["behaviour"]) == {"warm", "cold", "all"}
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames >= 6
    table = run(*words).stdout
    for word in ("policy", "95 %", "VLM return", "random", "in the data", "warm", "cold"):
        assert word in table


def test_python_trains_and_evaluates_as_the_commands_do(
    run: Run, made: Path, agent: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    report = vlm_relabel.train(
        store=made,
        dataset="gc1",
        algo="discrete-cql",
        out=tmp_path / "python",
        steps=20,
        observation="observation.state",
        action="choice",
        log_every=10,
        checkpoint_every=10,
        set={"hidden_units": [16], "batch_size": 8},
        kind_weight={"achieved": 1.0},
        show=lambda step, steps, losses: seen.append(step),
    )
    assert seen == [10, 20]
    assert report.sees == {"observation.state": 3, "goal": 4}
    typed, called = (training.metrics(out) for out in (agent, tmp_path / "python"))
    assert typed == called
    told = vlm_relabel.evaluate(
        run=tmp_path / "python", fqe_steps=0, env=Colours, goal="blue", episodes=2, baselines=False
    )
    words = ("--fqe-steps", 0, "--env", ROOM, "--goal", "blue", "--episodes", 2, "--no-baselines")
    shown = strict(run("evaluate", agent, *words, "--json").stdout)
    assert [o.model_dump(mode="json") for o in told.outcomes] == shown["outcomes"]
    assert shown["options"].keys() == told.options.keys()
    assert shown["options"] | {"env": ""} == told.options | {"env": "", "goal": ["blue"]}
    file = tmp_path / "agent.d3"
    vlm_relabel.export_agent(tmp_path / "python", file)
    assert file.exists()


OWN = [
    name
    for name, known in ALGORITHMS.items()
    if known.own and known.action_space is ActionSpace.DISCRETE
]


@pytest.mark.parametrize("algo", OWN)
def test_a_learner_of_our_own_goes_all_the_way(
    algo: str, run: Run, made: Path, tmp_path: Path
) -> None:
    """Trained in hindsight where it can be, gone on with, evaluated and rolled out."""
    out = tmp_path / "own"
    mixed = not ALGORITHMS[algo].progress
    mix = ("--goal-mix", "trajectory=0.25", "--goal-mix", "random=0.25") if mixed else ()
    first = run(*training_words(made, out, algo=algo), *mix)
    assert first.exit_code == 0, first.output
    same = (*mix, "--goal-mix", "language=0.5") if mixed else ()  # what was left before
    again = run(*training_words(made, out, algo=algo, steps=30), *same)
    assert again.exit_code == 0, again.output
    assert "goes on from its checkpoint after 20 steps" in again.stderr
    words = ("--fqe-steps", 2, "--fqe-fits", 1, "--env", ROOM, "--goal", "blue", "--episodes", 1)
    told = strict(run("evaluate", out, *words, "--json").stdout)
    values = [goal["initial_value"] for goal in told["values"]]
    assert all((value is None) is not ALGORITHMS[algo].values for value in values)
    assert all(goal["fqe_initial_value"] is not None for goal in told["values"])
    assert told["outcomes"]
    stored = load_config(out)
    mixture = {"language": 0.5, "current": 0.0, "trajectory": 0.25, "random": 0.25}
    assert stored.goal_mix == (mixture if mixed else {})


def test_rollouts_of_one_goal_without_baselines(run: Run, agent: Path) -> None:
    words = ("--fqe-steps", 0, "--env", ROOM, "--goal", "blue", "--episodes", 2)
    result = run("evaluate", agent, *words, "--no-baselines", "--json")
    told = strict(result.stdout)
    assert [(o["policy"], o["family"]) for o in told["outcomes"]] == [
        ("agent", "cold"),
        ("agent", "all"),
    ]
    assert told["outcomes"][0]["vlm_return"] is None
    assert told["behaviour"] == {}
    shown = run("evaluate", agent, *words, "--no-baselines").stdout
    assert "in the data" not in shown
    assert "random" not in shown


@pytest.mark.parametrize("goals", [("blue",), ("green",), ("red", "blue"), ("blue", "green")])
def test_the_data_is_told_of_the_goals_rolled_out(
    goals: tuple[str, ...], run: Run, agent: Path
) -> None:
    """Against a count in the dataset's own rows."""
    chosen = [word for goal in goals for word in ("--goal", goal)]
    words = ("--fqe-steps", 0, "--env", ROOM, *chosen, "--episodes", 1)
    told = strict(run("evaluate", agent, *words, "--json").stdout)["behaviour"]
    dataset = training.open_dataset(load_config(agent))
    rows = [row for row in dataset.table.to_pylist() if row["kind"] == "commanded"]
    assert {dataset.goal_ids[row["goal"]] for row in rows} == {"red", "green", "blue"}
    families = {"red": "warm", "green": "cold", "blue": "cold"}
    names = [(dataset.goal_ids[row["goal"]], row["success"]) for row in rows]
    assert set(told) == {"all", *(families[goal] for goal in goals)}
    for family, found in told.items():
        won = [w for g, w in names if g in goals and family in ("all", families[g])]
        assert found["count"] == len(won)
        assert found["mean"] == pytest.approx(sum(won) / len(won))


def test_rollouts_at_a_temperature(run: Run, agent: Path) -> None:
    """So hot that every action is as likely, an agent does as well as chance."""
    words = ("--fqe-steps", 0, "--env", ROOM, "--goal", "blue", "--episodes", 400)
    hot = strict(run("evaluate", agent, *words, "--temperature", 1e6, "--json").stdout)
    assert hot["options"]["temperature"] == 1e6
    found = {o["policy"]: o["success"] for o in hot["outcomes"] if o["family"] == "all"}
    chance = 1 - 0.75**3  # to paint it blue in three tries, of four colours
    assert all(own["low"] < chance < own["high"] for own in found.values())
    best = strict(run("evaluate", agent, *words, "--json").stdout)
    assert best["options"]["temperature"] == 0
    assert best["outcomes"][0]["success"]["mean"] != found["agent"]["mean"]
    refused = run("evaluate", agent, *words, "--temperature", -1)
    assert refused.exit_code == 2


def test_behaviour_is_that_of_families_that_were_commanded(
    run: Run, made: Path, tmp_path: Path
) -> None:
    """A family that no episode was told of has no success rate, and JSON has no NaN."""
    store = Path(shutil.copytree(made, tmp_path / "store"))
    red = playground.SPLITS.model_copy(update={"goals": ("red",), "episodes": ("train/0/*",)})
    playground.goal_dataset(store, "red", "v1", red)
    out = tmp_path / "agent"
    words = training_words(store, out, steps=1, dataset="red", goal_encoding="none")
    assert run(*words).exit_code == 0
    words = ("--fqe-steps", 0, "--env", ROOM, "--goal", "red", "--episodes", 1)
    result = run("evaluate", out, *words, "--json")
    assert set(strict(result.stdout)["behaviour"]) == {"warm", "all"}


@pytest.mark.parametrize(
    ("algo", "action", "room"),
    [
        ("discrete-decision-transformer", "choice", ROOM),
        ("decision-transformer", "action", "tests.offline_rl.rooms:Painted"),
    ],
)
def test_transformers_are_rolled_out(
    run: Run, made: Path, tmp_path: Path, algo: str, action: str, room: str
) -> None:
    out = tmp_path / "agent"
    small = [
        word
        for setting in ("context_size=4", "num_layers=1", "num_heads=1", "max_timestep=10")
        for word in ("--set", setting)
    ]
    result = run(*training_words(made, out, algo=algo, action=action, steps=3), *small)
    assert result.exit_code == 0, result.output
    result = run("evaluate", out, "--env", room, "--episodes", 2, "--json")
    assert result.exit_code == 0, result.output
    told = strict(result.stdout)
    assert told["values"] == []
    assert [o["success"]["count"] for o in told["outcomes"]] == [2, 4, 6] * 2
    message = refusal(run("evaluate", out, "--env", room, "--temperature", 0.5, "--json"))
    assert f"--temperature 0.5: the actions of {algo} cannot be drawn; leave it out" in message


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--step", 7), ("no checkpoint of step 7; there are those of 10, 20",)),
        (("--step", 0), ("no checkpoint of step 0",)),
        (("--split", "all"), ("--split: expected train, validation or test, got 'all'",)),
        (("--split", "test"), ("no trajectory", "in the test split")),
        (("--env", "rooms"), ("--env 'rooms': expected module:name, such as",)),
        (
            ("--env", ROOM, "--goal", "pink"),
            ("--goal: unknown pink; the known ones are red, green, blue",),
        ),
        (("--env", ROOM, "--camera", "wrist", "--gif", "a.gif"), ("'wrist'", "only", "image")),
        (("--env", ROOM, "--gif", "a.mp4"), ("--gif a.mp4: expected", "ends in .gif")),
        (("--env", "rooms", "--gif", "/"), ("--gif /: expected",)),  # before the environment
        (("--device", "cuda:77"), ("--device cuda:77",)),
        (("--temperature", 0.5), ("--temperature: of rollouts alone", "--env")),
        (("--episodes", 3), ("--episodes: of rollouts alone",)),
        (("--goal", "g0"), ("--goal: of rollouts alone",)),
        (("--encoder", "fake", "--no-baselines"), ("--encoder, --no-baselines: of rollouts",)),
        (("--gif", "a.gif", "--camera", "wrist"), ("--camera, --gif: of rollouts alone",)),
    ],
)
def test_evaluation_refuses(
    run: Run, agent: Path, words: tuple[Any, ...], parts: tuple[str, ...]
) -> None:
    message = refusal(run("evaluate", agent, "--fqe-steps", 0, *words, "--json"))
    for part in parts:
        assert part in message


def test_evaluation_of_no_run(run: Run, tmp_path: Path) -> None:
    assert "not a run" in refusal(run("evaluate", tmp_path, "--json"))


def test_evaluation_of_a_changed_file_is_refused_unless_trusted(
    run: Run, made: Path, tmp_path: Path
) -> None:
    """The byte that is flipped stands in the footer, where only a checksum tells."""
    store, out = tmp_path / "store", tmp_path / "agent"
    shutil.copytree(made, store)
    assert run(*training_words(store, out)).exit_code == 0
    path = min(store.glob("steps/slice-*.parquet"))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"parquet-cpp-arrow")] ^= 1
    path.write_bytes(content)
    words = ("evaluate", out, "--fqe-steps", 5, "--fqe-fits", 1, "--json")
    message = refusal(run(*words))
    assert f"{path}: its CRC-32C is not the one recorded" in message
    assert "vlm-relabel repair" in message
    assert run(*words, "--trust").exit_code == 0
    path.write_bytes(bytes(content)[:-1])
    assert str(path) in refusal(run(*words, "--trust"))


def test_evaluation_on_a_dataset_built_anew(run: Run, made: Path, tmp_path: Path) -> None:
    store, out = Path(shutil.copytree(made, tmp_path / "store")), tmp_path / "agent"
    assert run(*training_words(store, out, steps=1)).exit_code == 0
    words = ("build-goals", store, "--name", "gc1", "--goal", "red", "--overwrite", "--threads", 1)
    assert run(*words).exit_code == 0
    message = refusal(run("evaluate", out, "--fqe-steps", 0, "--json"))
    assert "trained on another gc1" in message
    assert "another --out" in message


# --- a real robot


@pytest.mark.slow
def test_iql_on_the_bridge_sample(run: Run, bridge_dir: Path, tmp_path: Path) -> None:
    """Continuous actions of a real robot: relabel, build-goals, train, evaluate off-policy.

    The playroom's encoder has never seen a robot, so its rewards mean nothing here.
    """
    if not ENCODER.is_dir():
        pytest.skip(f"no encoder at {ENCODER}")
    store, out = tmp_path / "bridge.store", tmp_path / "agent"
    goals = tmp_path / "goals.yaml"
    goals.write_text(BRIDGE_GOALS)
    done = run(
        *("relabel", "--source", bridge_dir, "--camera", "observation/image_0"),
        *("--encoder", f"local-dir:{ENCODER}", "--goals", goals, "--store", store),
        *("--precision", "float32", "--threshold", 0.2, "--threads", 1, "--json"),
    )
    assert done.exit_code == 0, done.output
    done = run("build-goals", store, "--validation", 0.3, "--test", 0, "--threads", 1, "--json")
    assert done.exit_code == 0, done.output
    counts = strict(done.stdout)["datasets"][0]["counts"]
    assert counts["train/achieved"] + counts["train/commanded"] > 0
    done = run(
        *("train", store, "--dataset", "gc1", "--algo", "iql", "--out", out, "--steps", 30),
        *("--observation", "observation.state", "--observation", "embedding:"),
        *("--set", "hidden_units=[16]", "--set", "batch_size=32", "--log-every", 10, "--json"),
    )
    assert done.exit_code == 0, done.output
    assert all(abs(loss) < 1e6 for loss in strict(done.stdout)["losses"].values())
    done = run("evaluate", out, "--fqe-steps", 10, "--json")
    assert done.exit_code == 0, done.output
    values = strict(done.stdout)["values"]
    assert {value["goal"] for value in values} <= {"carrot", "lever"}
    for value in values:
        for name in ("initial_value", "td_error", "fqe_initial_value"):
            assert abs(value[name]) < 1e6
