"""What the commands propose can be typed, and leads from a source to an agent."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from schemas.labels import Labels, write_labels
from schemas.store import Store
from schemas.tables import FieldSpec
from tests.vlm_relabel.cli.cli_outcomes import Run, flat
from vlm_relabel.cli import next_steps

Words = dict[str, Any]


def proposed(stdout: str) -> list[list[str]]:
    """The words of the proposed lines, without the program's name."""
    lines = stdout.partition("\nnext:\n")[2].splitlines()
    words = [shlex.split(line) for line in lines if line]
    assert [line[0] for line in words] == ["vlm-relabel"] * len(words)
    return [line[1:] for line in words]


@pytest.fixture
def odd_words(words: Words, tmp_path: Path) -> Words:
    """A store whose path has to be quoted."""
    return {**words, "--store": tmp_path / "Bob's new store"}


def test_from_rewards_to_an_agent(run: Run, odd_words: Words, tmp_path: Path) -> None:
    result = run("relabel", *flat(odd_words, threshold=0.2))
    verify, build = proposed(result.stdout)
    assert verify == ["verify", str(odd_words["--store"])]
    assert proposed(run(*verify).stdout) == [build]
    result = run(*build, "--validation", "0", "--test", "0", "--threads", "1")
    assert result.exit_code == 0, result.output
    (train,) = proposed(result.stdout)
    assert train == [
        *("train", str(odd_words["--store"]), "--dataset", "gc1", "--algo", "iql"),
        *("--out", "runs/Bob's new store-gc1"),
    ]
    train[-1] = str(tmp_path / "run")
    result = run(*train, "--steps", "2", "--set", "hidden_units=[8]", "--set", "batch_size=4")
    assert result.exit_code == 0, result.output
    (evaluate,) = proposed(result.stdout)
    assert evaluate[:2] == ["evaluate", str(tmp_path / "run")]
    assert proposed(run(*verify).stdout) == [[*train[:-1], "runs/Bob's new store-gc1"]]
    again = proposed(run(*build[:-1], "gc1", "--validation", "0", "--test", "0").stdout)
    assert again[0][:4] == train[:4]


def test_from_embeddings_to_rewards(run: Run, odd_words: Words) -> None:
    embed = {name: value for name, value in odd_words.items() if name != "--goals"}
    result = run("embed", *flat(embed))
    (score,) = proposed(result.stdout)
    assert score == [
        *("score", "--store", str(odd_words["--store"]), "--encoder", odd_words["--encoder"]),
        *("--goals", "field:language_instruction", "--name", "v1"),
    ]
    result = run(*score, "--threads", "1")
    assert result.exit_code == 0, result.output
    assert proposed(run("embed", *flat(embed)).stdout)[0][-1] == "v2"  # v1 is taken


def test_from_a_source_to_its_own_rewards(run: Run, odd_words: Words) -> None:
    store = str(odd_words["--store"])
    result = run("embed", "--no-frames", "--source", odd_words["--source"], "--store", store)
    assert result.exit_code == 0, result.output
    (build,) = proposed(result.stdout)
    assert build == [*("build-goals", store, "--truth", "reward", "--no-rewards", "--name", "gc1")]
    assert proposed(run("verify", store).stdout) == [build]
    # This source writes its reward behind the last action.
    split = ("--validation", "0", "--test", "0", "--timing", "next-frame")
    result = run(*build, *split, "--threads", "1")
    assert result.exit_code == 0, result.output
    (train,) = proposed(result.stdout)
    assert train[:4] == ["train", store, "--dataset", "gc1"]


