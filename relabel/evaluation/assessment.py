"""How good thresholds and probabilities are: per goal, per family and for all, with intervals.

Every figure of a threshold or a probability is made of sums over frames, so that a draw of the
bootstrap is one product of how often each episode is drawn with the sums of that episode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from relabel.evaluation.evidence import Evidence, GoalFrames
from relabel.evaluation.metrics import (
    average_precisions,
    centred,
    episode_weights,
    interval,
    mean_of_draws,
)
from relabel.evaluation.ranking import Ranking

Doubles = NDArray[np.float64]

ECE_BINS: Final = 15  # of probabilities, as of `calibration_error`
_CENTRED: Final = ("precision", "recall", "f1", "average_precision")  # draws of means over goals
_CELLS: Final = 1 << 20  # of weights held at once
_WEIGHT, _TRUE, _CLAIMED, _HITS, _SQUARES = range(5)  # sums over frames; then gaps, bin by bin
NAMES: Final = (*("precision", "recall", "f1", "average_precision", "calibration_error", "brier"),)


class Figures(BaseModel):
    """What a threshold and probabilities are worth. None: it has no meaning there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: int
    positives: int
    base_rate: float | None = None  # also the precision of a random reward
    precision: float | None = None  # of the rewarded frames, those that are true
    recall: float | None = None  # of the true frames, those that are rewarded
    f1: float | None = None
    average_precision: float | None = None
    random_average_precision: float | None = None  # of a random score, expected
    calibration_error: float | None = None
    brier: float | None = None
    # 95 %, of episodes drawn with replacement:
    intervals: dict[str, tuple[float, float]] = {}


class Summary(BaseModel):
    """Figures of several goals: the mean over goals, and of all their frames together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    goals: int
    macro: Figures  # means over the goals for which a figure has a meaning
    pooled: Figures


class Assessment(BaseModel):
    """Figures of all goals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    goals: tuple[Figures, ...]  # in the order of the goals
    families: dict[str, Summary]
    all: Summary


@dataclass(frozen=True, eq=False)
class Judged:
    """Some frames of one goal, and what is said of them."""

    frames: GoalFrames  # n
    reward: NDArray[np.bool_]  # (n,)
    probability: Doubles | None  # (n,); None: nothing is said
    weight: Doubles  # (n,) how many frames each stands for


Judge = Callable[[GoalFrames], Judged | None]


def assess(
    evidence: Evidence, judges: Sequence[Judge | None], *, draws: int, seed: int = 0
) -> list[Assessment | None]:
    """Goes through the evidence once.

    Args:
        evidence: goal by goal.
        judges: each says something of a goal's frames, or of some of them; None: nothing.
        draws: of episodes, for the intervals; 0: there are none.
        seed: of the draws.

    Returns:
        Figures by each of the judges.
    """
    drawn = episode_weights(len(evidence.episode_ids), draws, seed)
    makers = [None if judge is None else _Maker(evidence.families, drawn) for judge in judges]
    for frames in evidence:
        for judge, maker in zip(judges, makers, strict=True):
            if judge is not None and maker is not None:
                maker.add(judge(frames), frames)
    return [None if maker is None else maker.made() for maker in makers]


def random_average_precision(labels: int, positives: int) -> float | None:
    """Of n labels, P of which say yes, in random order: the expected average precision.

    Bestgen 2015, *Exact expected average precision of the random baseline*: with the harmonic
    number H, (P - 1) / (n - 1) + H / n * (n - P) / (n - 1).
    """
    if not positives:
        return None
    if labels == positives:
        return 1.0
    harmonic = float((1 / np.arange(1, labels + 1)).sum())
    return ((positives - 1) + harmonic / labels * (labels - positives)) / (labels - 1)


