"""Which head is taken, and for which goals: by labels that a head has not seen.

Kind, strength and blend are the same for all goals, since few labels of one goal tell little; they
are those with the best mean average precision over the goals. Then each goal takes the head or
keeps its zero-shot score:

    its own labels gain more than `GAIN` by the head      it takes the head
    they lose by it                                       it keeps zero-shot
    neither                                               as its family, whose goals share scores

A family takes the head if its goals gain more than `GAIN` on average, and more than `ERRORS`
standard errors. So ties and small gains go to zero-shot, unless many goals of the same kind say
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.metrics import average_precision
from relabel.heads.folds import Grouping, folds_of
from relabel.heads.frames import KnownFrames
from relabel.heads.kinds import STRENGTHS, learned, values
from relabel.rewards.base import Floats
from relabel.rewards.head import HeadKind, blended

BLENDS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
GAIN: Final = 0.02  # of average precision, less than one positive that moves by a rank
ERRORS: Final = 2.0  # standard errors of a family's mean gain
_SAME: Final = 1e-9  # means over goals that differ by rounding

Setting = tuple[HeadKind, float]  # kind and strength
Reason = Literal["goal", "family"]  # whose labels say that the head is better


@dataclass(frozen=True, eq=False)
class GoalLabels:
    """The labels of one goal whose frames have a score, n of them."""

    goal: int  # place on the goal axis
    row: NDArray[np.int64]  # (n,) place of each frame among those known
    episode: NDArray[np.int64]  # (n,) a number for each episode
    label: NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, eq=False)
class TriedGoal:
    """What heads say of a goal's labels that they have not seen."""

    labels: GoalLabels
    grouping: Grouping  # what was left out together
    zero_shot: Floats  # (n,)
    zero_shot_ap: float
    shares: dict[Setting, Floats]  # (C, n) q of each camera


@dataclass(frozen=True)
class Choice:
    """A head for all goals, and what it is worth to each that was tried."""

    kind: HeadKind
    strength: float
    blend: float
    ap: tuple[float, ...]  # per tried goal, with the head
    reasons: tuple[Reason | None, ...]  # per tried goal, why it takes the head; None: it does not


def tried(known: KnownFrames, labels: GoalLabels, kinds: Sequence[HeadKind]) -> TriedGoal | None:
    """Every setting of some kinds, on one goal; None: it has too few labels."""
    found = folds_of(labels.label, labels.episode)
    if found is None:
        return None
    fold, grouping = found
    zero = known.fused(known.scores[:, labels.row, labels.goal])
    settings = [(kind, strength) for kind in kinds for strength in STRENGTHS[kind]]
    shares = {s: np.empty((len(known.embeddings), len(fold)), np.float32) for s in settings}
    for part in np.unique(fold):
        out = fold == part
        seen, told = training_frames(known, labels, ~out)
        for kind, strength in settings:
            head = learned(kind, strength, seen, told)
            for camera, frames in enumerate(known.embeddings):
                shares[kind, strength][camera, out] = values(
                    kind, strength, head, frames[labels.row[out]]
                )
    return TriedGoal(labels, grouping, zero, average_precision(labels.label, zero), shares)


def training_frames(
    known: KnownFrames, labels: GoalLabels, chosen: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """The frames (n, D) of some labels in every camera that has them, and their labels."""
    frames = known.embeddings[:, labels.row[chosen]].reshape(-1, known.embeddings.shape[2])
    label = np.tile(labels.label[chosen], len(known.embeddings))
    there = ~np.isnan(frames).any(axis=1)
    return frames[there], label[there]


def left_out_scores(known: KnownFrames, one: TriedGoal, setting: Setting, blend: float) -> Floats:
    """(n,) scores of a goal's labels by heads that have not seen them."""
    zero = known.scores[:, one.labels.row, one.labels.goal]
    bounds = known.scorer.score_range
    return known.fused(blended(zero, one.shares[setting], np.float32(blend), bounds))


def choose(known: KnownFrames, goals: Sequence[TriedGoal], families: Sequence[str]) -> Choice:
    """The best setting for all goals together, and which of them take it.

    Args:
        known: the labelled frames.
        goals: those that were tried, at least one.
        families: of each of them.
    """
    options = [(setting, blend) for blend in BLENDS for setting in goals[0].shares]
    found = np.array([_precisions(known, goals, setting, blend) for setting, blend in options])
    means = found.mean(axis=1)
    best = int(np.flatnonzero(means > means.max() - _SAME)[0])  # of equals, the least blend
    (kind, strength), blend = options[best]
    gains = found[best] - np.array([goal.zero_shot_ap for goal in goals])
    return Choice(
        kind, strength, blend, tuple(found[best].tolist()), tuple(reasons(gains, families))
    )


def reasons(gains: NDArray[np.float64], families: Sequence[str]) -> Iterator[Reason | None]:
    """Why each goal takes the head; None: it keeps its zero-shot score.

    Args:
        gains: (n,) of average precision by the head.
        families: (n,) of each goal.
    """
    of_family = np.asarray(families, object)
    gaining = {family: _gains(gains[of_family == family]) for family in dict.fromkeys(families)}
    for gain, family in zip(gains.tolist(), families, strict=True):
        if gain > GAIN:
            yield "goal"
        else:
            yield "family" if gaining[family] and gain >= 0 else None


def _gains(gains: NDArray[np.float64]) -> bool:
    """Whether the goals of one family gain by more than chance."""
    if len(gains) < 2:
        return False
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > max(GAIN, ERRORS * error))


def _precisions(
    known: KnownFrames, goals: Sequence[TriedGoal], setting: Setting, blend: float
) -> list[float]:
    scores = (left_out_scores(known, goal, setting, blend) for goal in goals)
    return [average_precision(g.labels.label, s) for g, s in zip(goals, scores, strict=True)]
