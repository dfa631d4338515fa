"""`vlm-relabel label` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.labels import Labels, write_labels
from tests.vlm_relabel.cli.cli_outcomes import Run, flat, refusal


@pytest.fixture(name="made")
def _made(run: Run, words: dict[str, Any], store: Path) -> Path:
    """A relabeled store."""
    assert run("relabel", *flat(words)).exit_code == 0
    return store


def test_a_page_is_written_and_what_to_do_is_said(
    run: Run, made: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "label.html"
    result = run("label", made, "--budget", 4, "--out", out, "--source", source)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("12 questions about 3 goals in ")
    assert lines[1].startswith(f"{out}: 0.0 MB; open it in a browser")
    assert "download labels-v1.csv" in lines[1]
    assert "slices read" in result.stderr
    assert "frames read" in result.stderr
    assert out.read_text().startswith("<!doctype html>")


def test_json_lists_every_question_and_why(
    run: Run, made: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "label.html"
    words = ["label", made, "--budget", 3, "--out", out, "--source", source, "--json"]
    dry = run(*words, "--dry-run")
    report = json.loads(dry.stdout)
    assert dry.stderr == ""
    assert not out.exists()
    assert report["out"] is None
    assert len(report["questions"]) == 9
    first = report["questions"][0]
    assert first.keys() >= {"episode_id", "step", "goal_id", "score", "gain_bits", "why"}
    assert "bits expected" in first["why"]
    written = json.loads(run(*words).stdout)
    assert written["questions"] == report["questions"]
    assert written["bytes"] == out.stat().st_size


def test_a_dry_run_shows_some(run: Run, made: Path) -> None:
    result = run("label", made, "--dry-run", "--random")
    assert "drawn at random" in result.stdout
    assert "questions more (--json lists all)" in result.stdout
    assert result.stdout.endswith("dry run: nothing was written\n")


def test_notes_are_shown(run: Run, made: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    write_labels(Labels.of_rows([("gone/0", 1, "no-such", True)]), str(labels))
    result = run("label", made, "--dry-run", "--labels", labels, "--budget", 500)
    assert "note: 1 labels of goals that the reward set does not have: no-such" in result.stdout
    assert "note: 3 of 3 goals have fewer than 500 frames left to ask about" in result.stdout


def test_what_is_wrong_is_refused(run: Run, made: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("episode_id,step,goal_id,label\na,0,b,perhaps\n")
    assert "expected yes or no" in refusal(run("label", made, "--labels", labels, "--json"))
    assert "no such goal" in refusal(run("label", made, "--goal", "gone", "--json"))
    assert "not a store" in refusal(run("label", tmp_path, "--json"))
    assert "--max-mb" in refusal(run("label", made, "--max-mb", 0, "--json"))
