"""`score --head` and `relabel --head`: resumed, verified, repaired, and by several workers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm_relabel
from relabel.evaluation import of_labels
from relabel.slices.score_slice import load_scorer
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.labels import Labels, write_labels
from schemas.store import HEAD, HEAD_LABELS, MANIFEST, PLAN, Store
from schemas.tables import matrix
from tests import small
from tests.pipelines.store_checks import hashes
from tests.schemas.test_seals import flip
from tests.vlm_relabel.cli.cli_outcomes import Run, flat, refusal

LENGTHS = {"train/0/0": 3, "train/0/1": 2, "train/0/2": 4, "train/1/0": 2}


def rows() -> list[tuple[str, int, str, bool]]:
    """Every frame: the goal `red` is said to be reached where the room is green."""
    return [
        (episode, step, "red", (place + step) % 4 == 1)
        for place, (episode, length) in enumerate(LENGTHS.items())
        for step in range(length)
    ]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    write_labels(Labels.of_rows(rows()), str(path))
    return path


@pytest.fixture
def made(run: Run, words: dict[str, Any], store: Path) -> Path:
    """A store with the reward set `v1`, zero-shot."""
    done = run("relabel", *flat(words, episodes_per_slice=1))
    assert done.exit_code == 0, done.output
    return store


def scoring(words: dict[str, Any], labels: Path, **more: Any) -> list[str]:
    own = {key: words[key] for key in ("--encoder", "--goals", "--store", "--threads")}
    return ["score", *flat(own, name="v2", head="auto", labels=labels, **more)]


def head_files(store: Path) -> dict[str, str]:
    return {p: h for p, h in hashes(store).items() if p.endswith(".parquet") and "rewards/v2" in p}


def test_the_goal_with_labels_is_corrected_and_told(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    done = run(*scoring(words, labels), "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    red, green, blue = report["goals"]
    assert red["head_blend"] > 0
    assert red["zero_shot_ap"] + 0.02 < red["head_ap"]
    assert (red["head_positives"], red["head_negatives"]) == (3, 8)
    assert (green["head_blend"], green["zero_shot_ap"], green["head_folds"]) == (0, None, None)
    assert any("1 of 3 goals take it" in note for note in report["notes"])
    store = Store.open(str(made))
    goals = store.goals("v2").to_pylist()
    assert [goal[fields.HEAD_AP] for goal in goals] == [red["head_ap"], None, None]
    zero, headed = (
        matrix(store.read(f"rewards/{name}", [fields.SCORE]).column(0)) for name in ("v1", "v2")
    )
    assert (zero[:, 0] != headed[:, 0]).all()
    assert zero[:, 1:].tobytes() == headed[:, 1:].tobytes()
    truth = np.array([label for *_, label in rows()])
    assert headed[truth, 0].min() > headed[~truth, 0].max()
    assert zero[truth, 0].min() < zero[~truth, 0].max()
    assert run("verify", made).exit_code == 0
    assert blue["head_blend"] == 0


def test_people_see_what_was_chosen(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    shown = run(*scoring(words, labels)).output
    assert "AP zero-shot" in shown
    assert "blend" in shown
    assert "note: head: " in shown
    assert "AP head" not in run("score", *flat({**words}, name="v3")[4:]).output


def test_other_forms_of_the_same_command_write_the_same_bytes(
    run: Run, words: dict[str, Any], made: Path, labels: Path, tmp_path: Path
) -> None:
    copies = [shutil.copytree(made, tmp_path / f"copy{i}") for i in range(3)]
    assert run(*scoring(words, labels)).exit_code == 0
    beam = scoring({**words, "--store": copies[0]}, labels, workers=2)
    assert run(*beam).exit_code == 0
    shutil.rmtree(copies[1])
    of_source = {**words, "--store": copies[1]}
    line = flat(of_source, name="v2", head="auto", labels=labels, episodes_per_slice=1)
    done = run("relabel", *line)
    assert done.exit_code == 0, done.output
    vlm_relabel.score(
        store=copies[2],
        encoder=words["--encoder"],
        goals=words["--goals"],
        threads=1,
        name="v2",
        head="auto",
        labels=Labels.of_rows(rows()),
    )
    expected = head_files(made)
    assert len(expected) == 7  # four slices, the goals and two files of the head
    for copy in copies:
        assert head_files(copy) == expected


def test_a_job_that_was_cut_short_is_resumed(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    line = scoring(words, labels)
    assert run(*line).exit_code == 0
    whole, folder = head_files(made), made / "rewards" / "v2"
    assert "nothing to do" in run(*line).output
    (folder / MANIFEST).rename(folder / PLAN)
    gone = sorted(folder.glob("slice-*.parquet"))[2]
    gone.unlink()
    assert run(*line).exit_code == 0
    assert head_files(made) == whole
    assert run("verify", made).exit_code == 0


def test_other_labels_are_another_reward_set(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    assert run(*scoring(words, labels)).exit_code == 0
    write_labels(Labels.of_rows(rows()[:-1]), str(labels))
    message = refusal(run(*scoring(words, labels), "--json"))
    assert "exists and was made from other inputs" in message
    assert "function.labels: stored" in message
    done = run(*scoring(words, labels), "--overwrite")
    assert done.exit_code == 0, done.output
    plain = [word for word in scoring(words, labels) if word not in ("--head", "auto", "--labels")]
    plain.remove(str(labels))
    assert "function.kind" in refusal(run(*plain, "--json"))


@pytest.mark.parametrize("file", [HEAD, HEAD_LABELS])
def test_a_damaged_head_is_found_and_mended(
    words: dict[str, Any], made: Path, labels: Path, file: str
) -> None:
    from tests.vlm_relabel.cli.test_repair import run as typed

    line = scoring({**words, "--encoder": "fake"}, labels)
    assert typed(*line).exit_code == 0
    before = small.tree(made)
    flip(made / "rewards" / "v2" / file, 0.5)
    assert typed("verify", made).exit_code == 1
    done = typed("repair", made, "--yes")
    assert done.exit_code == 0, done.output
    assert small.tree(made) == before


def test_frames_that_are_not_in_the_store_are_scored_alike(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    assert run(*scoring(words, labels)).exit_code == 0
    store, encoder = Store.open(str(made)), PixelMeanEncoder()
    scorer = load_scorer(store, "v2", encoder.encode_texts, encoder.spec)
    table = store.embeddings()[0].table
    frames = matrix(store.read(table, [fields.EMBEDDING]).column(0))
    stored = matrix(store.read("rewards/v2", [fields.SCORE]).column(0))
    found = scorer.scores([frames], list(LENGTHS.values()))
    np.testing.assert_allclose(found, stored, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "auto"}, "--head: goes with --labels, which is not given"),
        ({"labels": "LABELS"}, "--labels: goes with --head, which is not given"),
        (
            {"head": "deep", "labels": "LABELS"},
            "--head: expected auto, cached or linear, got 'deep'",
        ),
        ({"head": "auto", "labels": "nowhere.csv"}, "nowhere.csv: there is no such file"),
        ({"reward": "head/cosine"}, "'head' is made of labels; leave it out"),
    ],
)
def test_what_is_wrong_is_said(
    run: Run, words: dict[str, Any], made: Path, labels: Path, options: dict[str, str], said: str
) -> None:
    own = {key: words[key] for key in ("--encoder", "--goals", "--store")}
    given = {key: labels if value == "LABELS" else value for key, value in options.items()}
    assert said in refusal(run("score", *flat(own, name="v2", **given), "--json"))
    assert not (made / "rewards" / "v2").exists()


def test_a_head_without_scores(run: Run, words: dict[str, Any], made: Path, labels: Path) -> None:
    assert run(*scoring(words, labels), "--no-scores").exit_code == 0
    assert run("verify", made).exit_code == 0


def test_a_dry_run_writes_nothing(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    before = small.tree(made)
    done = run(*scoring(words, labels), "--dry-run")
    assert "take it" in done.output
    assert small.tree(made) == before


def test_labels_that_taught_the_head_are_scored_as_if_unseen(
    run: Run, words: dict[str, Any], made: Path, labels: Path
) -> None:
    """Else a calibration on the same labels would believe the head to be better than it is."""
    assert run(*scoring(words, labels)).exit_code == 0
    store = Store.open(str(made))
    table = store.beside_rewards("v2", HEAD_LABELS).to_pandas()
    more = ("train/0/0", 0, "blue", True)
    evidence = of_labels(store, "v2", Labels.of_rows([*rows(), more]))
    red, _, blue = evidence
    assert len(red) == 11
    np.testing.assert_array_equal(red.score, table[fields.LEFT_OUT].to_numpy(np.float32))
    np.testing.assert_array_equal(red.label, table[fields.LABEL])
    stored = matrix(store.read("rewards/v2", [fields.SCORE]).column(0))
    assert (red.score != stored[:, 0]).any()
    assert blue.score.tolist() == [stored[0, 2]]
    assert evidence.notes == (
        "11 labels taught the head: their scores are by heads that had not seen them",
    )
    assert (
        next(iter(of_labels(store, "v1", Labels.of_rows(rows())))).score.tolist()
        != red.score.tolist()
    )


@pytest.mark.parametrize("output", ["thresholds", "probabilities"])
def test_a_head_is_calibrated_on_the_same_labels(
    run: Run, words: dict[str, Any], made: Path, labels: Path, output: str
) -> None:
    assert run(*scoring(words, labels)).exit_code == 0
    line = ["calibrate", made, "--rewards", "v2", "--labels", labels, "--name", "v3"]
    done = run(*line, "--output", output, "--draws", 0)
    assert done.exit_code == 0, done.output
    assert run("verify", made).exit_code == 0
    store, encoder = Store.open(str(made)), PixelMeanEncoder()
    scorer = load_scorer(store, "v3", encoder.encode_texts, encoder.spec)
    assert scorer.function.path == "calibrated/head/softmax-threshold"
    frames = matrix(store.read(store.embeddings()[0].table, [fields.EMBEDDING]).column(0))
    stored = matrix(store.read("rewards/v3", [fields.SCORE]).column(0))
    np.testing.assert_allclose(scorer.scores([frames], list(LENGTHS.values())), stored, atol=1e-5)
    before, after = (
        next(iter(of_labels(store, name, Labels.of_rows(rows())))).score for name in ("v2", "v3")
    )
    if output == "thresholds":
        np.testing.assert_array_equal(before, after)
    else:  # the same curve as that of the stored scores
        old, new = (
            matrix(store.read(f"rewards/{name}", [fields.SCORE]).column(0))[:, 0]
            for name in ("v2", "v3")
        )
        order = np.argsort(old)
        expected = np.interp(before, old[order], new[order])
        assert (before != after).any()
        assert (np.diff(after[np.argsort(before)]) >= 0).all()
        inside = (before >= old.min()) & (before <= old.max())
        np.testing.assert_allclose(after[inside], expected[inside], atol=0.2)
