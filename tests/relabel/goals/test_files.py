"""Goal sets from files, and the table they become."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from relabel.goals.files import goals_table, load_goals
from relabel.goals.readings import EncodeTexts, read_prompts
from relabel.testing import PixelMeanEncoder
from schemas.errors import GoalError
from schemas.goals import GoalSet
from schemas.tables import matrix

COLOURS = PixelMeanEncoder()
TEXT = """
null_prompts: [nothing]
templates: ["a {}", "the {}"]
goals:
  - {id: red, texts: [red room, dark red room], family: colour, threshold: 0.3}
  - {id: green, texts: [green room], family: colour}
  - {id: own, texts: [grey room], negatives: [red room, blue room]}
"""


def test_a_file_is_read_and_names_itself_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "goals.yaml"
    path.write_text(TEXT, encoding="utf-8")
    assert load_goals(str(path)) == GoalSet.from_yaml(TEXT)
    path.write_text("goals: []")
    with pytest.raises(GoalError, match=f"{path}: 1 problem"):
        load_goals(str(path))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(GoalError, match=r"nowhere.yaml: cannot be read: .*field:<name of a text"):
        load_goals(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"caf\xe9")
    with pytest.raises(GoalError, match=r"latin.yaml: cannot be read"):
        load_goals(str(tmp_path / "latin.yaml"))


def by_hash(texts: Sequence[str]) -> np.ndarray:
    """A vector per text that depends on nothing else."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
    return np.stack([np.random.default_rng(seed).normal(size=8) for seed in seeds])


def table_of(
    goals: GoalSet,
    threshold: list[float] | None = None,
    encode: EncodeTexts = COLOURS.encode_texts,
) -> pa.Table:
    prompts, vectors, _ = read_prompts(goals, encode)
    temperature = np.full(len(goals.goals), 0.1)
    numbers = None if threshold is None else np.array(threshold, np.float32)
    return goals_table(goals, prompts, vectors, temperature, numbers)


def test_goals_as_they_were_used() -> None:
    table = table_of(GoalSet.from_yaml(TEXT), [0.3, 0.5, 0.5])
    rows = table.to_pylist()
    assert table.column("goal_id").to_pylist() == ["red", "green", "own"]
    assert table.column("family").to_pylist() == ["colour", "colour", "goal"]
    assert rows[0]["texts"] == [
        "a red room",
        "the red room",
        "a dark red room",
        "the dark red room",
    ]
    nothing = "a nothing | the nothing"
    assert rows[0]["negatives"] == ["a green room | the green room", nothing]
    assert rows[1]["negatives"] == [" | ".join(rows[0]["texts"]), nothing]
    assert sorted(rows[2]["negatives"]) == [
        "a blue room | the blue room",
        "a red room | the red room",
    ]
    assert table.column("temperature").to_pylist() == [0.1] * 3
    assert table.column("threshold").to_pylist() == pytest.approx([0.3, 0.5, 0.5])
    vectors = matrix(table.column("text_embedding"), "float64")
    green = PixelMeanEncoder().encode_texts(["green"])[0]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[1], green, atol=1e-6)


def test_numbers_that_a_function_lacks_are_null() -> None:
    column = table_of(GoalSet.from_yaml(TEXT)).column("threshold")
    assert column.type == pa.float64()
    assert column.to_pylist() == [None] * 3


def test_a_goal_alone_has_no_negatives() -> None:
    goals = GoalSet.from_texts(["red"], null_prompts=[])
    assert table_of(goals).column("negatives").to_pylist() == [[]]


def test_a_thousand_goals_stay_small() -> None:
    goals = GoalSet.from_texts([f"room number {i} is red" for i in range(1000)])
    table = table_of(goals, encode=by_hash)
    assert len(table.column("negatives")[7].as_py()) == 1000
    assert table.nbytes < 6e6, "a million negatives are indices of a thousand texts"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("goals: []", "not JSON"),
        ('{"goals": [{"id": "a", "id": "b"}]}', "the key 'id' occurs twice"),
        ("[1]", "expected a mapping with the key 'goals', got list"),
        ('{"goals": [{"id": "a", "text": ["x"]}]}', "text"),
    ],
)
def test_a_wrong_json_file_says_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "goals.json"
    path.write_text(text)
    with pytest.raises(GoalError, match=problem) as told:
        load_goals(str(path))
    assert str(path) in str(told.value)
