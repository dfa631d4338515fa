"""What jobs make of goals: alike ones, too long ones, and the timing that applies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs import embed, relabel, score
from pipelines.options import JobOptions
from schemas.enums import Timing
from schemas.errors import GoalError
from schemas.store import Store
from tests.pipelines.job_options import Embedding, Scoring
from vlm_relabel.console import show_job

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
