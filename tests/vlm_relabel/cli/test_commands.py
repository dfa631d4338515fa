"""What the commands print, where, and what they leave alone."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.goal_datasets import DatasetOptions
from schemas.store import MANIFEST, PLAN, Store
from tests.pipelines.small_source import write_source
from tests.vlm_relabel.cli.cli_outcomes import Run, files, flat
from vlm_relabel.cli import goals_command

Words = dict[str, Any]
ROOT = Path(__file__).parents[3]
JOB = (
    *("--store", "--encoder", "--device", "--precision", "--preprocess", "--workers", "--threads"),
    *("--max-dead-ratio", "--overwrite", "--dry-run", "--profile", "--json", "--slices"),
    "--price-per-hour",
)
EMBED = (
    *("--source", "--split", "--camera", "--batch-size", "--decode-threads", "--dtype"),
    *("--keep-frames", "--last-step", "--episodes-per-slice", "--exclude", "--keep-merged"),
    *("--skip-blank-cameras", "--retry-dead-letters"),
)
SCORE = (
    *(
        "--goals",
        "--name",
        "--reward",
        "--temperature",
        "--threshold",
        "--alpha",
        "--window",
        "--set",
    ),
    *("--timing", "--fuse", "--no-scores", "--null-prompt", "--truncate-texts"),
    *("--skip-blank-cameras", "--head", "--labels"),
)
OPTIONS = {
    "inspect": ("--exclude", "--keep-merged", "--json"),
    "relabel": (*JOB, *EMBED, *SCORE),
    "embed": (*JOB, *EMBED),
    "score": (*JOB, *SCORE, "--camera", "--trust", "--no-embed"),
    "verify": ("--json",),
    "doctor": ("--json",),
}
DENSE = {"mean_score", "min_score", "above_bound", "success_bound"}
PROGRESS = re.compile(r"^\d+/\d+ slices, ", re.MULTILINE)


# --- help -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", OPTIONS)
def test_the_help_of_a_command_mentions_its_options(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    told = set(re.findall(r"--[a-z][a-z-]*", result.stdout))
    assert told >= set(OPTIONS[command])
    unlisted = {name for name in told if not name.startswith("--no-")} - set(OPTIONS[command])
    assert unlisted <= {"--help", "--runner", "--flink"}  # the example of Beam options


def test_the_help_lists_the_commands(run: Run) -> None:
    told = run("--help").stdout
    assert [command for command in OPTIONS if command not in told] == []


# --- people and machines ----------------------------------------------------------------------


def test_relabel_tells_people_on_stdout_and_progress_on_stderr(
    run: Run, words: Words, store: Path
) -> None:
    result = run("relabel", *flat(words))
    assert result.exit_code == 0
    assert PROGRESS.search(result.stderr)
    assert not PROGRESS.search(result.stdout)
    for text in ("4 episodes in 2 slices", "last step: final-observation", "highest score"):
        assert text in result.stdout
    assert f"next:\n  vlm-relabel verify {store}\n" in result.stdout
    assert "11 frames in" in result.stdout


def test_relabel_tells_machines_one_object(run: Run, words: Words, store: Path) -> None:
    result = run("relabel", *flat(words), "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    told = json.loads(result.stdout)
    assert told.keys() == {
        *("store", "source", "dry_run", "slices", "part", "episodes", "episodes_empty"),
        *(
            "episodes_of_one_step",
            "slices_new",
            "tables_new",
            "frames_new",
            "elapsed_s",
            "frames_per_s",
        ),
        *("last_step", "tables", "goals", "profile", "encoder", "engine", "notes", "estimate"),
    }
    assert told["profile"] is None  # not asked for
    assert told["engine"] == "Beam"
    assert told["store"] == str(store)
    assert (told["slices_new"], told["frames_new"]) == (2, 11)
    assert [table["complete"] for table in told["tables"]] == [True] * 4
    assert told["tables"][0].keys() == {
        "table", "complete", "slices_done", "rows", "bytes", "dead_letters", "examples", "damages",
    }  # fmt: skip
    goal = told["goals"][0]
    without_head = {
        *("head_positives", "head_negatives", "zero_shot_ap", "head_ap", "head_blend"),
        *("head_folds", "head_reason"),
    }
    dense = {"mean_score", "min_score", "above_bound", "success_bound", "raised"}
    told_of = {"goal_id", "family", "max_score", "rewarded"}
    assert goal.keys() == told_of | dense | without_head
    assert {name for name, value in goal.items() if value is None} == dense | without_head


@pytest.mark.parametrize(
    ("reward", "measures"),
    [
        ("softmax-threshold", {"rewarded"}),
        ("probability", DENSE),
        ("cosine", DENSE),
        ("potential-difference/cosine", {*DENSE, "raised"}),
    ],
)
def test_goals_are_measured_by_what_their_kind_of_reward_means(
    run: Run, words: Words, store: Path, reward: str, measures: set[str]
) -> None:
    """Against the stored columns, by hand."""
    told = json.loads(run("relabel", *flat(words, reward=reward), "--json").stdout)
    rows = Store.open(str(store)).read("rewards/v1").to_pylist()
    assert [goal["goal_id"] for goal in told["goals"]] == ["red", "green", "blue"]
    for place, goal in enumerate(told["goals"]):
        scores = [row["score"][place] for row in rows]
        rewards = [row["reward"][place] for row in rows if row["reward"][place] is not None]
        positive = sum(value > 0 for value in rewards) / len(rewards)
        expected = {
            "rewarded": positive,
            "raised": positive,
            "mean_score": sum(scores) / len(scores),
            "min_score": min(scores),
            "above_bound": sum(score > 0.5 for score in scores) / len(scores),
            "success_bound": 0.5,
        }
        known = {name: goal[name] for name in expected if goal[name] is not None}
        assert known == pytest.approx({name: expected[name] for name in measures}, abs=1e-6)
        assert goal["max_score"] == pytest.approx(max(scores))


def test_people_see_the_measures_of_dense_rewards(run: Run, words: Words) -> None:
    told = run("relabel", *flat(words, reward="potential-difference/cosine")).stdout
    columns = ["highest", "score", "mean", "lowest", "above", "0.5", "raised"]
    heading = next(line for line in told.splitlines() if line.startswith("goal  "))
    assert heading.split() == ["goal", "family", *columns]
    assert "rewarded" not in told
    result = run("relabel", *flat(words, reward="cosine", name="v2"))
    assert result.exit_code == 0
    assert "raised" not in result.stdout


def test_embed_and_score_are_the_two_halves(run: Run, words: Words, store: Path) -> None:
    score = {k: v for k, v in words.items() if k not in ("--source", "--camera")}
    embed = {k: v for k, v in words.items() if k != "--goals"}
    assert run("embed", *flat(embed)).exit_code == 0
    result = run("score", *flat(score, name="v2"), "--json")
    assert [table["table"] for table in json.loads(result.stdout)["tables"]] == ["rewards/v2"]
    assert run("verify", store).exit_code == 0


def test_a_second_run_says_that_there_is_nothing_to_do(run: Run, words: Words, store: Path) -> None:
    run("relabel", *flat(words))
    before = files(store)
    result = run("relabel", *flat(words))
    assert "nothing to do: every table is complete" in result.stdout
    assert result.stderr == ""
    assert files(store) == before


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_dry_run_writes_no_file(run: Run, words: Words, tmp_path: Path, form: list[str]) -> None:
    result = run("relabel", *flat(words), "--dry-run", *form)
    assert result.exit_code == 0
    assert files(tmp_path) == {}
    assert not (tmp_path / "store").exists()
    if form:
        told = json.loads(result.stdout)
        assert told["dry_run"] is True
        assert not any(table["complete"] for table in told["tables"])
    else:
        assert result.stdout.count("would be written") == 4
        assert "dry run: nothing was written" in result.stdout


def test_a_dry_run_on_a_store_changes_nothing(run: Run, words: Words, store: Path) -> None:
    run("relabel", *flat(words))
    before = files(store)
    result = run("relabel", *flat(words, name="v2", camera="wrist"), "--dry-run")
    assert result.stdout.count("would be written") == 2
    assert files(store) == before


def test_the_command_that_resumes_is_the_one_that_was_typed(
    run: Run, words: Words, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store / "it's mine"
    line = ["relabel", *flat(words, store=store)]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/vlm-relabel", *line])
    assert run(*line).exit_code == 0
    command = Store.open(str(store)).table_manifest("steps").command
    assert command is not None
    assert command.startswith("vlm-relabel relabel --source ")
    assert """/it'"'"'s mine' --threads 1""" in command


