"""Reward functions by name: those of this package, and your own as `my_module:MyReward`.

A reward function is written as a path, wrappers first:

    softmax-threshold                               the paper's binary reward (the default)
    potential-difference/window-mean/probability    smoothed over frames, then differenced
    window-mean/my_module:MyReward                  of a class of your own, smoothed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json

from relabel.plugins import load_named
from relabel.rewards.base import RewardFunction
from relabel.rewards.calibrated import Calibrated
from relabel.rewards.cosine import Cosine
from relabel.rewards.goal_baseline import GoalBaseline
from relabel.rewards.head import Head
from relabel.rewards.potential_difference import PotentialDifference
from relabel.rewards.probability import Probability
from relabel.rewards.sigmoid import Sigmoid
from relabel.rewards.softmax_threshold import SoftmaxThreshold
from relabel.rewards.vlm_rm import VlmRm
from relabel.rewards.window_mean import WindowMean
from relabel.rewards.wrapper import Wrapper
from schemas.errors import RewardError

_CLASSES: Final[tuple[type[RewardFunction], ...]] = (  # a new one is one more line here
    SoftmaxThreshold,
    Probability,
    Cosine,
    GoalBaseline,
    VlmRm,
    Sigmoid,
    Head,
    WindowMean,
    Calibrated,
    PotentialDifference,
)
REWARD_FUNCTIONS: Final[Mapping[str, type[RewardFunction]]] = {cls.name: cls for cls in _CLASSES}


def parse_reward(path: str, **parameters: Any) -> RewardFunction:
    """A reward function from its path and its parameters.

    Args:
        path: names joined by "/", outermost first.
        **parameters: of any part of the path, as JSON and YAML have them; no two parts share
            a parameter's name.

    Raises:
        RewardError: unknown name or parameter, parts that do not fit, a value out of range, or
            a class of the user's own that is not what it should be.

    Example:
        >>> parse_reward("window-mean/probability", window=3, temperature=0.02).path
        'window-mean/probability'
    """
    classes = [find_class(path, name) for name in path.split("/")]
    _check_structure(path, classes)
    known = _known_parameters(path, classes)
    if unknown := sorted(set(parameters) - set(known)):
        raise RewardError(
            f"reward {path!r}: unknown parameter {unknown}, the known ones are {known}"
        )
    made = _assembled(path, classes, parameters)
    if made.base.name not in REWARD_FUNCTIONS:
        _check_round_trip(made)
    return made


def from_content(content: Mapping[str, Any], *, here: bool = True) -> RewardFunction:
    """The reward function that a manifest tells of.

    Args:
        content: `function` of the manifest.
        here: also look for a class of the user's own in the working directory.

    Raises:
        RewardError: the class cannot be had, or does not take these parameters.
    """
    name = str(content.get("name"))
    cls = find_class(name, name, here=here)
    inner = from_content(content["of"], here=here) if "of" in content else None
    own = {key: value for key, value in content.items() if key not in ("name", "of")}
    try:
        return _made(cls, own, inner)
    except ValidationError as error:
        raise RewardError(f"reward {name!r}: {'; '.join(_problems(cls, error))}") from error


# --- classes ----------------------------------------------------------------------------------


def find_class(path: str, name: str, *, here: bool = True) -> type[RewardFunction]:
    """The class of one name in a path.

    Args:
        path: for error texts.
        name: of this package, or `module:class`.
        here: as of `from_content`.

    Raises:
        RewardError: there is no such class, or it is no reward function.
    """
    if name in REWARD_FUNCTIONS:
        return REWARD_FUNCTIONS[name]
    if ":" not in name:
        raise RewardError(
            f"reward {path!r}: unknown reward function {name!r}, the known ones are "
            f"{sorted(REWARD_FUNCTIONS)}; a class of your own is written my_module:MyReward"
        )
    found = load_named(name, "reward", here=here, kind=RewardError)
    if problem := _class_problem(found, here):
        raise RewardError(f"reward {name!r}: {problem}")
    cls: type[RewardFunction] = found
    return cls


def _class_problem(cls: Any, here: bool) -> str | None:
    """What keeps an object from being used as a reward function."""
    if not (isinstance(cls, type) and issubclass(cls, RewardFunction)):
        what = f"the class {cls.__name__}" if isinstance(cls, type) else f"a {type(cls).__name__}"
        return f"expected a subclass of relabel.rewards.RewardFunction, got {what}"
    if REWARD_FUNCTIONS.get(cls.name) is cls:
        return None
    if missing := sorted(cls.__abstractmethods__):
        return f"the class has no {' and no '.join(missing)}; a reward function must have them"
    if issubclass(cls, Wrapper):
        return "a wrapper cannot come from outside; derive from RewardFunction itself"
    if (
        ":" not in cls.name
        or load_named(cls.name, "reward", here=here, kind=RewardError) is not cls
    ):
        return f"the class calls itself {cls.name!r}, where it is not found; give it no name="
    if wrong := sorted({"name", "of"} & set(cls.model_fields)):
        return f"a parameter cannot be called {wrong[0]!r}; call it otherwise"
    return _undefined(cls)


def _undefined(cls: type[RewardFunction]) -> str | None:
    """Annotations that pydantic cannot make sense of."""
    try:
        cls.model_rebuild()
    except Exception as error:  # pydantic's own kinds, and NameError
        return f"its parameters cannot be checked: {str(error).splitlines()[0]}"
    return None


# --- the path ---------------------------------------------------------------------------------


def _check_structure(path: str, classes: Sequence[type[RewardFunction]]) -> None:
    names = [cls.name for cls in classes]
    if Head.name in names:
        raise RewardError(
            f"reward {path!r}: {Head.name!r} is made of labels; leave it out, and give --head and "
            "--labels beside --reward"
        )
    wrappers = [cls.name for cls in classes if issubclass(cls, Wrapper)]
    if names[-1] in wrappers:
        raise RewardError(
            f"reward {path!r}: {names[-1]!r} wraps another reward function, got none; "
            f"write {path}/probability, for example"
        )
    order = (PotentialDifference, Calibrated, WindowMean)
    canonical = [cls.name for cls in order if cls.name in wrappers]
    if names[:-1] != canonical:
        suggestion = "/".join([*canonical, names[-1]])
        raise RewardError(
            f"reward {path!r}: expected each wrapper at most once, potential-difference before "
            f"calibrated before window-mean, then one base function; did you mean {suggestion!r}?"
        )


def _known_parameters(path: str, classes: Sequence[type[RewardFunction]]) -> list[str]:
    owners: dict[str, str] = {}
    for cls in classes:
        for name in cls.model_fields:
            if name != "of" and owners.setdefault(name, cls.name) != cls.name:
                raise RewardError(
                    f"reward {path!r}: {owners[name]} and {cls.name} both have a parameter "
                    f"{name!r}; call that of the class of your own otherwise"
                )
    return sorted(owners.keys() - {"of"})


def _assembled(
    path: str, classes: Sequence[type[RewardFunction]], parameters: Mapping[str, Any]
) -> RewardFunction:
    """From the inside out; the problems of all parts are told together."""
    made: RewardFunction | None = None
    problems: list[str] = []
    for cls in reversed(classes):
        own = {key: value for key, value in parameters.items() if key in cls.model_fields}
        try:
            made = _made(cls, own, made)
        except ValidationError as error:
            problems[:0] = _problems(cls, error)
            made = None
    if made is None or problems:
        raise RewardError(f"reward {path!r}: {'; '.join(problems)}")
    return made


# --- one object -------------------------------------------------------------------------------


def _made(
    cls: type[RewardFunction], own: Mapping[str, Any], inner: RewardFunction | None
) -> RewardFunction:
    """From parameters as JSON has them: what a manifest says is read as what a user says.

    Raises:
        ValidationError: as pydantic tells it.
        RewardError: checks of the user's own that fail with something else.
    """
    try:
        if issubclass(cls, Wrapper):
            return cls.model_validate({**own, "of": inner})
        return cls.model_validate_json(to_json(own, inf_nan_mode="constants", fallback=repr))
    except ValidationError:
        raise
    except Exception as error:  # in checks of the user's own
        text = f"{type(error).__name__}: {error}"
        raise RewardError(
            f"reward {cls.name!r}: its parameters cannot be checked: {text}"
        ) from error


def _problems(cls: type[RewardFunction], error: ValidationError) -> list[str]:
    return [_explained(cls, p) for p in error.errors() if p["loc"][:1] != ("of",)]


def _explained(cls: type[RewardFunction], problem: ErrorDetails) -> str:
    if not problem["loc"]:
        return problem["msg"]
    place = ".".join(map(str, problem["loc"]))
    field = cls.model_fields.get(str(problem["loc"][0]))
    got = "nothing" if problem["type"] == "missing" else repr(problem["input"])
    if field is None or field.description is None:
        return f"{place}: {problem['msg']}, got {got}"
    return f"{place}: expected {field.description}, got {got}"


def _check_round_trip(made: RewardFunction) -> None:
    """A manifest must tell all of it."""
    try:
        told = from_content(made.model_dump(mode="json"))
    except Exception as error:  # values that JSON cannot hold, or that come back as others
        raise RewardError(
            f"reward {made.base.name!r}: its parameters cannot be written to a manifest and read "
            f"again: {str(error).splitlines()[0]}"
        ) from error
    if told != made:
        raise RewardError(
            f"reward {made.base.name!r}: its parameters come back from a manifest as others: "
            f"{told!r}, not {made!r}"
        )
