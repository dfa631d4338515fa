"""What wrappers have in common: a reward function inside, which does most of the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import SerializeAsAny, model_serializer

from relabel.rewards.base import Binding, Floats, Formula, Range, RewardFunction
from schemas.encoders import EncoderSpec
from schemas.goals import GoalSet


class Wrapper(RewardFunction):
    """A reward function around another one; all that it does not say is as inside."""

    of: SerializeAsAny[RewardFunction]

    @property
    def score_range(self) -> Range:
        """As inside."""
        return self.of.score_range

    @property
    def reward_range(self) -> Range:
        """As inside."""
        return self.of.reward_range

    @property
    def base(self) -> RewardFunction:
        """As inside."""
        return self.of.base

    @property
    def frames_seen(self) -> int:
        """As inside."""
        return self.of.frames_seen

    @property
    def path(self) -> str:
        """Its name, and the path inside."""
        return f"{self.name}/{self.of.path}"

    def resolved(self, spec: EncoderSpec) -> Self:
        """With the inside resolved."""
        return self.model_copy(update={"of": self.of.resolved(spec)})

    def temperatures(self, goals: GoalSet) -> NDArray[np.float64] | None:
        """As inside."""
        return self.of.temperatures(goals)

    def thresholds(self, goals: GoalSet) -> Floats | None:
        """As inside."""
        return self.of.thresholds(goals)

    def bind(self, binding: Binding) -> Formula:
        """As inside."""
        return self.of.bind(binding)

    def finished(self, scores: Floats) -> Floats:
        """As inside."""
        return self.of.finished(scores)

    def rescored(self, scores: Floats) -> Floats:
        """As inside."""
        return self.of.rescored(scores)

    def rewards(self, scores: Floats, before: Floats, thresholds: Floats | None) -> Floats:
        """As inside."""
        return self.of.rewards(scores, before, thresholds)

    @model_serializer(mode="wrap")
    def _content(self, fields: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        """`name`, the parameters, and last what is inside."""
        content = fields(self)
        inner = content.pop("of")
        return {"name": self.name, **content, "of": inner}
