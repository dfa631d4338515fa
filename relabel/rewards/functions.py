"""Reward functions by name: their parameters, checked and frozen, but no mathematics.

A reward function is written as a path, wrappers first:

    softmax-threshold                               the paper's binary reward (the default)
    potential-difference/window-mean/probability    smoothed over frames, then differenced

What each computes is in `relabel.rewards.scorer`, which binds one to a goal set and an encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.errors import RewardError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Frames = Annotated[int, Field(ge=1)]
_EXPECTED: Final = {  # of each parameter, to complete an error text
    "temperature": "a finite number > 0",
    "threshold": "a number in [0, 1]",
    "alpha": "a number in [0, 1]",
    "logit_scale": "a finite number > 0",
    "logit_bias": "a finite number",
    "window": "a whole number >= 1",
}


class _Function(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    def path(self) -> str:
        """The names from here inwards, as `parse_reward` reads them."""
        names = [str(type(self).model_fields["name"].default)]
        inner = getattr(self, "of", None)
        return "/".join(names if inner is None else [*names, inner.path])


class SoftmaxThreshold(_Function):
    """Score: probability of the goal among its negatives. Reward: 1 above the threshold."""

    name: Literal["softmax-threshold"] = "softmax-threshold"
    temperature: Positive | None = None  # tau; None: 1 / logit_scale of the encoder
    threshold: Unit = 0.5  # beta; the comparison is strict


class Probability(_Function):
    """Score and reward: probability of the goal among its negatives."""

    name: Literal["probability"] = "probability"
    temperature: Positive | None = None  # tau; None: 1 / logit_scale of the encoder


class Cosine(_Function):
    """Score and reward: cosine of frame and goal; uses no negatives."""

    name: Literal["cosine"] = "cosine"


class GoalBaseline(_Function):
    """Score and reward: closeness to the goal, mostly along the line from baseline to goal."""

    name: Literal["goal-baseline"] = "goal-baseline"
    alpha: Unit = 0.5  # 0: plain cosine; 1: only the position on the line counts


class VlmRm(_Function):
    """As goal-baseline, with averages of prompts as they are: shorter than unit vectors."""

    name: Literal["vlm-rm"] = "vlm-rm"
    alpha: Unit = 0.5  # as of goal-baseline


class Sigmoid(_Function):
    """Score and reward: the pairwise probability of a sigmoid-trained (SigLIP) encoder."""

    name: Literal["sigmoid"] = "sigmoid"
    logit_scale: Positive | None = None  # None: the encoder's
    logit_bias: Finite | None = None  # None: the encoder's


_BASES = SoftmaxThreshold | Probability | Cosine | GoalBaseline | VlmRm | Sigmoid
BaseFunction = Annotated[_BASES, Field(discriminator="name")]


class WindowMean(_Function):
    """Score and reward of `of`, seen by the mean embedding of the last `window` frames."""

    name: Literal["window-mean"] = "window-mean"
    window: Frames  # k; an episode's first frames have fewer to look back on
    of: BaseFunction


class PotentialDifference(_Function):
    """Score of `of`; reward: what the action added to that score.

    Always outermost: smoothing embeddings and differencing scores commute, and one spelling
    per meaning keeps fingerprints comparable.
    """

    name: Literal["potential-difference"] = "potential-difference"
    of: Annotated[_BASES | WindowMean, Field(discriminator="name")]


AnyFunction = _BASES | WindowMean | PotentialDifference
RewardFunction = Annotated[AnyFunction, Field(discriminator="name")]

_CLASSES: Final[tuple[type[_Function], ...]] = (
    SoftmaxThreshold,
    Probability,
    Cosine,
    GoalBaseline,
    VlmRm,
    Sigmoid,
    WindowMean,
    PotentialDifference,
)
REWARD_FUNCTIONS: Final[Mapping[str, type[_Function]]] = {
    str(cls.model_fields["name"].default): cls for cls in _CLASSES
}
DEFAULT_REWARD: Final = "softmax-threshold"


def base_of(function: AnyFunction) -> _BASES:
    """The base function inside all wrappers: the one that defines the score."""
    return base_of(function.of) if isinstance(function, _WRAPPERS) else function


def window_of(function: AnyFunction) -> int:
    """Frames that a score looks back over, itself included; 1 without a window."""
    if isinstance(function, PotentialDifference):
        return window_of(function.of)
    return function.window if isinstance(function, WindowMean) else 1


_WRAPPERS: Final = (WindowMean, PotentialDifference)
_ADAPTER: Final[TypeAdapter[AnyFunction]] = TypeAdapter(RewardFunction)


def parse_reward(path: str, **parameters: Any) -> AnyFunction:
    """A reward function from its path and its parameters.

    Args:
        path: names joined by "/", outermost first.
        **parameters: of any part of the path; no two parts share a parameter's name.

    Raises:
        RewardError: unknown name or parameter, parts that do not fit, a value out of range.

    Example:
        >>> parse_reward("window-mean/probability", window=3, temperature=0.02).path
        'window-mean/probability'
    """
    names = path.split("/")
    known = _known_parameters(path, names)
    _check_structure(path, names)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise RewardError(
            f"reward {path!r}: unknown parameter {unknown}, known are {sorted(known)}"
        )
    return _validated(path, _nested(names, parameters))


def _known_parameters(path: str, names: list[str]) -> set[str]:
    unknown = [name for name in names if name not in REWARD_FUNCTIONS]
    if unknown:
        raise RewardError(
            f"reward {path!r}: unknown reward function {unknown[0]!r}, "
            f"known are {sorted(REWARD_FUNCTIONS)}"
        )
    return {f for name in names for f in REWARD_FUNCTIONS[name].model_fields} - {"name", "of"}


def _check_structure(path: str, names: list[str]) -> None:
    wrappers = [name for name in names if "of" in REWARD_FUNCTIONS[name].model_fields]
    if names[-1] in wrappers:
        raise RewardError(
            f"reward {path!r}: {names[-1]!r} wraps another reward function, got none; "
            f"write {path}/probability, for example"
        )
    canonical = [n for n in ("potential-difference", "window-mean") if n in wrappers]
    if names[:-1] != canonical:
        suggestion = "/".join([*canonical, names[-1]])
        raise RewardError(
            f"reward {path!r}: expected each wrapper at most once, potential-difference before "
            f"window-mean, then one base function; did you mean {suggestion!r}?"
        )


def _nested(names: list[str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    fields = set(REWARD_FUNCTIONS[names[0]].model_fields)
    own = {key: value for key, value in parameters.items() if key in fields}
    inner = {"of": _nested(names[1:], parameters)} if len(names) > 1 else {}
    return {"name": names[0], **own, **inner}


def _validated(path: str, content: dict[str, Any]) -> AnyFunction:
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        problems = [_explain(str(p["loc"][-1]), p["type"], p["input"]) for p in error.errors()]
        raise RewardError(f"reward {path!r}: {'; '.join(problems)}") from error


def _explain(parameter: str, kind: str, value: object) -> str:
    expected = _EXPECTED[parameter]
    got = "nothing" if kind == "missing" else repr(value)
    return f"{parameter}: expected {expected}, got {got}"
