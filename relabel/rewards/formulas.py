"""The formulas of the score: cosines of one frame with prompts in, scores of goals out.

A formula holds the prompt embeddings that it wants frames compared with, so that the scorer
can do all comparisons of a block in one matrix product. f is a frame's embedding, g a goal's.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from relabel.goals.prompts import Prompts
from relabel.goals.readings import SAME_DISTANCE
from schemas.errors import GoalError
from schemas.goals import GoalSet

SAFE_SUM: Final = np.float32(1e-20)  # of shifted exponentials; below it float32 loses digits
MASK_RATE: Final = 250  # multiply-adds in a matrix product at the price of one exponential
CALL_PRICE: Final = 25  # of one more group, in exponentials per frame

Floats = NDArray[np.float32]
Index = slice | NDArray[np.int64]


class Formula(Protocol):
    """Scores of G goals from the cosines with C prompts."""

    @property
    def prompts(self) -> Floats:
        """(C, D) unit-norm embeddings that frames are compared with."""

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """Fills `out` (n, G) from `cosines` (n, C), which hold no NaN."""


@dataclass(frozen=True, eq=False)
class CosineFormula:
    """f.g, clipped to [-1, 1] because rounded vectors are a little longer than 1."""

    prompts: Floats  # (G, D)

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        np.clip(cosines, -1, 1, out=out)


@dataclass(frozen=True, eq=False)
class SigmoidFormula:
    """sigma(scale * f.g + bias) (Zhai et al. 2023, SigLIP, arXiv 2303.15343, algorithm 1)."""

    prompts: Floats  # (G, D)
    scale: np.float32
    bias: np.float32

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        logits = cosines * self.scale + self.bias
        decay = np.exp(-np.abs(logits))  # at most 1, so neither tail overflows
        np.divide(np.where(logits >= 0, np.float32(1), decay), 1 + decay, out=out)


@dataclass(frozen=True, eq=False)
class GoalBaselineFormula:
    """1 - 1/2 ||alpha proj_L(f) + (1 - alpha) f - g||^2 (VLM-RM, arXiv 2310.12921, def. 1).

    L is the line through goal g and baseline b. Let u = f - g, d = ||g - b|| and c be the
    component of u along L. What alpha leaves of u is c along L and (1 - alpha) of the rest,
    so the squared norm is keep ||u||^2 + (1 - keep) c^2 with keep = (1 - alpha)^2. For a unit
    f, ||u||^2 = 1 + ||g||^2 - 2 f.g and c = (f.g - f.b) / d - (||g||^2 - g.b) / d. If g and b
    have unit length as well, the last term is d / 2.
    """

    prompts: Floats  # (G + baselines, D); of any length
    baseline: NDArray[np.int64]  # (G,) column of each goal's baseline
    distance: Floats  # (G,) d
    offset: Floats  # (G,) (||g||^2 - g.b) / d
    middle: Floats  # (G,) (1 + ||g||^2) / 2
    alpha: float

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        keep = np.float32((1 - self.alpha) ** 2)
        goal = cosines[:, : len(self.baseline)]
        along = (goal - cosines[:, self.baseline]) / self.distance - self.offset
        np.subtract(1, keep * (self.middle - goal), out=out)
        out -= (1 - keep) / 2 * along**2
        np.clip(out, -1, 1, out=out)


@dataclass(frozen=True, eq=False)
class SoftmaxFormula:
    """p = exp(f.g / tau) / sum over the goal and its negatives (arXiv 2312.09187, eq. 1)."""

    prompts: Floats  # (C, D)
    groups: tuple[_Group, ...]  # every goal is in one

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        for group in self.groups:
            out[:, group.places] = group.probabilities(cosines)


@dataclass(frozen=True, eq=False)
class _Group:
    """Goals of one temperature whose candidates overlap: one exponential per prompt."""

    goals: NDArray[np.int64]  # (g,) goals of this group
    columns: NDArray[np.int64]  # (c,) prompts, the union of the goals' candidates
    own: NDArray[np.int64]  # (g,) place of each goal's own prompt among the columns
    members: Floats | None  # (c, g) 1 where a column is a candidate of a goal; None: all are
    scale: np.float32  # 1 / temperature

    @cached_property
    def places(self) -> Index:
        """Where the group's goals are among all."""
        return _run(self.goals)

    @cached_property
    def _candidates(self) -> Index:
        return _run(self.columns)

    @cached_property
    def _own(self) -> Index:
        return _run(self.own)

    def probabilities(self, cosines: Floats) -> Floats:
        """(n, g) from the cosines (n, C) with all prompts."""
        weights = _exponentials(cosines[:, self._candidates], self.scale)
        own = weights[:, self._own]
        if self.members is None:
            return np.asarray(own / weights.sum(axis=1, keepdims=True))  # sum >= 1: the largest
        total = weights @ self.members
        p = np.asarray(own / np.maximum(total, SAFE_SUM))
        for j in np.flatnonzero((total < SAFE_SUM).any(axis=0)):
            rows = np.flatnonzero(total[:, j] < SAFE_SUM)
            p[rows, j] = self._single(self.members[:, j] > 0, j).probabilities(cosines[rows])[:, 0]
        return p

    def _single(self, candidates: NDArray[np.bool_], j: np.intp) -> _Group:
        """The j-th goal alone, for frames whose largest cosine is far above its candidates'."""
        own = np.cumsum(candidates)[self.own[j : j + 1]] - 1
        return _Group(self.goals[j : j + 1], self.columns[candidates], own, None, self.scale)