def test_another_run_is_not_taken_for_the_proposed_one(
    run: Run, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = str(tmp_path / "my.store")
    assert run("relabel", *flat(words, store=store)).exit_code == 0
    split = ("--validation", "0", "--test", "0", "--threads", "1")
    result = run("build-goals", store, *split)
    assert proposed(result.stdout)[0][-1] == "runs/my-gc1"
    (tmp_path / "runs" / "my-gc1").mkdir(parents=True)
    assert proposed(run("verify", store).stdout)[0][-1] == "runs/my-gc1-2"


def test_a_dry_run_proposes_the_run(
    run: Run, odd_words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["relabel", *flat(odd_words), "--dry-run"]
    monkeypatch.setattr("sys.argv", ["vlm-relabel", *line])
    assert proposed(run(*line).stdout) == [line[:-1]]


def test_goals_that_are_never_rewarded_are_scored_again(
    run: Run, odd_words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["relabel", *flat(odd_words, threshold=1)]
    monkeypatch.setattr("sys.argv", ["vlm-relabel", *line])
    verify, score = proposed(run(*line).stdout)
    assert score[:1] == ["score"]
    assert proposed(run(*verify).stdout) == [score]
    assert "--goals" in score
    result = run(*score, "--threads", "1")
    assert result.exit_code == 0, result.output
    assert "3 of 3 goals are never rewarded" not in result.stdout
    build = proposed(result.stdout)[1]
    assert build[:4] == ["build-goals", str(odd_words["--store"]), "--rewards", "v2"]
    assert proposed(run(*verify).stdout) == [build]  # of v1 there would be none


def test_a_calibration_that_is_silent_asks_for_labels(
    run: Run, odd_words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["relabel", *flat(odd_words)]
    monkeypatch.setattr("sys.argv", ["vlm-relabel", *map(str, line)])
    assert run(*line).exit_code == 0
    store = Store.open(str(odd_words["--store"]))
    rows = store.read("rewards/v1", ["episode_id", "step"]).to_pylist()[::2]
    goals = store.goals("v1").column("goal_id").to_pylist()
    told = [(row["episode_id"], row["step"], goal, False) for row in rows for goal in goals]
    write_labels(Labels.of_rows(told), "my labels.csv")
    line = ["calibrate", odd_words["--store"], "--labels", "my labels.csv"]
    monkeypatch.setattr("sys.argv", ["vlm-relabel", *map(str, line)])
    done = run(*line, "--method", "precision")
    assert done.exit_code == 0, done.output
    asked = ["label", str(odd_words["--store"]), "--rewards", "v1-calibrated"]
    asked += ["--labels", "my labels.csv"]
    assert proposed(done.stdout)[1] == asked
    Path("label.html").touch()
    asked += ["--out", "label-2.html"]
    again = run(*line, "--method", "precision")  # nothing is to do
    assert proposed(again.stdout)[1] == asked
    done = run(*asked)
    assert done.exit_code == 0, done.output


def test_dense_rewards_get_a_bound_that_some_frame_passes(run: Run, odd_words: Words) -> None:
    result = run("relabel", *flat(odd_words, reward="cosine"))
    _, build = proposed(result.stdout)
    if "--success-above" not in build:
        assert "never score above" not in result.stdout
    result = run(*build, "--validation", "0", "--test", "0", "--threads", "1")
    assert result.exit_code == 0, result.output


def test_machines_are_proposed_nothing(run: Run, words: Words) -> None:
    assert "next:" not in run("relabel", *flat(words), "--json").output


def _column(name: str, dtype: str, *shape: int | None) -> FieldSpec:
    return FieldSpec(name=name, kind="tensor", dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([_column("action", "float32", 7)], "--algo iql"),
        ([_column("action", "int64")], "--algo discrete-cql"),
        ([_column("action", "uint8")], "--algo discrete-cql"),
        ([_column("action", "int64", 1)], "--algo discrete-cql --discrete"),
        ([_column("action", "bool")], "--algo discrete-cql --discrete"),
        ([_column("action", "int32", 4)], "--algo iql"),
        ([_column("action", "float64")], "--algo iql"),
        (
            [_column("action.arm", "float32", 6), _column("action.gripper", "int64")],
            "--algo iql",
        ),
        ([_column("actions", "int64")], "--algo discrete-cql --action actions"),
        (
            [_column("state", "float32", 3), _column("action_dict.arm", "float32", 6)],
            "--algo iql --action action_dict",
        ),
        (
            [_column("observation.action", "float32", 2), _column("action", "float32", 3)],
            "--algo iql",
        ),
        ([_column("action", "float32", None), _column("action_2", "int8", 2)],
         "--algo iql --action action_2"),
        ([_column("state", "float32", 3)], "--algo iql"),
    ],
)  # fmt: skip
def test_the_algorithm_fits_the_action(columns: list[FieldSpec], words: str) -> None:
    assert next_steps._action(columns) == words.split()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2657, "0.26"), (0.5, "0.5"), (0.00123, "0.0012"), (1.0, "1"), (-0.123, "-0.13"), (0, "0")],
)
def test_bounds_are_rounded_down(value: float, text: str) -> None:
    assert next_steps._two_digits(value) == text
