"""The small examples run, one after the other in one folder, and what they print is right."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import vlm_relabel
from examples import relabel_source, replay_batches, score_new_goals, train_agent
from examples.playroom.goals import GOAL_INDEX

EXAMPLES = Path(relabel_source.__file__).parent
PAGE = (EXAMPLES / "README.md").read_text("utf-8")
LISTED = re.findall(r"^\| \[(\w+\.py)\]", PAGE, re.MULTILINE)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    relabel_source.make_store(folder)
    return folder


def test_a_source_is_relabelled_and_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relabel_source.main(folder)
    printed = capsys.readouterr().out
    shown = re.findall(r"^(\S+) +(\d+) rewards, (\d+)% of them right$", printed, re.M)
    assert len(shown) == 5
    given = vlm_relabel.open_store(folder / "small.store").rewards("v1")
    for goal, count, right in shown:
        assert np.nansum(given[:, GOAL_INDEX[goal]]) == int(count) > 0
        assert int(right) > 50


def test_new_goals_are_scored_and_the_best_frames_show_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score_new_goals.main(folder)
    assert "a green key is directly in front: 1.00 in train/" in capsys.readouterr().out
    store = vlm_relabel.open_store(folder / "small.store")
    best = np.nanargmax(store.scores("new"), axis=0)
    truth = np.stack(store.steps(["truth"])["truth"].to_pylist())
    goals = [GOAL_INDEX[f"find-{thing}"] for thing in ("red-ball", "blue-box", "green-key")]
    assert truth[best, goals].tolist() == [1, 1, 1]


def test_batches_are_drawn_and_learned_from(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_batches, "STEPS", 200)
    replay_batches.main(folder)
    shown = capsys.readouterr().out
    assert "observation and goal are 127 numbers" in shown  # 95 of the things, 32 of the text
    first, last = re.findall(r"loss ([\d.]+)", shown)
    assert float(last) < float(first) - 0.3


def test_an_agent_is_trained_and_plays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_agent.main(folder, steps=20)
    shown = capsys.readouterr().out
    assert "trained for 20 steps" in shown
    assert re.findall(r"^(\w+): \d+% \(\d+% to \d+%\)$", shown, re.M) == ["agent", "random"]


@pytest.mark.parametrize("name", LISTED)
def test_an_example_is_short(name: str) -> None:
    most = 80 if name == "bridge.py" else 60
    assert len((EXAMPLES / name).read_text("utf-8").splitlines()) < most


def test_every_example_is_listed() -> None:
    assert sorted(LISTED) == sorted(path.name for path in EXAMPLES.glob("[!_]*.py"))
