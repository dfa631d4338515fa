"""`vlm_relabel.compare` and `vlm-relabel compare`, as people call them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import vlm_relabel
from schemas.errors import RelabelError
from schemas.labels import Labels, write_labels
from schemas.store import Store
from tests.relabel.evaluation.scored_stores import RewardsTold, Told, add_rewards, make_store
from vlm_relabel.cli import console
from vlm_relabel.cli.main import app
from vlm_relabel.cli.usage import spread

IDS = ("g0", "g1")
LENGTHS = (5, 1, 4, 6)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    truth = [rng.random((length, 2)) < 0.4 for length in LENGTHS]
    weak, strong = (
        [(rng.random(own.shape) + skill * own) / (1 + skill) for own in truth] for skill in (0, 3)
    )
    told = [Told(s > 0.5, scores=s, truth=t) for s, t in zip(weak, truth, strict=True)]
    store = make_store(tmp_path / "x.store", told)
    add_rewards(store, RewardsTold("weak", weak, IDS))
    add_rewards(store, RewardsTold("good", strong, IDS))
    return store.location


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["compare", *words])
    return done.exit_code, done.output


def test_sets_follow_one_option(store: str) -> None:
    code, out = run(store, "--rewards", "v1", "good", "--labels-field", "truth", "--json")
    assert code == 0, out
    found = json.loads(out)
    assert [one["name"] for one in found["sets"]] == ["v1", "good", "ramp", "random"]
    assert found["precision_differences"][0]["rewards"] == "good"
    again = vlm_relabel.compare(store=store, rewards=["v1", "good"], labels_field="truth")
    assert again.model_dump(mode="json") == found


def test_words_are_spread() -> None:
    for given, meant in (
        ("s --rewards a b --json", "s --rewards a --rewards b --json"),
        ("s --rewards a --rewards b c", "s --rewards a --rewards b --rewards c"),
        ("s --rewards=a b --where c", "s --rewards=a --rewards b --where c"),
        ("s --rewards a -- b", "s --rewards a -- b"),
        ("s t --rewards", "s t --rewards"),
    ):
        assert spread(given.split(), "--rewards") == meant.split()


def test_what_people_see(store: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sets = ("--rewards", "weak", "good")
    code, text = run(store, *sets, "--labels-field", "truth", "--tricks", "--out", str(out))
    assert code == 0, text
    for part in (
        "2 reward sets, 2 goals in common, 16 frames in 4 episodes",
        "truth: column truth; ",
        "average precision",
        "order of time",
        "ramp (control)",
        "good against weak",
        "rank agreement",
        "frames they disagree on most",
        "min with good",
        "better, worse: goals whose average precision changes by more than 0.01",
        f"numbers and pictures are in {out}",
    ):
        assert part in text, part
    names = {path.name for path in out.iterdir()}
    pictures = {
        f"{name}.{kind}" for name in ("precision_recall", "tricks") for kind in ("png", "svg")
    }
    assert names == {"comparison.json", *pictures}
    assert json.loads((out / "comparison.json").read_text())["goals"] == list(IDS)


def test_without_truth_it_says_what_cannot_be_told(store: str) -> None:
    code, text = run(store)
    assert code == 0, text
    assert "truth: none; the reward sets are held against each other alone" in text
    assert "nothing is known to be true, so there is no average precision" in text
    assert "average precision  " not in text
    assert f"vlm-relabel compare {store} --rewards good v1 weak --labels labels-good.csv" in text


def test_labels_of_a_file_are_those_of_python(store: str, tmp_path: Path) -> None:
    labels = Labels.of_rows(
        [("train/0/0", step, "g0", step > 2) for step in range(5)] + [("train/8/8", 0, "g0", True)]
    )
    write_labels(labels, str(tmp_path / "labels.csv"))
    code, out = run(store, "--labels", str(tmp_path / "labels.csv"), "--json")
    assert code == 0, out
    assert json.loads(out) == vlm_relabel.compare(store=store, labels=labels).model_dump(
        mode="json"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rewards": ["v1", "v1"]}, "--rewards: v1 is given twice"),
        ({"rewards": "v9"}, "no table 'rewards/v9'; there are"),
        ({"labels": "x.csv", "labels_field": "truth"}, "--labels and --labels-field exclude"),
        ({"where": "is_terminal"}, "--where: expected --labels-field"),
        ({"tricks": True}, "--tricks: expected --labels or --labels-field"),
        ({"labels_field": "nothing"}, "truth column 'nothing': expected one value per goal"),
        ({"labels_field": "truth", "where": "action"}, "column of one bool per frame"),
        ({"labels": "labels.txt"}, r"ends in \.csv or \.parquet"),
        ({"draws": 1}, "--draws: expected greater than or equal to 2, got 1"),
        ({"labels": Labels.of_rows([])}, "no label to judge by: there is none; labels have"),
        (
            {"labels": Labels.of_rows([("lost", 0, "g0", True)])},
            "no label to judge by: 1 labels of episodes that the store does not have: lost",
        ),
        ({"listed": -1}, "--listed: expected greater than or equal to 0"),
    ],
)
def test_what_is_wrong_is_said(store: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RelabelError, match=said):
        vlm_relabel.compare(store=store, **options)


def test_a_store_without_rewards_says_what_makes_them(tmp_path: Path, store: str) -> None:
    Store.open(store).folder.delete_folder("rewards")
    with pytest.raises(RelabelError, match="expected a reward set to compare, and it has none"):
        vlm_relabel.compare(store=store)


def test_sets_that_cannot_be_compared_are_left_out_or_to_be_chosen(store: str) -> None:
    opened = Store.open(store)
    rows = [np.full((length, 2), 0.5) for length in LENGTHS]
    add_rewards(opened, RewardsTold("bare", rows, IDS, kept=False))
    found = vlm_relabel.compare(store=store, draws=2)
    assert [one.name for one in found.sets if not one.control] == ["good", "v1", "weak"]
    note = "reward set bare was stored without scores (--no-scores), and is left out"
    assert found.notes[0] == note
    code, text = run(store, "--draws", "2")
    assert code == 0 and note in " ".join(text.split())
    with pytest.raises(RelabelError, match="rewards/bare: expected scores"):
        vlm_relabel.compare(store=store, rewards=["bare", "v1"])
    add_rewards(opened, RewardsTold("other", rows, ("x", "y")))
    with pytest.raises(RelabelError, match=r"in common.*other has x, y.*compare with --rewards"):
        vlm_relabel.compare(store=store)


@pytest.mark.parametrize("below", ["", "/below", "/far/below"])
def test_a_file_in_the_place_of_a_folder_is_noticed_first(
    store: str, tmp_path: Path, below: str
) -> None:
    (tmp_path / "mine").write_text("mine")
    shown: list[str] = []

    def show(what: str, done: int, total: int) -> None:
        shown.append(what)

    for command in (vlm_relabel.compare, vlm_relabel.audit):
        out = f"{tmp_path}/mine{below}"
        with pytest.raises(RelabelError, match=f"--out {out}: expected a folder, and .*mine is"):
            command(store=store, out=out, show=show)
    assert not shown and (tmp_path / "mine").read_text() == "mine"


def test_a_store_without_any_scores_says_so(store: str) -> None:
    opened = Store.open(store)
    opened.folder.delete_folder("rewards")
    rows = [np.full((length, 2), 0.5) for length in LENGTHS]
    add_rewards(opened, RewardsTold("bare", rows, IDS, kept=False))
    with pytest.raises(RelabelError, match="rewards/bare: expected scores, and it was stored wi"):
        vlm_relabel.compare(store=store)


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = console.StageLines(lambda: now[0])
    for second in range(13):
        now[0] = float(second)
        lines.show("v1: whole episodes", second, 12)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"v1: whole episodes: {done} of 12" for done in (5, 10, 12)]


def test_texts_of_data_cannot_steer_the_terminal(tmp_path: Path) -> None:
    odd = ["a\x1b[31mred, 'b'\n🤖", "[bold]x[/]"]
    scores = np.random.default_rng(0).random((5, 2))
    told = [Told(scores > 0.5, scores=scores, truth=scores > 0.7)]
    store = make_store(tmp_path / "odd.store", told)
    add_rewards(store, RewardsTold("odd", [scores], IDS, odd))
    code, text = run(store.location, "--rewards", "odd", "--labels-field", "truth")
    assert code == 0, text
    assert "\x1b[31m" not in text
    assert "[bold]x[/]" in text
    assert re.search(r"a.\[31mred", text)