def test_an_interrupted_command_says_how_to_go_on(
    run: Run, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_relabel import jobs

    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "relabel", interrupted)
    result = run("relabel", *flat(words))
    assert result.exit_code == 130
    assert "the same command resumes where it stopped" in result.stderr


# --- inspect ----------------------------------------------------------------------------------


def test_inspect_tells_what_a_source_holds_and_what_to_type(run: Run, source: Path) -> None:
    result = run("inspect", source)
    assert result.exit_code == 0
    for text in (
        "split train: 4 episodes in 2 shards",
        "lengths: 2 to 4 steps, median 2.5, of all 4 episodes of split train, as all below",
        "cameras: observation/front 8×8, observation/wrist 8×8",
        "action float32[2] from 0 to 2 (by value: 0 to 1; 0 to 2)",
        "language_instruction: text per step, 0 of 11 sampled steps empty; such as “make it red”",
        "metadata: file_path text such as episode_0.npy",
        "last step: final-observation, because 0 of 4 sampled episodes end with a non-zero action",
        f"vlm-relabel relabel --source {source} --split train --camera observation/front",
    ):
        assert text in result.stdout
    assert result.stderr == ""


def test_inspect_tells_machines_the_same(run: Run, source: Path) -> None:
    told = json.loads(run("inspect", source, "--json").stdout)
    assert told["cameras"] == ["observation/front", "observation/wrist"]
    assert told["splits"][0]["episodes"] == 4
    assert told["last_step"] == "final-observation"
    assert told["next_command"].startswith("vlm-relabel relabel --source")
    assert told["lengths"] == {"episodes": 4, "min": 2, "median": 2.5, "max": 4}
    assert told["error"] is None


