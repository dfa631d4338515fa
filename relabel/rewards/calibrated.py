"""`calibrated`: another reward function's scores, with what labels said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, model_serializer, model_validator

from relabel.rewards.base import PROBABILITIES, Binding, Floats, Formula, Range, above
from relabel.rewards.curves import Doubles, log_odds, sigmoid
from relabel.rewards.wrapper import Wrapper
from schemas.errors import RewardError
from schemas.goals import GoalSet

Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = tuple[Number, ...]
Knot = tuple[Number, Number]  # of x, and the probability there
PER_GOAL: Final = "numbers, one per goal of the set"


class Calibrated(Wrapper, name="calibrated"):
    """Score of `of`, or the probability that the goal holds; reward: 1 above a beta of the goal.

        x = s, or log(s / (1 - s)) of a probability s
        p = 1 / (1 + exp(-(slope_g x + shift_g)))       Platt 1999; or through the knots of the goal
        r_t = 1[s_{t+1} > beta_g]

    With slopes and shifts the score is p, else it stays s. With betas the reward is 0 or 1, else it
    is the score. Written by `vlm-relabel calibrate`; of several cameras, the fused score is s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)  # lists, as JSON has them

    betas: Numbers | None = Field(None, description=PER_GOAL)  # (G,) of the score
    x: Literal["score", "log-odds"] = "log-odds"
    slopes: Numbers | None = Field(None, description=PER_GOAL)  # (G,) >= 0
    shifts: Numbers | None = Field(None, description=PER_GOAL)  # (G,)
    # (G,) of goals with many labels the curve of an isotonic fit, x rising; () of the others
    knots: tuple[tuple[Knot, ...], ...] | None = None
    # Labels, method and settings.
    provenance: dict[str, str | int | float | bool | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.slopes is None) != (self.shifts is None):
            raise ValueError("expected slopes and shifts together")
        if self.betas is None and self.slopes is None:
            raise ValueError("expected betas, or slopes and shifts; `vlm-relabel calibrate` fits")
        if self.knots is not None and self.slopes is None:
            raise ValueError("expected slopes and shifts beside knots")
        if len({len(values) for values in self._per_goal}) > 1:
            raise ValueError("expected as many numbers of each kind, one per goal")
        if min(self.slopes or (0,)) < 0:
            raise ValueError("expected slopes of 0 or more")
        return self

    @model_serializer(mode="wrap")
    def _content(self, fields: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        """As of any wrapper, without what there is not."""
        content = {key: value for key, value in fields(self).items() if value is not None}
        inner = content.pop("of")
        return {"name": self.name, **content, "of": inner}

    @property
    def _per_goal(self) -> tuple[Sequence[Any], ...]:
        found = (self.betas, self.slopes, self.shifts, self.knots)
        return tuple(values for values in found if values is not None)

    @property
    def score_range(self) -> Range:
        """Of a probability, or as inside."""
        return self.of.score_range if self.slopes is None else PROBABILITIES

    @property
    def reward_range(self) -> Range:
        """0 or 1, or that of a probability."""
        return PROBABILITIES

    def thresholds(self, goals: GoalSet) -> Floats | None:
        """(G,) beta; None: rewards are probabilities."""
        return None if self.betas is None else np.array(self.betas, np.float32)

    def rewards(self, scores: Floats, before: Floats, thresholds: Floats | None) -> Floats:
        """1 above the threshold of the goal, or the probability."""
        return scores if thresholds is None else above(scores, thresholds)

    def bind(self, binding: Binding) -> Formula:
        """As inside.

        Raises:
            RewardError: fitted to another number of goals.
        """
        if (found := len(self._per_goal[0])) != len(binding.goals.goals):
            raise RewardError(
                f"reward {self.path!r}: expected numbers of {len(binding.goals.goals)} goals, got "
                f"those of {found}; a calibration belongs to the goals that it was fitted to"
            )
        return self.of.bind(binding)

    def finished(self, scores: Floats) -> Floats:
        """As inside, and then `rescored`."""
        return self.rescored(self.of.finished(scores))

    def rescored(self, scores: Floats) -> Floats:
        """(n, G) probabilities, if there are slopes; NaN stays NaN."""
        if self.slopes is None or self.shifts is None:
            return scores
        x = log_odds(scores) if self.x == "log-odds" else scores.astype(np.float64)
        p = sigmoid(x * np.array(self.slopes) + np.array(self.shifts))
        for goal, knots in enumerate(self.knots or ()):
            if knots:
                p[:, goal] = through(knots, x[:, goal])
        return p.astype(np.float32)


def through(knots: Sequence[Knot], x: Doubles) -> Doubles:
    """Probabilities (n,) of x (n,), straight between the knots and level beyond them."""
    places, values = np.array(knots, np.float64).T
    return np.asarray(np.interp(x, places, values))


def calibration_in(function: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The calibration inside of a recorded reward function, as recorded; None: there is none."""
    inside: Mapping[str, Any] | None = function
    while inside is not None and inside["name"] != Calibrated.name:
        inside = inside.get("of")
    return inside
