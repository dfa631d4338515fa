"""`calibrate` as typed: what it prints, `--json`, `repair`, and goals whose texts are odd."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import vlm_relabel
from schemas.labels import Labels, write_labels
from schemas.store import Store
from schemas.verify import verify_store
from tests.vlm_relabel.cli.cli_outcomes import Run, flat, refusal
from tests.vlm_relabel.cli.test_repair import run as repair_run

GOALS = """\
goals:
  - id: red
    family: '<script>alert("x")</script>, a [bold]family[/]'
    texts: ["a red room"]
  - id: green
    texts: ["a green room"]
  - id: blue
    texts: ["غرفة 🟦"]
    negatives: ["a red room"]
"""


@pytest.fixture(name="made")
def _made(run: Run, words: dict[str, Any], store: Path, tmp_path: Path) -> Path:
    """A store with the reward set `v1`."""
    goals = tmp_path / "odd.yaml"
    goals.write_text(GOALS)
    done = run("relabel", *flat({**words, "--goals": goals}, episodes_per_slice=1))
    assert done.exit_code == 0, done.output
    return store


@pytest.fixture(name="labels")
def _labels(made: Path, tmp_path: Path) -> Path:
    """Half of all frames, said to show a goal where its score is high; `blue` has none."""
    store = Store.open(str(made))
    rows = store.read("rewards/v1", ["episode_id", "step", "score"]).to_pylist()
    told = [
        (row["episode_id"], row["step"], goal, row["score"][g] > 0.5)
        for row in rows[::2]
        for g, goal in enumerate(("red", "green"))
    ]
    told.append(("gone/0/0", 0, "red", True))
    path = tmp_path / "labels.csv"
    write_labels(Labels.of_rows(told), str(path))
    return path


def test_what_is_printed(run: Run, made: Path, labels: Path) -> None:
    done = run("calibrate", made, "--labels", labels, "--name", "better")
    assert done.exit_code == 0, done.output
    for text in (
        "v1 → better: 3 goals by platt from",
        "fold cross-validation over episodes; in brackets 95 % intervals",
        '<script>alert("x")</script>, a [bold]family[/]',
        "mean of all goals",
        "a random score would have AP",
        "1 goal has no label, and the threshold that their family or all goals speak for: blue",
        "1 labels of episodes that the store does not have: gone/0/0",
        "vlm-relabel build-goals",
    ):
        assert text in done.output, text
    assert not [p for _, found in verify_store(Store.open(str(made))) for p in found]


def test_json_is_what_the_function_returns(run: Run, made: Path, labels: Path) -> None:
    done = run("calibrate", made, "--labels", labels, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert done.stderr == ""
    report = vlm_relabel.calibrate(store=made, labels=labels, dry_run=True)
    assert told == json.loads(report.model_dump_json())
    assert [goal["goal_id"] for goal in told["calibration"]["goals"]] == ["red", "green", "blue"]
    assert told["calibration"]["verdict"]["after"]["macro"]["intervals"]


def test_labels_in_memory_are_those_of_the_file(made: Path, labels: Path) -> None:
    from schemas.labels import read_labels

    one = vlm_relabel.calibrate(store=made, labels=labels, dry_run=True)
    two = vlm_relabel.calibrate(store=made, labels=read_labels(str(labels)), dry_run=True)
    assert one.calibration == two.calibration


def test_without_labels(run: Run, made: Path) -> None:
    done = run("calibrate", made, "--method", "valley", "--name", "valley")
    assert done.exit_code == 0, done.output
    assert "no label was kept apart to judge the result by" in done.output
    assert "without labels: frames above the valley" in done.output
    told = refusal(run("calibrate", made, "--json"))
    assert "expected labels, got none; give --labels FILE" in told
    assert "--precision" in refusal(run("calibrate", made, "--precision", "2", "--json"))


def test_damage_is_repaired_by_the_recorded_command(run: Run, made: Path, labels: Path) -> None:
    command = ("calibrate", made, "--labels", labels, "--output", "probabilities", "--threads", 1)
    assert repair_run(*command).exit_code == 0
    store = Store.open(str(made))
    table = made / "rewards/v1-calibrated"
    before = {p.name: p.read_bytes() for p in table.glob("*.parquet")}
    assert len(before) == len(store.slices) > 1
    victim = sorted(before)[1]
    (table / victim).unlink()
    done = repair_run("repair", made, "--yes")
    assert done.exit_code == 0, done.output
    assert "vlm-relabel calibrate" in done.output
    assert {p.name: p.read_bytes() for p in table.glob("*.parquet")} == before


def test_a_reward_set_with_a_head_keeps_it(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    from relabel.slices.score_slice import load_scorer
    from relabel.testing import PixelMeanEncoder

    own = {key: words[key] for key in ("--encoder", "--store", "--threads")}
    goals = {"--goals": made.parent / "odd.yaml"}
    scored = run("score", *flat({**own, **goals}, name="v2", head="auto", labels=labels))
    assert scored.exit_code == 0, scored.output
    done = run("calibrate", made, "--rewards", "v2", "--labels", labels, "--name", "v3")
    assert done.exit_code == 0, done.output
    encoder = PixelMeanEncoder()
    store = Store.open(str(made))
    scorer = load_scorer(store, "v3", encoder.encode_texts, encoder.spec)
    assert scorer.function.path == "calibrated/head/softmax-threshold"
    shutil.rmtree(made / "rewards/v2")
    assert load_scorer(store, "v3", encoder.encode_texts, encoder.spec) is not None
