"""What jobs make of goals: alike ones, too long ones, and the timing that applies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs import build_goals, embed, relabel, score
from relabel.jobs.options import GoalDatasetOptions, JobOptions
from schemas.enums import Kind, Timing
from schemas.errors import GoalError
from schemas.goal_datasets import DatasetOptions
from schemas.store import Store
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.small_source import write_source
from vlm_relabel.cli.console import show_job

ALIKE = """
goals:
  - {id: red, texts: [a red room]}
  - {id: crimson, texts: ["A crimson, that is red, hall"]}
  - {id: green, texts: [a green room], negatives: [some green place, a red room]}
"""


@pytest.fixture
def alike(tmp_path: Path) -> str:
    """A goals file in which `PixelMeanEncoder` cannot tell `red` from `crimson`."""
    path = tmp_path / "alike.yaml"
    path.write_text(ALIKE)
    return str(path)


def test_goals_that_are_alike_are_rewarded_together_and_noted(
    job: JobOptions, embedding: Embedding, scoring: Scoring, alike: str, capsys: Any
) -> None:
    done = relabel(job, embedding(), scoring(goals=alike))
    red, crimson, green = (g.rewarded for g in done.goals)
    assert red == crimson and red is not None and red > 0
    assert green is not None and green > 0
    rows = {row["goal_id"]: row for row in Store.open(job.store).goals("v1").to_pylist()}
    assert rows["red"]["negatives"] == rows["crimson"]["negatives"] == [
        "a green room", "an empty room",
    ]  # fmt: skip
    assert rows["green"]["negatives"] == ["a red room"]
    assert len(done.notes) == 2
    assert "goals crimson (“A crimson, that is red, hall”), red (“a red room”)" in done.notes[0]
    assert "goal green: its negative “some green place” is left out" in done.notes[1]
    show_job(done, as_json=True)
    assert json.loads(capsys.readouterr().out)["notes"] == list(done.notes)
    show_job(done, as_json=False)
    assert "note: goals crimson" in capsys.readouterr().out
    again = score(job, scoring(goals=alike))
    assert again.notes == done.notes, "nothing to do, and still told"


SAID = ["make it red", "Make it red.", "make it red!", "turn the red on", "make it blue"]


def speak(episodes: list[dict[str, Any]]) -> None:
    """Every episode says one of `SAID` in all its steps."""
    for episode, text in zip(episodes, SAID, strict=True):
        for step in episode["steps"]:
            step["language_instruction"] = text


def test_mined_spellings_are_one_goal_commanded_by_all_of_them(
    job: JobOptions, embedding: Embedding, scoring: Scoring, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "said", [2] * 5, [3, 2], change=speak)
    field = "field:language_instruction"
    done = relabel(job, embedding(source=str(source)), scoring(goals=field))
    assert [goal.goal_id for goal in done.goals] == ["make-it-blue", "make-it-red"]
    assert "2 of the texts of the source differ from a commoner one only in case" in done.notes[0]
    assert "“turn the red on” and “Make it red.”" in done.notes[1]
    store = Store.open(job.store)
    assert store.goals("v1").column("spoken").to_pylist() == [[], ["turn the red on"]]
    options = DatasetOptions(kinds=(Kind.COMMANDED,), validation=0, test=0)
    built = build_goals(job, GoalDatasetOptions("told", options=options))
    assert not any("instruction" in warning for warning in built.warnings)
    rows = store.read("goal_datasets/told")
    assert rows.column("goal").to_pylist() == [1, 1, 1, 1, 0]
    assert rows.column("kind").to_pylist() == ["commanded"] * 5


def test_templates_leave_the_command_alone(
    job: JobOptions, embedding: Embedding, scoring: Scoring, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "said", [2] * 5, [3, 2], change=speak)
    path = tmp_path / "goals.yaml"
    path.write_text(
        """
        templates: ["a photo of {}."]
        goals:
          - {id: red, texts: [make it RED], spoken: [turn the red on]}
          - {id: blue, texts: [make it blue]}
        """
    )
    relabel(job, embedding(source=str(source)), scoring(goals=str(path)))
    options = DatasetOptions(kinds=(Kind.COMMANDED,), validation=0, test=0)
    build_goals(job, GoalDatasetOptions("told", options=options))
    rows = Store.open(job.store).read("goal_datasets/told")
    assert rows.column("goal").to_pylist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("names", ["wish", "language_instruction,action", "language_instruction,"])
def test_a_wrong_field_is_refused_before_anything_is_embedded(
    job: JobOptions, embedding: Embedding, scoring: Scoring, names: str, counted: Any, store: Path
) -> None:
    with pytest.raises(GoalError, match="no such text field; there are language_instruction"):
        relabel(job, embedding(), scoring(goals=f"field:{names}"))
    assert not store.exists()
    assert not counted.frames


def test_texts_that_are_too_long_are_refused_before_anything_is_embedded(
    job: JobOptions, embedding: Embedding, scoring: Scoring, counted: Any, store: Path
) -> None:
    class Short(counted.CountingEncoder):  # type: ignore[misc, name-defined]
        def long_texts(self, texts: Sequence[str]) -> dict[int, str]:
            return {i: "3 words, 2 are read" for i, t in enumerate(texts) if t.count(" ") > 1}

    with pytest.raises(GoalError, match="4 texts are longer") as caught:
        relabel(job, embedding(encoder=Short), scoring(encoder=Short))
    for goal in ("red", "green", "blue"):
        assert f"goal {goal}: “a {goal} room”: 3 words, 2 are read" in str(caught.value)
    assert "null prompt: “an empty room”" in str(caught.value)
    assert not store.exists()
    assert not counted.frames


def test_a_difference_records_the_timing_that_applies(
    job: JobOptions, embedding: Embedding, scoring: Scoring
) -> None:
    how = {"reward": "potential-difference/probability", "timing": Timing.SAME_FRAME}
    relabel(job, embedding(), scoring(**how))
    assert Store.open(job.store).rewards("v1").timing is Timing.NEXT_FRAME
    score(job, scoring(**how | {"timing": Timing.NEXT_FRAME}))  # the same reward set
    embed(job, embedding())
