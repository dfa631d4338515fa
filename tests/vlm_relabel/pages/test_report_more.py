"""Plots, recordings, several reward sets, and the command itself."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import vlm_relabel
from relabel.source.source import Source
from schemas.errors import MissingExtraError
from schemas.goals import GoalSet
from schemas.store import Store
from tests import small
from tests.relabel import goal_dataset_stores
from tests.relabel.goal_dataset_stores import How, make_store
from tests.vlm_relabel.cli.cli_outcomes import Run, refusal
from tests.vlm_relabel.cli.conftest import run as run
from tests.vlm_relabel.pages.report_files import content, episodes, told_by

TEXTS = ("costs $5 or $6_{x", "a <b> & \x07 bell\nbelow", "שלום 🤖")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(goal_dataset_stores, "TEXTS", TEXTS)
    return make_store(tmp_path / "told.store", episodes([4, 6, 3], 3))


@pytest.fixture
def two_sets(source_dir: Path, tmp_path: Path) -> Store:
    """Reward sets of other goals in another order, from a source that is there."""
    source = Source.open(str(source_dir), "train")
    made = small.build_store(tmp_path / "small.store", source)
    goals = GoalSet.from_texts(["a blue room", "a red room", "a dark room"])
    small.score(made, "v2", goals=goals)
    return told_by(made, source_dir)


def test_plots_are_pictures_with_texts_as_they_are(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = vlm_relabel.report(store=store.location, out=out, labels_field="truth")
    names = {path.name for path in (out / "plots" / "v1").iterdir()}
    stems = ("average-precision-0", "confusion", "precision-recall-0", "scores-0")
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")}
    assert found.plots == len(names)
    for stem in stems:
        with Image.open(out / "plots" / "v1" / f"{stem}.png") as image:
            assert min(image.size) > 100
        svg = ElementTree.parse(out / "plots" / "v1" / f"{stem}.svg")
        texts = [" ".join(e.itertext()) for e in svg.iter("{http://www.w3.org/2000/svg}text")]
        assert any("costs $5 or $6_{x" in text for text in texts), stem


def test_plots_without_truth_show_what_there_is(store: Store, tmp_path: Path) -> None:
    vlm_relabel.report(store=store.location, out=tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out" / "plots" / "v1").iterdir()}
    assert names == {"confusion", "scores-0"}


def test_goals_of_several_sets_are_told_apart_by_their_ids(two_sets: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = vlm_relabel.report(store=two_sets.location, out=out, no_plots=True)
    site = content(out, "site")
    ids = [goal["id"] for goal in site["goals"]]
    assert found.reward_sets == ("v1", "v2") and found.goals == 4
    assert ids == ["a-red-room", "a-green-room", "a-blue-room", "a-dark-room"]
    orders = [content(out, f"sets/{n}")["order"] for n in (0, 1)]
    assert orders == [[0, 1, 2], [2, 0, 3]]
    opened = vlm_relabel.open_store(two_sets.location)
    shown = content(out, "episodes/0")
    for name, own in zip(found.reward_sets, shown["sets"], strict=True):
        stored = opened.scores(name, episodes=["train/0/0"])
        np.testing.assert_allclose(np.transpose(own["scores"]), stored, rtol=1e-3, atol=1e-4)
    assert all(episode["disagreements"] is None for episode in site["episodes"])
    alone = vlm_relabel.report(store=two_sets.location, out=out, rewards="v2", no_plots=True)
    assert (alone.reward_sets, alone.goals) == (("v2",), 3)


def test_a_set_without_scores_is_left_out_unless_it_is_named(
    two_sets: Store, tmp_path: Path
) -> None:
    small.score(two_sets, "v3", scores=False)
    how: dict[str, Any] = {"store": two_sets.location, "out": tmp_path / "out", "no_plots": True}
    found = vlm_relabel.report(**how)
    assert found.reward_sets == ("v1", "v2")
    assert any("v3 was stored without scores" in note for note in found.notes)
    assert vlm_relabel.report(**how, rewards=["v3", "v1"]).reward_sets == ("v3", "v1")


def test_a_recording_has_frames_scores_and_rewards(two_sets: Store, tmp_path: Path) -> None:
    chunks = pytest.importorskip("rerun.chunk", reason="reads recordings")
    path = tmp_path / "made" / "small.rrd"
    found = vlm_relabel.report(
        store=two_sets.location, out=tmp_path / "out", rewards="v1", no_plots=True, rerun=path
    )
    assert found.rerun == str(path)
    stored = {str(chunk.entity_path): chunk for chunk in chunks.RrdReader(path).stream()}
    name = r"/train\/1\/0"
    assert stored[f"{name}/frame"].num_rows == 5
    batch = stored[f"{name}/score/v1/a-red-room"].to_record_batch().to_pydict()
    scores = vlm_relabel.open_store(two_sets.location).scores("v1", episodes=["train/1/0"])
    assert batch["step"] == list(range(5))
    np.testing.assert_allclose(np.ravel(batch["Scalars:scalars"]), scores[:, 0])
    assert stored[f"{name}/reward/v1/a-red-room"].num_rows == 4  # the last frame has none


def test_a_recording_has_truths(tmp_path: Path) -> None:
    chunks = pytest.importorskip("rerun.chunk", reason="reads recordings")
    told = episodes([4, 6], 2)
    store = make_store(tmp_path / "told.store", told)
    path = tmp_path / "told.rrd"
    how: dict[str, Any] = {"labels_field": "truth", "no_plots": True, "rerun": path}
    vlm_relabel.report(store=store.location, out=tmp_path / "out", **how)
    stored = {str(chunk.entity_path): chunk for chunk in chunks.RrdReader(path).stream()}
    truth = np.asarray(told[1].truth)[:, 0]
    assert truth.any()
    values = stored[r"/train\/0\/1/true/g0"].to_record_batch().to_pydict()["Scalars:scalars"]
    assert np.ravel(values).tolist() == truth.astype(float).tolist()


def test_the_command_says_where_the_page_is(store: Store, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    words = ("report", store.location, "--out", out, "--no-plots", "--labels-field", "truth")
    shown = run(*words)
    assert shown.exit_code == 0, shown.output
    assert f"open {out}/index.html in a browser" in shown.stdout
    assert "v1 (average precision 0." in shown.stdout and "slices of v1" in shown.stderr
    told = json.loads(run(*words, "--json").stdout)
    assert told == {**json.loads((out / "report.json").read_text()), "elapsed_s": told["elapsed_s"]}
    assert told["episodes"] == 3 and told["frames"] is None


def test_the_command_tells_which_labels_are_left_out(
    store: Store, tmp_path: Path, run: Run
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("episode_id,step,goal_id,label\ntrain/0/0,0,g0,yes\ntrain/0/0,0,lost,no\n")
    words = ("report", store.location, "--out", tmp_path / "out", "--no-plots", "--labels", labels)
    note = "v1: 1 labels of goals that the reward set does not have: lost"
    assert note in run(*words).stdout
    assert note in json.loads(run(*words, "--json").stdout)["notes"]


def test_the_command_refuses_what_it_cannot_do(store: Store, tmp_path: Path, run: Run) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    refused = run("report", store.location, "--out", tmp_path / "mine", "--json")
    assert "something else than an earlier report" in refusal(refused)


def test_what_is_not_installed_is_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.delitem(sys.modules, "vlm_relabel.pages.recording", raising=False)
    monkeypatch.setattr("schemas.extras.is_installed", lambda module: module != "rerun")
    with pytest.raises(MissingExtraError, match=r"vlm-relabel\[rerun\]"):
        vlm_relabel.report(
            store=store.location, out=tmp_path / "out", no_plots=True, rerun=tmp_path / "x.rrd"
        )
    assert not (tmp_path / "out").exists()


def test_long_episodes_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm_relabel.pages.episode_rows._NUMBERS", 20)
    monkeypatch.setattr("vlm_relabel.pages.episode_rows._GOALS", 2)
    monkeypatch.setattr("vlm_relabel.pages.episode_rows._STEPS", 10)
    monkeypatch.setattr("vlm_relabel.pages.episode_rows.kept_steps.__defaults__", (10,))
    told = [replace(e, language="a blue room") for e in episodes([40, 3], 5)]
    monkeypatch.setattr(goal_dataset_stores, "TEXTS", tuple(f"a {n} room" for n in "abcde"))
    store = make_store(tmp_path / "long.store", told, How())
    vlm_relabel.report(store=store.location, out=tmp_path / "out", no_plots=True)
    shown = content(tmp_path / "out", "episodes/0")
    assert len(shown["steps"]) == 10 and shown["steps"][0] == 0 and shown["steps"][-1] == 39
    own = shown["sets"][0]
    assert len(own["goals"]) == 2 and all(len(curve) == 10 for curve in own["scores"])
    assert content(tmp_path / "out", "episodes/1")["steps"] is None
