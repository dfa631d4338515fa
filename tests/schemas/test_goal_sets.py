"""Goal sets: every rule of the file format, and what the content hash covers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from schemas.errors import GoalError
from schemas.goals import GoalSet

FILE = """
name: kitchen
templates: ["{}", "a photo of {}"]
null_prompts: [an empty kitchen]
families:
  open: {null_prompts: [], templates: ["the robot has to {}"]}
may_be_true_together: [[drawer, door]]
max_negatives: 3
seed: 4
baseline: a kitchen
goals:
  - id: drawer
    family: open
    texts: [open the drawer, " pull the drawer  "]
    temperature: 0.05
    threshold: 0
  - {id: door, family: open, texts: [open the door], negatives: [the door is shut]}
  - {id: cup-1.a_b, texts: [lift the cup], baseline: a cup, threshold: 1}
"""


def one_goal(**changes: Any) -> dict[str, Any]:
    """Content of a file with one goal; its top-level keys begin with `top_`."""
    top = {key.removeprefix("top_"): changes.pop(key) for key in list(changes) if "top_" in key}
    goal = {"id": "a", "texts": ["lift the cup"], **changes}
    return {"goals": [goal], **top}


def test_a_file_is_read_whole() -> None:
    goals = GoalSet.from_yaml(FILE)
    assert goals.name == "kitchen"
    assert [goal.id for goal in goals.goals] == ["drawer", "door", "cup-1.a_b"]
    drawer, door, cup = goals.goals
    assert drawer.texts == ("open the drawer", "pull the drawer")
    assert (drawer.temperature, drawer.threshold, drawer.negatives) == (0.05, 0.0, "auto")
    assert door.negatives == ("the door is shut",)
    assert (cup.family, cup.baseline, cup.threshold, cup.temperature) == ("goal", "a cup", 1, None)
    assert goals.family_templates("open") == ("the robot has to {}",)
    assert goals.family_templates("goal") == ("{}", "a photo of {}")
    assert goals.family_null_prompts("open") == (), "an empty list is not a missing one"
    assert goals.family_null_prompts("goal") == ("an empty kitchen",)
    assert goals.may_be_true_together == (("drawer", "door"),)
    assert (goals.max_negatives, goals.seed, goals.baseline) == (3, 4, "a kitchen")


RULES: list[tuple[dict[str, Any], str]] = [
    (one_goal(textz=["x"]), r"goals\.0\.textz: unknown key; the known ones are id, texts, family"),
    (one_goal(top_colour=1), r"colour: unknown key; the known ones are name, goals, templates"),
    (
        one_goal(top_families={"goal": {"prompts": []}}),
        r"families\.goal\.prompts: unknown key; the known ones are null_prompts, templates",
    ),
    (one_goal(texts=[""]), r"goals\.0\.texts\.0: the text is empty"),
    (one_goal(texts=["ok", "  "]), r"goals\.0\.texts\.1: the text is empty"),
    (one_goal(negatives=[" "]), r"goals\.0\.negatives\..*0: the text is empty"),
    (one_goal(top_null_prompts=[""]), r"null_prompts\.0: the text is empty"),
    (one_goal(texts=[]), r"goals\.0: expected texts, or examples: frames of the store such as"),
    ({"goals": [{"id": "a"}]}, r"goals\.0: expected texts, or examples: .* got neither"),
    (
        one_goal(examples=[{"episode_id": "train/0/0", "step": -1}]),
        r"goals\.0\.examples\.0\.step: .*greater than or equal to 0",
    ),
    (one_goal(examples=[{"episode_id": "train/0/0"}]), r"goals\.0\.examples\.0\.step: .*required"),
    (
        one_goal(examples=[{"episode": "train/0/0", "step": 1}]),
        r"episode: unknown key; the known ones are episode_id, step",
    ),
    (
        one_goal(examples=[{"episode_id": "train/0/0", "step": 1}] * 2),
        r"goals\.0: the example train/0/0 step 1 is there twice",
    ),
    (one_goal(texts="lift it"), r"expected a list of texts, got one text; write \['lift it'\]"),
    (one_goal(negatives="lift"), r"expected a list of texts, got one text; write \['lift'\]"),
    (one_goal(negatives=["a", "lift the cup"]), r"'a' has its own text as a negative"),
    (one_goal(negatives=[" LIFT  the Cup"]), r"'a' has its own text as a negative"),
    (one_goal(texts=["Lift IT"], negatives=["lift it"]), r"'a' has its own text as a negative"),
    (one_goal(temperature=0), r"goals\.0\.temperature: .*greater than 0, got 0"),
    (one_goal(temperature=-0.1), r"goals\.0\.temperature: .*greater than 0"),
    (one_goal(temperature=float("inf")), r"goals\.0\.temperature: .*finite"),
    (one_goal(temperature=float("nan")), r"goals\.0\.temperature: "),
    (one_goal(temperature=True), r"goals\.0\.temperature: .*valid number"),
    (one_goal(temperature="0.1"), r"goals\.0\.temperature: .*valid number"),
    (one_goal(threshold=1.01), r"goals\.0\.threshold: .*less than or equal to 1"),
    (one_goal(threshold=-0.01), r"goals\.0\.threshold: .*greater than or equal to 0"),
    (one_goal(threshold=float("nan")), r"goals\.0\.threshold: "),
    (one_goal(top_templates=["a photo"]), r"templates: .*need one '\{\}' each.*'a photo'"),
    (one_goal(top_templates=["{} {}"]), r"need one '\{\}' each"),
    (one_goal(top_families={"goal": {"templates": ["x"]}}), r"need one '\{\}' each.*'x'"),
    (
        one_goal(top_families={"gaol": {}}),
        r"names \['gaol'\], the known ones are \['goal'\]",
    ),
    (
        one_goal(top_may_be_true_together=[["a", "b"]]),
        r"may_be_true_together names \['b'\], the known ones are \['a'\]",
    ),
    (one_goal(id="a b"), r"goals\.0\.id: .*got a b"),
    (one_goal(id=""), r"goals\.0\.id: "),
    (one_goal(id=7), r"goals\.0\.id: "),
    (one_goal(top_max_negatives=0), r"max_negatives: .*greater than or equal to 1"),
    (one_goal(top_seed=1.5), r"seed: "),
    ({"goals": []}, r"goals: .*at least 1"),
    ({"goals": 3}, r"goals: "),
    ({"goals": ["lift the cup"]}, r"goals\.0: .*got lift the cup"),
    ({}, r"goals: Field required"),
]


@pytest.mark.parametrize(("content", "text"), RULES)
def test_a_broken_rule_is_named(content: dict[str, Any], text: str) -> None:
    with pytest.raises(GoalError, match=text) as caught:
        GoalSet.from_mapping(content, origin="my/goals.yaml")
    assert str(caught.value).startswith("my/goals.yaml: ")


def test_duplicate_ids_are_named() -> None:
    goal = one_goal()["goals"][0]
    other = {"id": "b", "texts": ["x"]}
    with pytest.raises(GoalError, match=r"duplicate goal id 'a'$"):
        GoalSet.from_mapping({"goals": [goal, other, goal]})


def test_all_problems_are_listed_at_once() -> None:
    content = one_goal(texts=[""], temperature=0, top_colour=1)
    with pytest.raises(GoalError) as caught:
        GoalSet.from_mapping(content)
    text = str(caught.value)
    assert "3 problems" in text
    assert all(part in text for part in ("texts.0", "temperature", "colour"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("goals: [", "goals.yaml: not YAML"),
        ("- a\n- b", "expected a mapping with the key 'goals', got list"),
        ("", "got NoneType"),
        ("just words", "got str"),
        ("goals: !!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_what_is_no_goals_file(text: str, part: str) -> None:
    with pytest.raises(GoalError, match=part):
        GoalSet.from_yaml(text, origin="goals.yaml")


def test_a_negative_may_be_another_goals_text() -> None:
    goals = [{"id": "a", "texts": ["x"], "negatives": ["y"]}, {"id": "b", "texts": ["y"]}]
    assert GoalSet.from_mapping({"goals": goals}).goals[0].negatives == ("y",)


def test_a_goal_set_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        GoalSet.from_yaml(FILE).seed = 3  # type: ignore[misc]


# --- shared negatives


def test_a_goal_takes_its_own_negatives_then_its_familys_then_the_sets() -> None:
    text = """
      negatives: [a wall, Lift  the LAMP]
      families: {kitchen: {negatives: [a sink]}}
      goals:
        - {id: own, texts: [t], negatives: [mine], family: kitchen}
        - {id: family, texts: [u], family: kitchen}
        - {id: shared, texts: [lift the lamp]}
    """
    goals = GoalSet.from_yaml(text)
    told = {goal.id: goals.negatives_of(goal) for goal in goals.goals}
    # A shared text that says the same as the goal's own is left out, for that goal only.
    assert told == {"own": ("mine",), "family": ("a sink",), "shared": ("a wall",)}


def test_without_any_list_negatives_are_automatic() -> None:
    goals = GoalSet.from_texts(["lift the cup"])
    assert goals.negatives_of(goals.goals[0]) == "auto"


# --- content hash


def test_hash_is_the_sha256_of_the_content_in_any_process() -> None:
    goals = GoalSet.from_yaml(FILE)
    content = goals.model_dump(mode="json")
    del content["name"]
    for sharing in (content, *content["families"].values()):
        assert sharing.pop("negatives") is None  # left out of the hash when not given
    assert all(goal.pop("spoken") == goal.pop("examples") == [] for goal in content["goals"])
    text = json.dumps(content, sort_keys=True)
    assert goals.content_hash == hashlib.sha256(text.encode()).hexdigest()
    code = f"from schemas.goals import GoalSet; print(GoalSet.from_yaml({FILE!r}).content_hash)"
    environment = {
        **os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    )
    assert told.stdout.strip() == goals.content_hash


def test_hash_of_a_known_set_never_changes() -> None:
    # Stored in every reward set's manifest: another value would orphan existing stores.
    goals = GoalSet.from_texts(["lift the cup"])
    assert goals.content_hash == "e78e9c455871af520d246aa2d0874e653a2805b77bc3ab8036538c2946a6119e"


def content() -> dict[str, Any]:
    return GoalSet.from_yaml(FILE).model_dump(mode="json")


def changed(path: tuple[str | int, ...], value: Any) -> str:
    tree = content()
    inner: Any = tree
    for key in path[:-1]:
        inner = inner[key]
    assert inner[path[-1]] != value
    inner[path[-1]] = value
    return GoalSet.from_mapping(tree).content_hash


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("goals", 0, "id"), "drawer2"),  # the seed of sampled negatives depends on it
        (("goals", 0, "texts"), ["open the drawer"]),
        (("goals", 0, "texts"), ["pull the drawer", "open the drawer"]),
        (("goals", 0, "spoken"), ["open it"]),
        (("goals", 0, "temperature"), 0.06),
        (("goals", 0, "temperature"), None),
        (("goals", 0, "threshold"), None),
        (("goals", 2, "family"), "open"),
        (("goals", 1, "negatives"), "auto"),
        (("goals", 2, "baseline"), None),
        (("templates",), ["{}"]),
        (("null_prompts",), []),
        (("negatives",), ["a wall"]),
        (("families", "open", "negatives"), ["a wall"]),
        (("baseline",), None),
        (("families", "open", "null_prompts"), None),
        (("families", "open", "templates"), None),
        (("may_be_true_together",), []),
        (("max_negatives",), None),
        (("seed",), 5),
    ],
)
def test_hash_follows_what_can_change_a_reward(path: tuple[str | int, ...], value: Any) -> None:
    if path == ("goals", 0, "id"):
        tree = content()
        tree["goals"][0]["id"] = value
        tree["may_be_true_together"] = [[value, "door"]]
        assert GoalSet.from_mapping(tree).content_hash != GoalSet.from_yaml(FILE).content_hash
        return
    assert changed(path, value) != GoalSet.from_yaml(FILE).content_hash


def test_hash_follows_the_order_of_goals() -> None:
    tree = content()
    tree["goals"].reverse()
    assert GoalSet.from_mapping(tree).content_hash != GoalSet.from_yaml(FILE).content_hash


def test_hash_does_not_follow_the_name() -> None:
    assert changed(("name",), "bathroom") == GoalSet.from_yaml(FILE).content_hash


# --- from texts


def test_goals_from_texts() -> None:
    goals = GoalSet.from_texts([" Open the drawer. ", "", "lift", "lift", "Öl"], name="mined")
    assert [(g.id, g.texts) for g in goals.goals] == [
        ("open-the-drawer", ("Open the drawer.",)),
        ("lift", ("lift",)),
        ("l", ("Öl",)),
    ]
    assert goals.name == "mined"
    assert goals.null_prompts == ("an empty room",)


def test_texts_that_differ_only_in_signs_get_ids_of_their_own() -> None:
    goals = GoalSet.from_texts(["go!", "go?", "??"])
    first, second, third = (goal.id for goal in goals.goals)
    assert first != second
    assert first.startswith("go-")
    assert third == "goal"
    assert GoalSet.from_texts(["go?", "??", "go!"]).goals[0].id == second, "ids follow the text"


def test_a_text_that_looks_like_anothers_id() -> None:
    digest = hashlib.sha256(b"a b").hexdigest()[:8]
    goals = GoalSet.from_texts(["a b", "a-b", f"a b {digest}"])
    assert len({goal.id for goal in goals.goals}) == 3


@settings(max_examples=200)
@given(st.lists(st.text(st.sampled_from("aAb -.!é"), max_size=4), min_size=1, max_size=12))
def test_ids_from_texts_are_unique_and_valid(texts: list[str]) -> None:
    distinct = list(dict.fromkeys(t.strip() for t in texts if t.strip()))
    if not distinct:
        with pytest.raises(GoalError, match="at least one non-empty text"):
            GoalSet.from_texts(texts)
        return
    goals = GoalSet.from_texts(texts)
    assert [goal.texts[0] for goal in goals.goals] == distinct
    assert len({goal.id for goal in goals.goals}) == len(distinct)
    assert GoalSet.from_mapping(goals.model_dump()) == goals


def test_goals_of_several_phrasings_have_ids_of_their_own() -> None:
    told = [("open it", "a"), ("open it", "b"), ("shut it",)]
    goals = GoalSet.from_phrasings(told, spoken=[(), ("go",), ()])
    assert [goal.texts for goal in goals.goals] == told
    assert [goal.spoken for goal in goals.goals] == [(), ("go",), ()]
    first, second, third = (goal.id for goal in goals.goals)
    assert first != second
    assert first.startswith("open-it-") and second.startswith("open-it-")
    assert third == "shut-it"


def test_a_mined_text_is_no_null_prompt() -> None:
    goals = GoalSet.from_texts(["an empty room", "x"], null_prompts=["an empty room", "nothing"])
    assert goals.null_prompts == ("nothing",)


def test_an_empty_null_prompt_is_refused() -> None:
    with pytest.raises(GoalError, match=r"null_prompts\.0: the text is empty"):
        GoalSet.from_texts(["x"], null_prompts=[""])
