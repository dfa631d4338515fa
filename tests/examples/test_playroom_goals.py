"""Goals, captions and goals.yaml agree."""

from __future__ import annotations

import numpy as np
import yaml

from examples.playroom import captions
from examples.playroom.check_encoder import negatives
from examples.playroom.goals import FAMILIES, GOALS, Scene, truth
from examples.playroom.goals_file import GOALS_YAML, goals_yaml
from schemas.goals import GoalSet


def test_the_file_is_what_the_code_says() -> None:
    assert GOALS_YAML.read_text(encoding="utf-8") == goals_yaml()


def test_the_file_is_a_valid_goal_set_in_the_order_of_the_truth() -> None:
    goal_set = GoalSet.from_yaml(GOALS_YAML.read_text(encoding="utf-8"))
    assert [goal.id for goal in goal_set.goals] == [goal.id for goal in GOALS]
    assert [goal.family for goal in goal_set.goals] == [goal.family for goal in GOALS]
    for family in FAMILIES:
        assert list(goal_set.family_null_prompts(family)) == [captions.NULLS[family][0]]


def test_there_are_enough_goals_of_every_family() -> None:
    counts = [sum(goal.family == family for goal in GOALS) for family in FAMILIES]
    assert counts == [9, 9, 36]
    assert len({goal.id for goal in GOALS}) == 54


def test_goals_that_can_hold_together_are_grouped_and_others_are_not() -> None:
    groups = yaml.safe_load(goals_yaml())["may_be_true_together"]
    grouped = {(a, b) for group in groups for a in group for b in group if a != b}
    possible = set()
    for front in range(9):
        others = frozenset(range(9)) - {front}
        holds = [GOALS[i].id for i in np.flatnonzero(truth(Scene(front, None, others)))]
        places = [goal for goal in holds if goal.startswith("place")]
        possible |= {(a, b) for a in places for b in places if a != b}
    assert grouped == possible


def test_negatives_of_a_goal_never_hold_with_it() -> None:
    for front in range(9):
        holds = set(np.flatnonzero(truth(Scene(front, 0, frozenset(range(9)) - {front}))))
        assert not any(holds & set(negatives(GOALS[index])) for index in holds)


def test_every_wording_is_of_one_concept_only() -> None:
    texts = [text for wordings in captions.training_texts() for text in wordings]
    assert len(texts) == len(set(texts))
    assert len(captions.training_texts()) == captions.CONCEPT_COUNT


def test_held_out_phrasings_are_not_trained_on() -> None:
    trained = {text for wordings in captions.training_texts() for text in wordings}
    held_out = {text for goal in GOALS for text in captions.held_out_texts(goal)}
    assert len(held_out) == 3 * 54
    assert not trained & held_out
    assert {text for goal in GOALS for text in captions.goal_texts(goal)} <= trained


def test_held_out_phrasings_use_known_words() -> None:
    trained = {word for w in captions.training_texts() for text in w for word in text.split()}
    held_out = {word for g in GOALS for t in captions.held_out_texts(g) for word in t.split()}
    assert {word.strip(",") for word in held_out} <= {word.strip(",") for word in trained}


def test_concepts_hold_as_their_captions_say() -> None:
    scenes = [Scene(None, None, frozenset()), Scene(0, 1, frozenset({2}))]
    truths = np.stack([truth(scene) for scene in scenes])
    concepts = captions.concept_truth(truths, np.array([True, False]))
    assert concepts[0].sum() == 4
    assert concepts[0, 54:].all()
    assert concepts[1].sum() == 3
    assert not concepts[1, 54:].any()