class _Maker:
    """Adds goal after goal."""

    def __init__(self, families: Sequence[str], drawn: NDArray[np.uint16]) -> None:
        self._families = families
        self._drawn = drawn
        self._sums: list[Doubles] = []  # per goal (1 + B, 5 + bins)
        self._ranks: list[Doubles] = []  # per goal (1 + B,) average precision
        self._random: list[float | None] = []
        self._counts: list[tuple[int, int, bool]] = []  # labels, positives, with probabilities

    def add(self, judged: Judged | None, frames: GoalFrames) -> None:
        """The next goal."""
        if judged is None:
            judged = Judged(frames.select(np.zeros(0, int)), *_nothing())
        own = judged.frames
        self._sums.append(self._resummed(judged))
        self._ranks.append(self._ranking(judged))
        count, positives = len(own), int(own.label.sum())
        self._random.append(random_average_precision(count, positives))
        self._counts.append((count, positives, judged.probability is not None))

    def made(self) -> Assessment:
        """The figures of all that was added."""
        by_family: dict[str, list[int]] = {}
        for goal, family in enumerate(self._families):
            by_family.setdefault(family, []).append(goal)
        values = [self._values(goal) for goal in range(len(self._sums))]
        return Assessment(
            goals=tuple(_figures(v, *self._told([g])) for g, v in enumerate(values)),
            families={name: self._summary(own, values) for name, own in by_family.items()},
            all=self._summary(range(len(values)), values),
        )

    def _resummed(self, judged: Judged) -> Doubles:
        """(1 + B, 5 + bins) sums over the frames: as they are, then of every draw."""
        frames, weight = judged.frames, judged.weight
        if not len(frames):
            return np.zeros((1 + len(self._drawn), 5 + ECE_BINS))
        episodes, place = np.unique(frames.episode, return_inverse=True)
        true, reward = weight * frames.label, weight * judged.reward
        columns = [weight, true, reward, true * judged.reward]
        sums = np.zeros((len(episodes), 5 + ECE_BINS))
        if judged.probability is not None:
            missed = judged.probability - frames.label
            columns.append(weight * missed**2)
            which = np.clip((judged.probability * ECE_BINS).astype(int), 0, ECE_BINS - 1)
            flat = np.bincount(place * ECE_BINS + which, weight * missed, len(sums) * ECE_BINS)
            sums[:, 5:] = flat.reshape(-1, ECE_BINS)
        for at, column in enumerate(columns):
            sums[:, at] = np.bincount(place, column, len(sums))
        drawn = self._drawn[:, episodes].astype(np.float32)
        return np.vstack([sums.sum(axis=0, keepdims=True), drawn @ sums.astype(np.float32)])

    def _ranking(self, judged: Judged) -> Doubles:
        """(1 + B,) average precision; draws are centred."""
        frames, weight = judged.frames, judged.weight
        if not frames.label.any():
            return np.full(1 + len(self._drawn), np.nan)
        if (weight == weight[0]).all():
            ranking = Ranking.of(frames)
            value = np.array(ranking.average_precision)
            return np.append(value, centred(value, ranking.precision_draws(self._drawn)))
        # Frames below every true one do not matter to it.
        rows = frames.score >= frames.score[frames.label].min()
        frames, weight = frames.select(rows), weight[rows]
        size = max(1, _CELLS // len(frames))
        as_they_are = np.ones((1, self._drawn.shape[1]), self._drawn.dtype)
        drawn = np.vstack([as_they_are, self._drawn])
        blocks = (
            drawn[start : start + size, frames.episode] for start in range(0, len(drawn), size)
        )
        columns = (frames.label, frames.score)
        found = [average_precisions(*columns, weight * times) for times in blocks]
        value, *draws = np.concatenate(found)
        return np.append(value, centred(value, np.array(draws)))

    def _values(self, goal: int) -> Doubles:
        """(1 + B, 6) every figure of a goal, in the order of `NAMES`; NaN where it has none."""
        found = _from_sums(self._sums[goal], self._counts[goal][2])
        found[:, NAMES.index("average_precision")] = self._ranks[goal]
        return found

    def _summary(self, goals: Iterable[int], values: Sequence[Doubles]) -> Summary:
        own = list(goals)
        told = self._told(own)
        stacked = np.stack([values[goal] for goal in own])
        known = ~np.isnan(stacked)
        with np.errstate(invalid="ignore"):
            macro = np.nansum(stacked, axis=0) / known.sum(axis=0)
        for column in map(NAMES.index, _CENTRED):
            there = known[:, 0, column]
            of_draws = stacked[there, 1:, column].T
            macro[1:, column] = mean_of_draws(of_draws, stacked[there, 0, column])
        pooled = np.sum([self._sums[goal] for goal in own], axis=0)
        probable = all(self._counts[goal][2] for goal in own if self._counts[goal][0])
        return Summary(
            goals=len(own),
            macro=_figures(macro, *told),
            pooled=_figures(_from_sums(pooled, probable), *told[:3], None),
        )

    def _told(self, goals: Sequence[int]) -> tuple[int, int, float | None, float | None]:
        """Labels, positives, base rate, and the average precision of a random score."""
        weight = sum(float(self._sums[goal][0, _WEIGHT]) for goal in goals)
        true = sum(float(self._sums[goal][0, _TRUE]) for goal in goals)
        random = [r for goal in goals if (r := self._random[goal]) is not None]
        return (
            sum(self._counts[goal][0] for goal in goals),
            sum(self._counts[goal][1] for goal in goals),
            true / weight if weight else None,
            float(np.mean(random)) if random else None,
        )


def _nothing() -> tuple[NDArray[np.bool_], None, Doubles]:
    return np.zeros(0, bool), None, np.zeros(0)


def _from_sums(sums: Doubles, probable: bool) -> Doubles:
    """(1 + B, 6) figures of sums (1 + B, 5 + bins); the average precision is left NaN."""
    weight, true, claimed, hits, squares = sums[:, :5].T
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hits / claimed, hits / true
        f1 = np.where(true > 0, 2 * hits / (claimed + true), np.nan)
        none = np.full_like(weight, np.nan)
        error = np.abs(sums[:, 5:]).sum(axis=1) / weight if probable else none
        brier = squares / weight if probable else none
    return np.stack([precision, recall, f1, none, error, brier], axis=1)


def _figures(
    values: Doubles, labels: int, positives: int, base_rate: float | None, random: float | None
) -> Figures:
    """Of the values of a sample and of its draws."""
    known = {name: float(v) for name, v in zip(NAMES, values[0], strict=True) if np.isfinite(v)}
    draws = {name: interval(values[1:, NAMES.index(name)]) for name in known}
    return Figures(
        labels=labels,
        positives=positives,
        base_rate=base_rate,
        random_average_precision=random,
        **known,
        intervals={name: ends for name, ends in draws.items() if np.isfinite(ends).all()},
    )
