"""`--goals` as typed: a file, a field, or texts; and what is taken for a slip of the pen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.errors import GoalError
from schemas.store import Store
from tests.pipelines.small_source import GOALS
from tests.vlm_relabel.cli.cli_outcomes import Run, flat, refusal
from vlm_relabel.goal_words import read_goals

Words = dict[str, Any]


@pytest.mark.parametrize(
    "values",
    [
        ["the drawer is open"],
        ["the drawer is open", "the drawer is closed"],
        ["drawer"],
        ["a.b is open", "Übung"],
        ["open the file notes.txt at 10:30"],
        ["long " * 200],
    ],
)
def test_texts(values: list[str]) -> None:
    assert read_goals(values, None) == tuple(values)
    assert read_goals(values, ["nothing"]) == tuple(values)


@pytest.mark.parametrize(
    "value",
    ["field:language", "field:a b", "goals.yaml", "my goals.yml", "GOALS.JSON", "s3://b/goals"],
)
def test_places(value: str) -> None:
    assert read_goals([value], None) == value


def test_a_file_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "goals of today"
    path.write_text(GOALS)
    assert read_goals([str(path)], None) == str(path)


@pytest.mark.parametrize("value", ["my_goals", "kitchen/goals", "feild:language", "goals.yam", " "])
def test_one_word_that_is_no_text(value: str) -> None:
    with pytest.raises(GoalError, match="no such file, and not a text"):
        read_goals([value], None)


@pytest.mark.parametrize("values", [["a.yaml", "b.yaml"], ["an open drawer", "field:language"]])
def test_a_place_stands_alone(values: list[str]) -> None:
    with pytest.raises(GoalError, match="give one file, one field, or texts alone"):
        read_goals(values, None)


def test_null_prompts_of_a_file_are_in_the_file() -> None:
    with pytest.raises(GoalError, match=r"goals\.yaml has the key null_prompts"):
        read_goals(["goals.yaml"], ["nothing"])
    assert read_goals(["field:language"], ["nothing"]) == "field:language"


def test_a_missing_file_is_an_error(run: Run, words: Words, tmp_path: Path) -> None:
    told = refusal(run("relabel", *flat(words, goals=tmp_path / "nowhere.yaml"), "--json"))
    assert "nowhere.yaml: cannot be read" in told


def test_texts_make_a_reward_set(run: Run, words: Words, store: Path) -> None:
    line = [*flat({k: v for k, v in words.items() if k != "--goals"})]
    texts = ("--goals", "a red room", "--goals", "a green room", "--null-prompt", "a grey room")
    result = run("relabel", *line, *texts, "--json")
    assert result.exit_code == 0, result.output
    assert [g["goal_id"] for g in json.loads(result.stdout)["goals"]] == [
        "a-red-room",
        "a-green-room",
    ]
    goals = Store.open(str(store)).goal_set("v1")
    assert [goal.texts for goal in goals.goals] == [("a red room",), ("a green room",)]
    assert goals.null_prompts == ("a grey room",)


def test_json_and_yaml_give_the_same_goals(
    run: Run, words: Words, store: Path, tmp_path: Path
) -> None:
    path = tmp_path / "colours.json"
    path.write_text(json.dumps(yaml.safe_load(GOALS), indent="\t"))  # tabs are no YAML
    assert run("relabel", *flat(words)).exit_code == 0
    again = run("relabel", *flat(words, goals=path))
    assert "nothing to do" in again.stdout