def test_inspect_of_what_cannot_be_read_ends_with_2(run: Run, tmp_path: Path) -> None:
    directory = write_source(tmp_path / "source", (2, 2, 2), (2, 1))
    for shard in directory.glob("*.tfrecord-*"):
        shard.write_bytes(b"\xff" * 40)
    result = run("inspect", directory)
    assert result.exit_code == 2
    assert "note: 3 of 3 sampled records cannot be read; such as train/0/0" in result.stdout
    assert "next:" not in result.stdout
    assert "none of the first 3 episodes can be read" in result.stderr
    again = run("inspect", directory, "--json")
    assert again.exit_code == 2
    told = json.loads(again.stdout)
    assert told["error"] in again.stderr.replace("\n", "")
    assert (len(told["unreadable"]), told["next_command"]) == (3, None)


# --- verify -----------------------------------------------------------------------------------


@pytest.fixture
def made(run: Run, words: Words, store: Path) -> Path:
    """A complete store."""
    assert run("relabel", *flat(words)).exit_code == 0
    return store


def test_verify_of_a_good_store(run: Run, made: Path) -> None:
    result = run("verify", made)
    assert result.exit_code == 0
    assert "4 tables, all well" in result.stdout
    told = json.loads(run("verify", made, "--json").stdout)
    assert (told["store"], told["ok"], len(told["tables"])) == (str(made), True, 4)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _unfinish(path: Path) -> None:
    manifest = path.parent / MANIFEST
    manifest.rename(path.parent / PLAN)


@pytest.mark.parametrize(
    ("table", "damage", "text"),
    [
        ("steps", _flip, "its SHA-256 is not the one recorded"),
        ("rewards/v1", Path.unlink, "missing"),
        ("episodes", lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes, got"),
        ("rewards/v1", _unfinish, "slices); complete it with"),
    ],
)
def test_verify_of_a_damaged_store_ends_with_1(
    run: Run, made: Path, table: str, damage: Any, text: str
) -> None:
    damage(made / table / "slice-train-00001-000000-000001.parquet")
    result = run("verify", made)
    assert result.exit_code == 1
    assert f"✗ {table}" in result.stdout
    assert text in result.stdout
    told = json.loads((again := run("verify", made, "--json")).stdout)
    assert again.exit_code == 1
    assert told["ok"] is False
    assert text in told["tables"][table][0]["text"]
    assert told["tables"][table][0].keys() == {"table", "file", "text"}


# --- as a process -----------------------------------------------------------------------------


def _process(*words: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "vlm_relabel.cli.main", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_verify_needs_neither_beam_nor_torch_nor_tfds(made: Path) -> None:
    script = (
        "import sys\nfrom vlm_relabel.cli.main import app\n"
        f"app(['verify', {str(made)!r}], standalone_mode=False)\n"
        "heavy = {'apache_beam', 'torch', 'tensorflow_datasets', 'tensorflow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_program_itself(
    source: Path, goals: Path, store: Path, tiny_model: str, tmp_path: Path
) -> None:
    words = {
        "--source": source,
        "--camera": "wrist",
        "--encoder": tiny_model,
        "--goals": goals,
        "--store": store,
    }
    done = _process("relabel", *flat(words), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames_new"] == 11
    refused = _process("inspect", tmp_path / "nowhere")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


def test_help_loads_nothing_that_takes_long() -> None:
    heavy = [
        *("numpy", "pyarrow", "pydantic", "torch", "d3rlpy"),
        *("apache_beam", "tensorflow", "structlog", "sklearn"),
    ]
    code = (
        "import sys; sys.argv = ['vlm-relabel', '--help']; from vlm_relabel.cli.main import main\n"
        "try: main()\n"
        f"finally: print('loaded', [m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("loaded []")


def test_defaults_of_build_goals_are_those_of_a_goal_dataset() -> None:
    parameters = inspect.signature(goals_command.build_goals).parameters
    asked = set(DatasetOptions.model_fields) & set(parameters) - {"kinds", "goals", "episodes"}
    assert len(asked) == 12
    options = DatasetOptions()
    assert {n: parameters[n].default for n in asked} == {n: getattr(options, n) for n in asked}
