"""Reward functions from outside: what they may do, what they are refused for, how they travel."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relabel.goals.prompts import resolve_prompts
from relabel.rewards import REWARD_FUNCTIONS, Scorer, bind, parse_reward
from relabel.rewards.registry import from_content
from schemas.enums import Timing
from schemas.errors import GoalError, RewardError
from schemas.goals import Goal, GoalSet
from tests.relabel import oracle
from tests.relabel.rewards.test_rewards import DIM, simple_goals, spec, unit32

HEAD = """\
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from pydantic import Field, field_validator
from relabel.rewards import Binding, RewardFunction
from relabel.rewards.cosine import Cosine, CosineFormula
from relabel.rewards.wrapper import Wrapper
"""
SOUND = """\
class Likeness(RewardFunction):
    power: int = Field(1, ge=1, description="a whole number >= 1")
    weights: tuple[float, ...] = ()
    @property
    def score_range(self): return (-1.0, 1.0)
    def bind(self, binding): return CosineFormula(binding.goal_embeddings)

class Above(Likeness):
    bound: float = 0.0
    def thresholds(self, goals):
        own = [self.bound if g.threshold is None else g.threshold for g in goals.goals]
        return np.array(own, np.float32)

class Gain(Likeness):
    @property
    def reward_range(self): return (0.0, 2.0)
    def rewards(self, scores, before, thresholds): return np.maximum(scores - before, 0)

class Needy(Likeness):
    def bind(self, binding):
        binding.negatives(f"reward {self.name!r}")
        return super().bind(binding)

class Same(Cosine): pass

class Outer:
    class Inner(Likeness): pass
"""
UNSOUND = """\
class NoRange(RewardFunction):
    def bind(self, binding): ...
class Bare(RewardFunction): pass
class Around(Wrapper): pass
class Borrowed(Cosine, name="cosine"): pass
class Renamed(Cosine, name="mine"): pass
class Strange(Cosine):
    other: NoSuchType
class Named(Cosine):
    of: int = 1
class Clash(Cosine):
    window: int = 1
class Failing(Cosine):
    x: int = 1
    @field_validator("x")
    @classmethod
    def check(cls, x): raise KeyError(x)
class Checked(Cosine):
    x: int = 1
    @field_validator("x")
    @classmethod
    def check(cls, x):
        if x > 5: raise ValueError("x is more than five")
        return x
class Growing(Cosine):
    x: int = 1
    @field_validator("x")
    @classmethod
    def check(cls, x): return x + 1
class Endless(Cosine):
    @property
    def score_range(self): return (0.0, float("inf"))
class Upside(Cosine):
    @property
    def score_range(self): return (1.0, -1.0)
class Narrow(Cosine):
    def bind(self, binding): return CosineFormula(binding.goal_embeddings[:, :2])
