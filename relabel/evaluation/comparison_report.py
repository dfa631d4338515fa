"""What a comparison says: numbers for machines, of which people see the most important."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from relabel.evaluation.measured import Difference, Figure, Scope


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class RewardSet(_Told):
    """One of the compared reward sets, or a control."""

    name: str
    control: bool = False  # knows nothing of what a frame shows
    encoder: str = ""
    cameras: tuple[str, ...] = ()
    function: dict[str, Any] = {}
    fusion: str = ""
    goals: int = 0
    only_here: tuple[str, ...] = ()  # goals that not all of the sets have
    frames_known: int = 0  # frames whose truth is known, summed over the common goals
    positives: int = 0  # of these, the true ones
    goals_sampled: int = 0  # whose intervals come from a sample of their frames
    orders: int = 0  # successful episodes whose order of time was looked at, summed over goals
    successes_by: str | None = None  # who says that an episode succeeds; None: nobody


class Curve(_Told):
    """Mean over goals of the precision at each recall; its own mean is near the mean precision."""

    rewards: str
    scope: Scope
    name: str
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    goals: int


class RankAgreement(_Told):
    """Of two reward sets, over the same frames; None: nothing to rank."""

    rewards: str
    other: str
    scope: Scope
    name: str
    spearman: float | None  # of all and of a family: mean over goals
    kendall: float | None
    goals: int


class DisputedFrame(_Told):
    """A frame that one set has near the top of a goal, and another far from it."""

    episode_id: str
    step: int
    goal_id: str
    scores: dict[str, float]  # by reward set
    ranks: dict[str, float]  # likewise; 1 is the highest score
    factor: float  # the largest rank by the smallest
    truth: bool | None  # None: not known


class Trick(_Told):
    """What a change of embeddings, texts or scores does to a reward set's average precision."""

    rewards: str
    trick: str
    what: str  # in a sentence
    average_precision: float | None  # mean over goals
    change: float | None
    low: float | None
    high: float | None
    goals_better: int = 0  # by more than 0.01
    goals_worse: int = 0
    verdict: str  # helps, hurts, no clear change; or why it does not apply


class Comparison(_Told):
    """Reward sets side by side."""

    store: str
    truth: dict[str, Any]  # where it comes from; {}: there is none
    episodes: int
    frames: int
    frames_ranked: int  # that rank agreement was computed from: all, or a sample
    draws: int
    seed: int
    goals: tuple[str, ...]  # that all of the sets have
    sets: tuple[RewardSet, ...]  # as given, then the controls
    base_rates: dict[str, float]  # by goal: share of the frames that are true
    average_precision: tuple[Figure, ...] = ()
    precision_differences: tuple[Difference, ...] = ()
    episode_auc: tuple[Figure, ...] = ()
    auc_differences: tuple[Difference, ...] = ()
    time_order: tuple[Figure, ...] = ()
    order_differences: tuple[Difference, ...] = ()
    rank_agreement: tuple[RankAgreement, ...] = ()
    disputed: tuple[DisputedFrame, ...] = ()
    curves: tuple[Curve, ...] = ()
    tricks: tuple[Trick, ...] = ()
    notes: tuple[str, ...] = ()

    def figure(self, measure: str, rewards: str, name: str = "all") -> Figure | None:
        """One figure of a measure such as `average_precision`; None: there is none."""
        found = (f for f in getattr(self, measure) if (f.rewards, f.name) == (rewards, name))
        return next(found, None)


def number(value: float) -> float | None:
    """A number as JSON has it; NaN is None."""
    return float(value) if np.isfinite(value) else None
