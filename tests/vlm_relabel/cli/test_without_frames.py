"""A source without any image, from `inspect` to an agent, by the commands that are proposed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from offline_rl.dataset import GoalDataset, GoalEncoding, default_encoding
from offline_rl.rollouts import Observer
from relabel.testing import write_rlds
from schemas.enums import LastStep, Timing
from schemas.store import Store
from tests.vlm_relabel.cli.cli_outcomes import Run, files, refusal

LENGTHS, SHARDS = (5, 3, 6, 4, 5, 7), (4, 2)

kinds = tfds.features
FEATURES = kinds.FeaturesDict(
    {
        "steps": kinds.Dataset(
            {
                "observation": kinds.Tensor(shape=(3,), dtype=np.float32),
                "action": kinds.Tensor(shape=(2,), dtype=np.float32),
                "reward": np.float32,
                "upright": np.bool_,
                "holds": kinds.Tensor(shape=(2,), dtype=np.bool_),
                "is_first": np.bool_,
                "is_last": np.bool_,
                "is_terminal": np.bool_,
            }
        )
    }
)


def rewards_of(episode: int) -> np.ndarray:
    """(T,) dense, of the action in each step; none in the last."""
    values = np.random.default_rng(episode).normal(size=LENGTHS[episode]).astype(np.float32)
    values[-1] = 0
    return values


def steps_of(episode: int) -> list[dict[str, Any]]:
    random, length = np.random.default_rng(100 + episode), LENGTHS[episode]
    return [
        {
            "observation": random.normal(size=3).astype(np.float32),
            "action": random.normal(size=2).astype(np.float32) * (step < length - 1),
            "reward": rewards_of(episode)[step],
            "upright": step % 3 == 2,
            "holds": np.array([step == 1, step > 2]),
            "is_first": step == 0,
            "is_last": step == length - 1,
            "is_terminal": step == length - 1 and episode % 2 == 0,
        }
        for step in range(length)
    ]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source; read-only."""
    folder = tmp_path_factory.mktemp("bare") / "locomotion" / "1.0.0"
    content = ({"steps": steps_of(episode)} for episode in range(len(LENGTHS)))
    write_rlds(folder, FEATURES, content, shard_lengths=SHARDS)
    return folder


@pytest.fixture
def embedded(bare: Path, store: Path, run: Run) -> Path:
    words = ("embed", "--no-frames", "--source", bare, "--store", store, "--threads", 1)
    done = run(*words, "--episodes-per-slice", 2)
    assert done.exit_code == 0, done.output
    return store


def proposed(output: str) -> list[str]:
    """The words of the first command below `next:`."""
    line = output.split("next:\n")[1].splitlines()[0]
    return shlex.split(line)[1:]


