"""Goal sets into prompts: who is whose negative, and how strings become one embedding."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from relabel.goals.prompts import Prompts, resolve_prompts
from schemas.goals import Goal, GoalSet

BALL, BOX, KEY = "lift the ball", "lift the box", "lift the key"


def goal_set(*texts: str | tuple[str, ...], family: str = "goal", **fields: Any) -> GoalSet:
    goals = [
        Goal(id=f"g{i}", texts=(t,) if isinstance(t, str) else t, family=family)
        for i, t in enumerate(texts)
    ]
    return GoalSet(goals=tuple(goals), **fields)


def negative_texts(prompts: Prompts, goal: int) -> list[str]:
    return sorted("|".join(prompts.texts[n]) for n in prompts.negatives[goal])


def test_negatives_are_the_other_goals_and_the_null_prompt() -> None:
    prompts = resolve_prompts(goal_set(BALL, BOX, KEY))
    assert prompts.texts == ((BALL,), (BOX,), (KEY,), ("an empty room",))
    assert prompts.goal.tolist() == [0, 1, 2]
    assert [n.tolist() for n in prompts.negatives] == [[1, 2, 3], [0, 2, 3], [0, 1, 3]]
    assert prompts.goal.dtype == prompts.negatives[0].dtype == np.int64


def test_other_families_are_not_negatives_and_lie_apart() -> None:
    goals = GoalSet(
        goals=(
            Goal(id="a", texts=("find a ball",), family="find"),
            Goal(id="b", texts=(BALL,), family="lift"),
            Goal(id="c", texts=("find a box",), family="find"),
        ),
        families={"lift": {"null_prompts": ("empty hands",)}},
    )
    prompts = resolve_prompts(goals)
    assert negative_texts(prompts, 0) == ["an empty room", "find a box"]
    assert negative_texts(prompts, 1) == ["empty hands"]
    assert prompts.goal.tolist() == [0, 3, 1]  # family by family, null prompts after the goals


def test_goals_that_may_be_true_together_are_not_negatives() -> None:
    together = (("g0", "g1"), ("g1", "g2"))  # not transitive: g0 and g2 compete
    prompts = resolve_prompts(goal_set(BALL, BOX, KEY, may_be_true_together=together))
    assert negative_texts(prompts, 0) == ["an empty room", KEY]
    assert negative_texts(prompts, 1) == ["an empty room"]
    assert negative_texts(prompts, 2) == ["an empty room", BALL]


def test_goals_with_an_equal_text_are_not_negatives() -> None:
    shared = goal_set((BALL, "raise the ball"), ("take the ball", "Raise  the BALL"), BOX)
    prompts = resolve_prompts(shared)
    assert negative_texts(prompts, 0) == ["an empty room", BOX]
    assert negative_texts(prompts, 1) == ["an empty room", BOX]
    assert len(prompts.negatives[2]) == 3  # the box competes with both


def test_goals_of_the_same_prompt_share_it() -> None:
    prompts = resolve_prompts(goal_set(BALL, BALL, BOX))
    assert prompts.goal.tolist() == [0, 0, 1]
    assert prompts.negatives[2].tolist() == [0, 2]  # the ball once


def test_a_null_prompt_equal_to_the_goal_is_left_out_for_that_goal_only() -> None:
    prompts = resolve_prompts(goal_set("An  Empty room", BOX))
    assert negative_texts(prompts, 0) == [BOX]
    assert negative_texts(prompts, 1) == ["An  Empty room"], "of two that say the same, one"


def test_a_goal_alone_without_null_prompts_has_no_negatives() -> None:
    assert resolve_prompts(goal_set(BALL, null_prompts=())).negatives[0].size == 0


def test_own_negatives_replace_the_automatic_ones_and_use_the_templates() -> None:
    goals = GoalSet(
        goals=(
            Goal(id="a", texts=(BALL,), negatives=("empty hands", BOX, BOX)),
            Goal(id="b", texts=(BOX,)),
        ),
        templates=("{}", "a photo of: {}"),
    )
    prompts = resolve_prompts(goals)
    box = (BOX, f"a photo of: {BOX}")
    assert [prompts.texts[n] for n in prompts.negatives[0]] == [
        box,  # the same prompt as goal b
        ("empty hands", "a photo of: empty hands"),
    ]
    assert prompts.texts[prompts.goal[1]] == box


def test_phrasings_times_templates_make_one_prompt() -> None:
    goals = goal_set((BALL, "raise it"), templates=("{}", "{{x}} {}!"), null_prompts=())
    expected = (BALL, f"{{{{x}}}} {BALL}!", "raise it", "{{x}} raise it!")
    assert resolve_prompts(goals).texts == (expected,)


def test_family_templates_apply_to_goals_nulls_negatives_and_baselines() -> None:
    goals = GoalSet(
        goals=(
            Goal(id="a", texts=(BALL,), family="lift"),
            Goal(id="b", texts=(BOX,), family="lift", negatives=("no",), baseline="a table"),
        ),
        baseline="a room",
        families={"lift": {"templates": ("see {}",)}},
    )
    prompts = resolve_prompts(goals)
    assert all(text.startswith("see ") for texts in prompts.texts for text in texts)
    assert prompts.baseline is not None
    baselines = [prompts.texts[i][0] for i in prompts.baseline]
    assert baselines == ["see a room", "see a table"]


def test_no_baselines_unless_every_goal_has_one() -> None:
    goals = (Goal(id="a", texts=(BALL,), baseline="a room"), Goal(id="b", texts=(BOX,)))
    prompts = resolve_prompts(GoalSet(goals=goals))
    assert prompts.baseline is None
    assert ("a room",) not in prompts.texts


MANY = tuple(f"lift thing {i}" for i in range(30))


def sampled(goals: GoalSet) -> dict[str, list[str]]:
    prompts = resolve_prompts(goals)
    return {goal.id: negative_texts(prompts, i) for i, goal in enumerate(goals.goals)}


def test_max_negatives_samples_other_goals_and_keeps_null_prompts() -> None:
    chosen = sampled(goal_set(*MANY, max_negatives=5, null_prompts=("nothing", "empty")))
    assert all(len(texts) == 7 for texts in chosen.values())
    assert all({"nothing", "empty"} <= set(texts) for texts in chosen.values())
    assert len({tuple(texts) for texts in chosen.values()}) > 20  # each goal draws for itself
    for i, text in enumerate(MANY):
        assert text not in chosen[f"g{i}"]


def test_max_negatives_never_draws_a_friend() -> None:
    together = (tuple(f"g{i}" for i in range(20)),)
    chosen = sampled(goal_set(*MANY, max_negatives=5, may_be_true_together=together))
    assert not set(chosen["g0"]) & set(MANY[:20])
    assert len(set(chosen["g0"]) & set(MANY[20:])) == 5


def test_a_large_max_negatives_takes_all() -> None:
    assert sampled(goal_set(*MANY, max_negatives=29)) == sampled(goal_set(*MANY))
    assert sampled(goal_set(*MANY, max_negatives=28)) != sampled(goal_set(*MANY))


def test_the_sample_depends_on_the_seed_but_not_on_the_order() -> None:
    goals = goal_set(*MANY, max_negatives=5)
    turned = goals.model_copy(update={"goals": goals.goals[::-1]})
    assert sampled(turned) == sampled(goals)
    assert sampled(goals.model_copy(update={"seed": 1})) != sampled(goals)
    sampled(goals.model_copy(update={"seed": -1}))  # any integer seeds


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_sample_is_the_same_in_another_process(hash_seed: str) -> None:
    code = (
        "from tests.relabel.goals.test_prompts import *\n"
        "print(sampled(goal_set(*MANY, max_negatives=5))['g3'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == str(sampled(goal_set(*MANY, max_negatives=5))["g3"]), run.stderr


def test_shared_negatives_replace_the_automatic_ones_and_null_prompts() -> None:
    goals = GoalSet.from_yaml(
        """
        templates: ["a photo of {}"]
        null_prompts: [nothing]
        negatives: [a wall, a cup]
        goals:
          - {id: cup, texts: [a cup]}
          - {id: lamp, texts: [a lamp]}
        """
    )
    prompts = resolve_prompts(goals)
    told = [[prompts.texts[n] for n in own] for own in prompts.negatives]
    assert told[0] == [("a photo of a wall",)]
    assert sorted(told[1]) == [("a photo of a cup",), ("a photo of a wall",)]
    assert ("a photo of nothing",) not in prompts.texts
