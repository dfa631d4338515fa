"""What a reward function is: the class that each of them, and one of your own, derives from.

A reward function is asked in this order:

    parameters        pydantic fields, checked when it is made
    resolved          constants of the encoder in place of what was left None
    temperatures      per goal, to be recorded; thresholds likewise
    bind              goals and encoder become a formula: cosines of a block of frames in,
                      scores out
    rewards           scores become rewards

`relabel.rewards.scorer` does the rest: blocks, windows, cameras, timing, missing embeddings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_serializer

from relabel.goals.prompts import Prompts
from relabel.rewards.head_weights import HeadWeights
from schemas.encoders import EncoderSpec
from schemas.errors import GoalError
from schemas.goals import GoalSet

Floats = NDArray[np.float32]
Range = tuple[float, float]  # closed interval

PROBABILITIES: Final[Range] = (0.0, 1.0)
COSINES: Final[Range] = (-1.0, 1.0)


class Formula(Protocol):
    """Scores of G goals from the cosines with C prompts; picklable.

    It holds the prompt embeddings that it wants frames compared with, so that the scorer can
    do all comparisons of a block in one matrix product.
    """

    @property
    def prompts(self) -> Floats:
        """(C, D) embeddings that frames are compared with; usually of unit norm."""

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """Fills `out` (n, G) from `cosines` (n, C), which hold no NaN and may be changed."""


@runtime_checkable
class FrameFormula(Formula, Protocol):
    """A formula that compares frames itself, in the matrix products that it chooses."""

    def score(self, frames: Floats, out: Floats) -> None:
        """Fills `out` (n, G) from frames (n, D), which hold no NaN."""


def score_frames(formula: Formula, frames: Floats, out: Floats) -> None:
    """Fills `out` (n, G) with the scores of frames (n, D), which hold no NaN."""
    if isinstance(formula, FrameFormula):
        formula.score(frames, out)
    else:
        formula(frames @ formula.prompts.T, out)


@dataclass(frozen=True, eq=False)
class Binding:
    """What a reward function is bound to: G goals, their P prompts, and the encoder of both."""

    goals: GoalSet
    prompts: Prompts
    embeddings: Floats  # (P, D) of the prompts, unit norm
    spec: EncoderSpec
    norms: Floats | None = None  # (P,) of the averages that the embeddings are made of
    head: HeadWeights | None = None  # what labels taught

    @cached_property
    def goal_embeddings(self) -> Floats:
        """(G, D) of each goal's own prompt."""
        return self.embeddings[self.prompts.goal]

    def negatives(self, who: str) -> tuple[NDArray[np.int64], ...]:
        """Per goal the prompts that it is compared with, at least one.

        Args:
            who: compares a goal with them, to begin an error text.

        Raises:
            GoalError: a goal has none.
        """
        found = zip(self.goals.goals, self.prompts.negatives, strict=True)
        if lonely := [goal.id for goal, negatives in found if not negatives.size]:
            why = f" ({self.prompts.notes[0]})" if self.prompts.notes else ""
            raise GoalError(
                f"{who} compares a goal with negatives: none for {listed(lonely)}{why}; give the "
                "goal set null_prompts, such as 'an empty room', or the goals negatives"
            )
        return self.prompts.negatives


class RewardFunction(BaseModel, ABC):
    """A named function from cosines to scores, and from scores to rewards.

    Its fields are its parameters. `Field(description="a finite number > 0")` completes the
    error text of a value that does not fit: "expected …, got …".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ClassVar[str]  # as written by users and in manifests

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        """Names the class; from outside of this package by where it is found."""
        super().__init_subclass__(**kwargs)
        cls.name = f"{cls.__module__}:{cls.__qualname__}" if name is None else name

    # --- to be written -------------------------------------------------------------------

    @property
    @abstractmethod
    def score_range(self) -> Range:
        """Closed interval that every score lies in; recorded, and checked by `verify`."""

    @abstractmethod
    def bind(self, binding: Binding) -> Formula:
        """The formula for these goals and this encoder. Parameters are resolved by then.

        Raises:
            GoalError: goals without what the function needs.
            RewardError: an encoder without what the function needs.
        """

    # --- to be written where the default does not fit ------------------------------------

    @property
    def reward_range(self) -> Range:
        """Closed interval that every reward lies in."""
        return self.score_range

    def resolved(self, spec: EncoderSpec) -> Self:
        """The same with the encoder's constants in place of None: every number that is used.

        Raises:
            RewardError: the encoder has no such constant.
        """
        return self

    def temperatures(self, goals: GoalSet) -> NDArray[np.float64] | None:
        """(G,) as used, to be recorded with the goals; None: the function has none."""
        return None

    def thresholds(self, goals: GoalSet) -> Floats | None:
        """(G,) as used, to be recorded likewise; None: rewards are more than 0 and 1."""
        return None

    def rewards(self, scores: Floats, before: Floats, thresholds: Floats | None) -> Floats:
        """Rewards (T, G) of T actions.

        Args:
            scores: (T, G) of the frame that the timing says an action's reward looks at.
            before: (T, G) of the frame that the action was taken at.
            thresholds: (G,) from `thresholds`; with them every reward is 0 or 1.

        Returns:
            (T, G) float32 within `reward_range`; NaN where a score that is needed is NaN.
        """
        return scores if thresholds is None else above(scores, thresholds)

    def finished(self, scores: Floats) -> Floats:
        """Scores (n, G) of frames as they are stored, from those that the cameras' fusion gave."""
        return scores

    def rescored(self, scores: Floats) -> Floats:
        """Likewise, from the stored scores (n, G) of the reward set that a calibration is of."""
        return scores

    # --- of wrappers ---------------------------------------------------------------------

    @property
    def base(self) -> RewardFunction:
        """The function inside all wrappers: the one that defines the score."""
        return self

    @property
    def frames_seen(self) -> int:
        """Frames that a score looks back over, itself included; 1 without a window."""
        return 1

    @property
    def path(self) -> str:
        """The names from here inwards, as `parse_reward` reads them."""
        return self.name

    # --- as written in a manifest ----------------------------------------------------------

    @model_serializer(mode="wrap")
    def _content(self, fields: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        """`name`, then every parameter."""
        return {"name": self.name, **fields(self)}

    def __reduce__(self) -> tuple[Any, ...]:
        """By name: a worker process finds a class of the user's own as this process did."""
        from relabel.rewards.registry import from_content

        return from_content, (self.model_dump(mode="json"),)


def above(scores: Floats, thresholds: Floats) -> Floats:
    """1[p > beta], strictly; NaN stays (Baumli et al. 2023, arXiv 2312.09187, eq. 2).

    Args:
        scores: (T, G) p.
        thresholds: (G,) beta, float32 like the scores, so that a threshold read off a stored
            score equals it.
    """
    rewards: Floats = np.greater(scores, thresholds).astype(np.float32)
    np.copyto(rewards, scores, where=np.isnan(scores))
    return rewards


def listed(ids: Sequence[str], limit: int = 5) -> str:
    """Goals by id, for people."""
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return f"goals {', '.join(ids[:limit])}{more}" if len(ids) > 1 else f"goal {ids[0]}"