def test_the_proposed_commands_lead_to_a_dataset(
    bare: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = proposed(run("inspect", bare).output)
    assert words[:2] == ["embed", "--no-frames"]
    done = run(*words, "--threads", 1)
    assert done.exit_code == 0, done.output
    words = proposed(done.output)
    assert words[2:] == ["--truth", "reward", "--no-rewards", "--name", "gc1"]
    done = run(*words, "--threads", 1)
    assert done.exit_code == 0, done.output
    assert "gc1 of reward" in done.output
    assert proposed(done.output)[0] == "train"
    verified = run("verify", words[1])
    assert verified.exit_code == 0, verified.output


def test_a_store_without_frames_holds_steps_and_episodes(embedded: Path, run: Run) -> None:
    opened = Store.open(str(embedded))
    assert opened.tables() == ["episodes", "steps"]
    assert opened.manifest.last_step is LastStep.FINAL_OBSERVATION
    assert len(opened.slices) == 3
    stored = opened.read("steps").column("reward").to_numpy()
    expected = np.concatenate([rewards_of(e) for e in range(len(LENGTHS))])
    np.testing.assert_array_equal(stored, expected)


def test_dense_rewards_are_kept_and_can_be_resumed(embedded: Path, run: Run) -> None:
    words = (
        *("build-goals", embedded, "--no-rewards", "--truth", "reward", "--success-above", 0.9),
        *("--no-end-on-success", "--hindsight-most", 0, "--threads", 1),
    )
    dry = run(*words, "--dry-run")
    assert (dry.exit_code, (embedded / "goal_datasets").exists()) == (0, False), dry.output
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    rows = Store.open(str(embedded)).read("goal_datasets/gc1").to_pylist()
    assert len(rows) == len(LENGTHS)
    for episode, row in enumerate(rows):
        own = rewards_of(episode)[:-1]
        assert row["rewards"] == own.tolist()
        assert row["success"] == bool((own > np.float32(0.9)).any())
        assert row["terminal"] == (episode % 2 == 0)
    before = files(embedded / "goal_datasets")
    lost = sorted((embedded / "goal_datasets" / "gc1").glob("slice-*"))[1]
    lost.unlink()
    told = refusal(run(*words, "--json"))
    assert f"goal_datasets/gc1/{lost.name}: missing" in told
    assert "vlm-relabel repair" in told
    assert run("verify", embedded).exit_code == 1
    lost.write_bytes(before[f"gc1/{lost.name}"])
    assert run("verify", embedded).exit_code == 0


def test_goals_of_a_column_and_its_timing(embedded: Path, run: Run, tmp_path: Path) -> None:
    words = ("build-goals", embedded, "--no-rewards", "--threads", 1)
    plain = run(*words, "--truth", "holds", "--name", "plain")
    assert plain.exit_code == 0, plain.output
    named = run(
        *(*words, "--truth", "holds", "--name", "named", "--timing", "same-frame"),
        *("--goals", "the bolt is held", "--goals", "the nut is held"),
    )
    assert named.exit_code == 0, named.output
    opened = Store.open(str(embedded))
    datasets = {name: GoalDataset(opened, name) for name in ("plain", "named")}
    assert datasets["plain"].goal_ids == ["holds-0", "holds-1"]
    assert datasets["named"].goal_ids == ["the-bolt-is-held", "the-nut-is-held"]
    assert datasets["plain"].manifest.timing is Timing.NEXT_FRAME
    assert default_encoding(datasets["plain"].manifest) is GoalEncoding.ONE_HOT
    stops = {
        name: {r["goal"]: r["stop"] for r in data.table.to_pylist() if r["kind"] == "achieved"}
        for name, data in datasets.items()
    }
    assert stops == {"plain": {0: 1, 1: 3}, "named": {0: 2, 1: 4}}
    one = run(*words, "--truth", "upright", "--name", "one", "--step-reward", -1)
    assert one.exit_code == 0, one.output
    single = GoalDataset(opened, "one")
    assert single.goal_ids == ["upright"]
    assert default_encoding(single.manifest) is GoalEncoding.NONE
    assert set(np.concatenate(single.table.column("rewards").to_pylist())) == {-1.0, 0.0}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--no-rewards",), "give --truth COLUMN, such as reward"),
        (("--no-rewards", "--truth", "reward", "--rewards", "v1"), "exclude each other"),
        (("--no-rewards", "--truth", "wrong"), "no such column of numbers; .* action, holds"),
        (("--no-rewards", "--truth", "reward", "--step-reward", -1), "a column of bool"),
        (("--no-rewards", "--truth", "reward", "--success-above", 9), "nearest is"),
        (
            ("--no-rewards", "--truth", "holds", "--goals", "only one is here"),
            "one value per goal of --goals, 1, got 2 per frame",
        ),
        (("--truth", "reward", "--timing", "next-frame"), "--timing: only with --no-rewards"),
        (("--truth", "reward"), "no table 'rewards/v1'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    embedded: Path, run: Run, words: tuple[Any, ...], told: str
) -> None:
    message = refusal(run("build-goals", embedded, *words, "--threads", 1, "--json"))
    assert re.search(told, message), message
    assert not (embedded / "goal_datasets").exists()


def test_frames_are_left_out_only_if_it_is_said(bare: Path, store: Path, run: Run) -> None:
    words = ("embed", "--source", bare, "--store", store, "--json")
    assert "--camera and --encoder: missing" in refusal(run(*words))
    assert "--encoder: missing" in refusal(run(*words, "--camera", "front"))
    both = refusal(run(*words, "--no-frames", "--encoder", "x", "--keep-frames"))
    assert "--no-frames and --encoder, --keep-frames exclude each other" in both
    assert not store.exists()


@pytest.mark.parametrize(
    ("truth", "encoding", "width"), [("reward", "none", 3), ("holds", "one-hot", 5)]
)
def test_an_agent_is_trained_and_evaluated(
    embedded: Path, run: Run, tmp_path: Path, truth: str, encoding: str, width: int
) -> None:
    words = ("build-goals", embedded, "--no-rewards", "--truth", truth, "--validation", 0.3)
    assert run(*words, "--threads", 1).exit_code == 0
    small = ("--set", "hidden_units=[8]", "--set", "batch_size=8", "--steps", 3)
    out = tmp_path / "run"
    trained = run("train", embedded, "--dataset", "gc1", "--algo", "iql", "--out", out, *small)
    assert trained.exit_code == 0, trained.output
    config = json.loads((out / "config.json").read_text())
    assert config["goal_encoding"] == encoding
    words = ("train", embedded, "--dataset", "gc1", "--algo", "iql", "--out", tmp_path / "no")
    refused = refusal(run(*words, "--goal-encoding", "text", "--json"))
    assert "made without a reward set, so its goals have no text embedding" in refused
    refused = refusal(run(*words, "--learn-from", "true", "--json"))
    assert "leave --learn-from out" in refused
    words = ("train", embedded, "--dataset", "gc1", "--algo", "bc", "--out", tmp_path / "no")
    refused = refusal(run(*words, "--learn-from", "none", "--json"))
    assert f"--no-rewards --truth {truth} --goals GOALS --name NAME" in refused
    done = run("evaluate", out, "--fqe-steps", 2, "--split", "train", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["values"]
    opened = GoalDataset(Store.open(str(embedded)), "gc1")
    assert {value["goal"] for value in found} <= set(opened.goal_ids)
    assert sum(n for _, n in opened.widths(("observation",), GoalEncoding(encoding))) == width
    low, high = opened.reward_range
    stored = np.concatenate(opened.table.column("rewards").to_pylist())
    assert (low, high) == (stored.min(), stored.max())


def test_a_policy_sees_one_vector_as_the_environment_gives_it() -> None:
    observer = Observer(("observation",), {"go": np.array([1.0], np.float32)})
    seen = observer([np.array([1.0, 2.0]), np.array([3.0, 4.0])], ["go", "go"])  # type: ignore[list-item]
    assert seen.tolist() == [[1, 2, 1], [3, 4, 1]]