def function(): ...
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`sound_rewards` and `unsound_rewards`, where Python looks."""
    (tmp_path / "sound_rewards.py").write_text(HEAD + SOUND)
    (tmp_path / "unsound_rewards.py").write_text(HEAD + UNSOUND)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("sound_rewards", "unsound_rewards"):
        sys.modules.pop(name, None)


def bound(
    path: str, goals: GoalSet | None = None, timing: Timing = Timing.NEXT_FRAME, **parameters: Any
) -> Scorer:
    goals = simple_goals() if goals is None else goals
    prompts = resolve_prompts(goals)
    vectors = unit32(np.random.default_rng(0), len(prompts.texts), DIM)
    function = parse_reward(path, **parameters)
    return bind(function, goals, prompts, vectors, spec(), timing=timing)


FRAMES = unit32(np.random.default_rng(1), 9, DIM)
LENGTHS = [4, 5]


def test_it_is_named_by_where_it_is_and_its_parameters_are_all_told() -> None:
    function = parse_reward("sound_rewards:Likeness", power=2, weights=[1, 0.5])
    told = function.model_dump(mode="json")
    assert told == {"name": "sound_rewards:Likeness", "power": 2, "weights": [1.0, 0.5]}
    for again in (from_content(json.loads(json.dumps(told))), pickle.loads(pickle.dumps(function))):
        assert again == function
        assert type(again) is type(function)


@pytest.mark.parametrize("path", ["sound_rewards:Same", "sound_rewards:Outer.Inner"])
def test_a_class_that_derives_from_another_has_a_name_of_its_own(path: str) -> None:
    assert parse_reward(path).path == path
    assert parse_reward(path).model_dump()["name"] == path


def test_a_class_of_this_package_by_its_module_is_the_same_one() -> None:
    assert parse_reward("relabel.rewards.cosine:Cosine") == parse_reward("cosine")
    wrapped = parse_reward("relabel.rewards.window_mean:WindowMean/cosine", window=2)
    assert wrapped.path == "window-mean/cosine"


def test_a_pickle_imports_the_module_anew() -> None:
    pickled = pickle.dumps(bound("window-mean/sound_rewards:Likeness", window=2))
    del sys.modules["sound_rewards"]
    scorer = pickle.loads(pickled)
    assert scorer.function.path == "window-mean/sound_rewards:Likeness"
    assert type(scorer.function.of) is importlib.import_module("sound_rewards").Likeness


def test_wrappers_work_around_it() -> None:
    scorer = bound("potential-difference/window-mean/sound_rewards:Likeness", window=2)
    same = bound("potential-difference/window-mean/cosine", window=2)
    scores = same.scores([FRAMES], LENGTHS)
    np.testing.assert_array_equal(scorer.scores([FRAMES], LENGTHS), scores)
    np.testing.assert_array_equal(scorer.rewards(scores, LENGTHS), same.rewards(scores, LENGTHS))
    assert scorer.reward_range == (-2, 2)


@pytest.mark.parametrize("timing", Timing)
def test_thresholds_of_its_own_make_rewards_of_0_and_1(timing: Timing) -> None:
    goals = GoalSet(
        goals=(Goal(id="a", texts=("a",), threshold=0.2), Goal(id="b", texts=("b",))),
    )
    scorer = bound("sound_rewards:Above", goals, timing, bound=0.1)
    assert scorer.binary
    scores = scorer.scores([FRAMES], LENGTHS)
    expected = oracle.rewards(
        scores, LENGTHS, thresholds=np.float32([0.2, 0.1]),
        next_frame=timing is Timing.NEXT_FRAME, difference=False,
    )  # fmt: skip
    np.testing.assert_array_equal(scorer.rewards(scores, LENGTHS), expected)


def test_rewards_of_its_own_see_both_frames() -> None:
    scorer = bound("sound_rewards:Gain")
    scores = scorer.scores([FRAMES], LENGTHS)
    rewards = scorer.rewards(scores, LENGTHS)
    assert scorer.reward_range == (0, 2)
    for t in (0, 1, 2, 4, 5, 6, 7):
        np.testing.assert_array_equal(rewards[t], np.maximum(scores[t + 1] - scores[t], 0))
    assert np.isnan(rewards[[3, 8]]).all()


def test_a_goal_without_the_negatives_that_it_asks_for() -> None:
    told = "^reward 'sound_rewards:Needy' compares a goal with negatives: none for goal g0; give"
    with pytest.raises(GoalError, match=told):
        bound("sound_rewards:Needy", simple_goals(1, null_prompts=()))


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("Likeness", {}, r"the known ones are .*; a class of your own is written my_module:M"),
        ("no_such_rewards:A", {}, "there is no module 'no_such_rewards'"),
        ("sound_rewards:Gone", {}, r"has no 'Gone'; names that it defines are Likeness, Ab"),
        ("sound_rewards:Outer", {}, "expected a subclass of .*RewardFunction, got the class Outer"),
        ("unsound_rewards:function", {}, "RewardFunction, got a function"),
        ("unsound_rewards:NoRange", {}, "the class has no score_range; a reward function must"),
        ("unsound_rewards:Bare", {}, "the class has no bind and no score_range;"),
        ("unsound_rewards:Around", {}, "has no bind|a wrapper cannot come from outside"),
        ("unsound_rewards:Borrowed", {}, "the class calls itself 'cosine', where it is not found"),
        ("unsound_rewards:Renamed", {}, "the class calls itself 'mine', where it is not found"),
        ("unsound_rewards:Strange", {}, "parameters cannot be checked: .*NoSuchType"),
        ("unsound_rewards:Named", {}, "a parameter cannot be called 'of'"),
        ("window-mean/unsound_rewards:Clash", {"window": 2},
         "window-mean and unsound_rewards:Clash both have a parameter 'window'"),
        ("unsound_rewards:Failing", {"x": 2}, "parameters cannot be checked: KeyError: 2"),
        ("unsound_rewards:Checked", {"x": 7}, "x: Value error, x is more than five, got 7"),
        ("unsound_rewards:Growing", {"x": 1}, "come back from a manifest as others"),
        ("sound_rewards:Likeness", {"power": 0}, "power: expected a whole number >= 1, got 0$"),
        ("sound_rewards:Likeness", {"power": "two"}, "expected a whole number >= 1, got 'two'$"),
        ("sound_rewards:Likeness", {"weights": [1, "b"]}, r"weights\.1: .* got 'b'$"),
        ("sound_rewards:Likeness", {"tau": 1}, r"\['tau'\], the known ones are \['power'"),
        ("sound_rewards:Likeness/cosine", {}, "did you mean 'cosine'"),
    ],
)  # fmt: skip
def test_what_is_refused(path: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RewardError, match=f"^reward '.*({message})"):
        parse_reward(path, **parameters)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Endless", r"score_range to be two finite numbers, the lower one first, got 0\.0 and inf"),
        ("Upside", r"two finite numbers, the lower one first, got 1\.0 and -1\.0"),
        ("Narrow", r"prompts of shape \(C, 6\), .* got \(3, 2\)"),
    ],
)
def test_what_is_refused_when_it_is_bound(name: str, message: str) -> None:
    with pytest.raises(
        RewardError, match=f"^reward 'unsound_rewards:{name}': expected .*{message}"
    ):
        bound(f"unsound_rewards:{name}")


def test_a_manifest_that_names_something_else() -> None:
    with pytest.raises(RewardError, match="'json:dumps': expected a subclass"):
        from_content({"name": "json:dumps"})
    with pytest.raises(RewardError, match="unknown reward function 'gone'"):
        from_content({"name": "gone"})
    with pytest.raises(RewardError, match="'cosine': alpha: Extra inputs are not permitted, got 1"):
        from_content({"name": "cosine", "alpha": 1})


def test_a_file_of_each_name_holds_the_class() -> None:
    for name, cls in REWARD_FUNCTIONS.items():
        assert cls.__module__ == f"relabel.rewards.{name.replace('-', '_')}"
        assert cls.__doc__ and "=" in cls.__doc__, "the docstring has the equation"