def _exponentials(cosines: Floats, scale: np.float32) -> Floats:
    """(n, c) exp(cosine / tau), each row divided by its largest."""
    shifted = np.subtract(cosines, cosines.max(axis=1, keepdims=True))
    shifted *= scale
    return np.asarray(np.exp(shifted, out=shifted))


def _run(index: NDArray[np.int64]) -> Index:
    """The same index, as a slice where it is one contiguous run: a view instead of a copy."""
    contiguous = bool((np.diff(index) == 1).all())
    return slice(int(index[0]), int(index[-1]) + 1) if contiguous else index


def goal_baseline_formula(
    name: str,
    goals: GoalSet,
    prompts: Prompts,
    embeddings: Floats,
    alpha: float,
    norms: Floats | None = None,
) -> GoalBaselineFormula:
    """Binds `GoalBaselineFormula` to the goals' baselines.

    Args:
        name: of the reward function, for error texts.
        goals: the goal set.
        prompts: its prompts.
        embeddings: (P, D) of the prompts, unit norm.
        alpha: of the formula.
        norms: (P,) that the prompts are brought to; None: they stay of unit length.

    Raises:
        GoalError: a goal without a baseline, or one that the encoder cannot tell from it.
    """
    if prompts.baseline is None:
        without = [g.id for g in goals.goals if g.baseline is None]
        raise GoalError(
            f"reward {name!r}: no baseline for {_listed(without)}; give the goal set (or "
            "each of them) a neutral 'baseline', such as 'a robot arm over a table'"
        )
    points = embeddings if norms is None else embeddings * norms[:, None]
    goal, baseline = points[prompts.goal], points[prompts.baseline]
    distance = np.linalg.norm(goal.astype(np.float64) - baseline, axis=1)
    close = np.flatnonzero(distance <= SAME_DISTANCE)
    if close.size:
        raise GoalError(
            f"reward {name!r}: the encoder cannot tell the baseline from the goal for "
            f"{_listed([goals.goals[i].id for i in close])}, so there is no line between them; "
            "describe the scene without the goal instead"
        )
    used, column = np.unique(prompts.baseline, return_inverse=True)
    square = np.ones(len(goal)) if norms is None else norms[prompts.goal].astype(np.float64) ** 2
    offset = distance / 2
    if norms is not None:
        offset = (square - np.einsum("gd,gd->g", goal, baseline, dtype=np.float64)) / distance
    return GoalBaselineFormula(
        prompts=np.concatenate([goal, points[used]]),
        baseline=column + len(goal),
        distance=distance.astype(np.float32),
        offset=offset.astype(np.float32),
        middle=((1 + square) / 2).astype(np.float32),
        alpha=alpha,
    )


def softmax_formula(
    goals: GoalSet, prompts: Prompts, embeddings: Floats, temperature: NDArray[np.float64]
) -> SoftmaxFormula:
    """Binds `SoftmaxFormula` to the goals' negatives, at a temperature (G,) per goal.

    Raises:
        GoalError: a goal without negatives.
    """
    lonely = [g.id for g, n in zip(goals.goals, prompts.negatives, strict=True) if not n.size]
    if lonely:
        why = f" ({prompts.notes[0]})" if prompts.notes else ""
        raise GoalError(
            f"a softmax reward compares a goal with negatives: none for {_listed(lonely)}{why}; "
            "give the goal set null_prompts, such as 'an empty room', or the goals negatives"
        )
    used = np.unique(np.concatenate([prompts.goal, *prompts.negatives]))
    own = np.searchsorted(used, prompts.goal)
    candidates = [
        np.searchsorted(used, np.union1d(goal, negatives))
        for goal, negatives in zip(prompts.goal, prompts.negatives, strict=True)
    ]
    families: dict[tuple[float, str], list[int]] = defaultdict(list)
    for i, goal in enumerate(goals.goals):
        families[float(temperature[i]), goal.family].append(i)
    groups = [
        group
        for (tau, _), members in families.items()
        for group in _groups(members, own, candidates, tau)
    ]
    return SoftmaxFormula(embeddings[used], tuple(groups))


def _groups(
    goals: list[int], own: NDArray[np.int64], candidates: list[NDArray[np.int64]], tau: float
) -> list[_Group]:
    """Groups of equal candidates, or one group with a mask where that is less work."""
    equal: dict[bytes, list[int]] = defaultdict(list)
    for i in goals:
        equal[hashlib.sha256(candidates[i].tobytes()).digest()].append(i)
    union = np.unique(np.concatenate([candidates[same[0]] for same in equal.values()]))
    separate = sum(len(candidates[same[0]]) + CALL_PRICE for same in equal.values())
    masked = len(union) * (1 + len(goals) / MASK_RATE) + CALL_PRICE
    if len(equal) == 1 or separate <= masked:
        return [_group(same, own, candidates[same[0]], None, tau) for same in equal.values()]
    members = [np.isin(union, candidates[i]) for i in goals]
    return [_group(goals, own, union, np.stack(members, axis=1).astype(np.float32), tau)]


def _group(
    goals: list[int],
    own: NDArray[np.int64],
    columns: NDArray[np.int64],
    members: Floats | None,
    tau: float,
) -> _Group:
    scale = np.float32(min(1 / tau, 1e37))  # beyond, the product with a cosine overflows
    index = np.array(goals, dtype=np.int64)
    return _Group(index, columns, np.searchsorted(columns, own[index]), members, scale)


def _listed(ids: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return f"goals {', '.join(ids[:limit])}{more}" if len(ids) > 1 else f"goal {ids[0]}"
