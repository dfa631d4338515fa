"""Goals files of any text: limits, duplicate keys, and errors that stay short."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given, settings

from relabel.goals.files import load_goals
from schemas import goal_text
from schemas.errors import GoalError
from schemas.goal_text import parse_json, parse_yaml
from schemas.goals import GoalSet

CONTENT: dict[str, Any] = {
    "name": "kitchen",
    "templates": ["{}", "a photo of {}"],
    "goals": [
        {"id": "a", "texts": ["an “open” drawer", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]},
        {"id": "b", "texts": ["x"], "temperature": 1e-2, "threshold": 0.5},
    ],
}
LONG = "x" * 10**6
LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
)


def small_error(text: str, parse: Any = GoalSet.from_yaml) -> str:
    """The error of a goals file."""
    with pytest.raises(GoalError) as caught:
        parse(text, origin="goals.yaml")
    assert len(str(caught.value)) < 2000
    assert max(map(len, str(caught.value).splitlines())) < 300
    return str(caught.value)


# --- what is read


@pytest.mark.parametrize("indent", [None, 1, "\t"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_and_yaml_of_one_content_are_one_goal_set(
    tmp_path: Path, indent: Any, ascii_only: bool
) -> None:
    as_json, as_yaml = tmp_path / "goals.JSON", tmp_path / "goals.yaml"
    as_json.write_text(json.dumps(CONTENT, indent=indent, ensure_ascii=ascii_only), "utf-8-sig")
    as_yaml.write_text(yaml.safe_dump(CONTENT, allow_unicode=not ascii_only), "utf-8-sig")
    assert load_goals(str(as_json)) == load_goals(str(as_yaml)) == GoalSet.from_mapping(CONTENT)


def test_aliases_and_merged_keys_are_read() -> None:
    goals = GoalSet.from_yaml(
        """
        null_prompts: &nothing [an empty room]
        families: {goal: {null_prompts: *nothing}}
        goals:
          - &first {id: a, texts: [x], temperature: 0.5}
          - {<<: *first, id: b, texts: [y]}
        """
    )
    assert [goal.temperature for goal in goals.goals] == [0.5, 0.5]


_SCALARS = st.text(st.characters(codec="utf-8"), max_size=6) | st.integers() | st.booleans()
_TREES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(_TREES)
def test_what_is_within_the_limits_is_parsed_as_the_libraries_do(tree: Any) -> None:
    text = json.dumps(tree)
    assert parse_json(text, "t") == tree
    dumped = yaml.safe_dump(tree)
    assert parse_yaml(dumped, "t") == yaml.safe_load(dumped)


@settings(max_examples=300)
@given(st.text(st.sampled_from("[]{}:,-*&!<?|>\"'\\# \n\tab01"), max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (parse_yaml, parse_json):
        with contextlib.suppress(GoalError):
            parse(text, "t")


# --- what is refused


@pytest.mark.parametrize("open_sign", ["[", "{", "{a: ", "- ", "[{"])
def test_deep_nesting_is_refused(open_sign: str) -> None:
    assert "at most 20 levels of nesting" in small_error(f"goals:\n  {open_sign * 100_000}")
    if ":" not in open_sign and "-" not in open_sign:
        assert "at most 20 levels" in small_error(open_sign * 100_000, GoalSet.from_json)


def test_deep_nesting_does_not_end_the_process() -> None:
    code = (
        "from schemas.goals import GoalSet\n"
        "from schemas.errors import GoalError\n"
        "for parse in (GoalSet.from_yaml, GoalSet.from_json):\n"
        "    try:\n        parse('[' * 100_000)\n"
        "    except GoalError:\n        print('refused')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "refused\n" * 2), run.stderr


def test_anchors_that_multiply_are_refused() -> None:
    assert "at most 2,000,000 values, aliases written out" in small_error(f"{LAUGHS}\ngoals: *a39")
    assert "stands for itself" in small_error("goals: &a [*a]")
    assert "stands for nothing" in small_error("goals: [*a]")
    with pytest.raises(GoalError, match="line 3: the alias 'c' stands for nothing"):
        GoalSet.from_yaml("a: &b [x]\nb: *b\nc: *c")


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goal_text, "_MAX_VALUES", 1000)
    many = [{"id": f"g{i}", "texts": ["x"]} for i in range(300)]
    for text, parse in (
        (yaml.safe_dump({"goals": many}), GoalSet.from_yaml),
        (json.dumps({"goals": many}), GoalSet.from_json),
    ):
        assert "at most 1,000 values" in small_error(text, parse)
    for module in ("schemas.goal_text", "relabel.goals.files"):
        monkeypatch.setattr(f"{module}.MAX_CHARACTERS", 1000)
    for name in ("large.yaml", "large.json"):
        (tmp_path / name).write_text(f'{{"name": "{LONG}", "goals": []}}')
        with pytest.raises(GoalError, match="at most 1,000 characters, got more"):
            load_goals(str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("goals: []\nname: x\ngoals: []", 3),
        ("goals:\n  - {id: a, texts: [x], id: b}", 2),
        ('goals:\n  - {id: a, "id": b, texts: [x]}', 2),
        ("goals: []\n'goals': []", 2),
        ("&k goals: []\n*k : []", 2),
    ],
)
def test_a_key_that_occurs_twice_is_refused(text: str, line: int) -> None:
    assert f"line {line}: the key '" in small_error(text)
    assert "occurs twice" in small_error(text)


def test_a_key_that_occurs_twice_in_json_is_refused() -> None:
    text = '{"goals": [{"id": "a", "texts": ["x"], "id": "b"}]}'
    assert "the key 'id' occurs twice in one object" in small_error(text, GoalSet.from_json)


@pytest.mark.parametrize(
    "text",
    [
        f"goals: [{{id: a, texts: [{LONG}]}}]",
        f"goals: [{{id: a, texts: {LONG}}}]",
        f"goals: [{{id: {LONG}, texts: [x]}}]",
        f"goals: [{{id: a, texts: [x], temperature: {LONG}}}]",
        f"goals: [{{id: a, texts: [x], negatives: [X, x{'.' * 9000}]}}]",
        f"templates: [{'x' * 9000}]\ngoals: [{{id: a, texts: [x]}}]",
        f"{LONG}: 1\ngoals: [{{id: a, texts: [x]}}]",
        f"? {LONG}\n? {LONG}\n",
        f"goals: !{LONG} x",
        f"goals: *{LONG}",
        f"families: {{{'y' * 9000}: {{}}}}\ngoals: [{{id: a, texts: [x]}}]",
        f"may_be_true_together: [[{','.join(f'a{i}' for i in range(9999))}]]\n"
        "goals: [{id: a, texts: [x]}]",
        f"goals: [{','.join('{id: a, texts: [x]}' for _ in range(3000))}]",
        f"goals: [{','.join('{id: a.b, textz: 3}' for _ in range(3000))}]",
        f"goals: [{','.join('{id: [' + str(i) + '], texts: []}' for i in range(3000))}]",
        "goals: {" + ",".join(f"k{i}: [1, 2]" for i in range(30_000)) + "}",
        "seed: " + "9" * 5000,
        "goals: 2001-99-99",
        "goals: !!int x",
        "goals: !!timestamp x",
        'goals: [{id: a, texts: ["\\ud800"]}]',
    ],
)
def test_errors_stay_short(text: str) -> None:
    small_error(text)


def test_errors_of_json_stay_short() -> None:
    for text in (
        f'{{"{LONG}": 1, "{LONG}": 2}}',
        f'["{LONG}',
        '"' + '\\"' * 10**6,
        "9" * 5000,
        "\0",
    ):
        small_error(text, GoalSet.from_json)


def test_the_length_of_a_text_is_limited() -> None:
    told = small_error(f"goals: [{{id: a, texts: [{LONG}]}}]")
    assert "goals.0.texts.0: expected at most 10,000 characters, got 1,000,000" in told
