"""The probability of a goal among its negatives: equation 1 of the paper, and its fast form.

    p_t(l) = exp(f.g / tau) / (exp(f.g / tau) + sum over n in N(l) of exp(f.n / tau))

f is the embedding of frame t, g that of goal l, n those of its negatives N(l), all of unit
norm (Baumli et al. 2023, *Vision-Language Models as a Source of Rewards*, arXiv 2312.09187).

Goals of one family are compared with much the same prompts, so one exponential per prompt is
shared by all of them. `tests/relabel/oracle.py` has the formula as it stands above, and tests
compare the two.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from relabel.rewards.base import PROBABILITIES, Binding, Floats, Range, RewardFunction
from relabel.rewards.constants import logit_scale
from schemas.encoders import EncoderSpec
from schemas.goals import GoalSet

SAFE_SUM: Final = np.float32(1e-20)  # of shifted exponentials; below it float32 loses digits
MASK_RATE: Final = 250  # multiply-adds in a matrix product at the price of one exponential
CALL_PRICE: Final = 25  # of one more group, in exponentials per frame

Index = slice | NDArray[np.int64]


class Softmax(RewardFunction):
    """What the reward functions with this score have in common."""

    temperature: float | None = Field(  # tau; None: 1 / logit_scale of the encoder
        None, gt=0, allow_inf_nan=False, description="a finite number > 0"
    )

    @property
    def score_range(self) -> Range:
        """Of a probability."""
        return PROBABILITIES

    def resolved(self, spec: EncoderSpec) -> Self:
        """With a temperature."""
        if self.temperature is not None:
            return self
        return self.model_copy(update={"temperature": 1 / logit_scale(self, spec, "temperature")})

    def temperatures(self, goals: GoalSet) -> NDArray[np.float64]:
        """(G,) the goal's own, where it has one."""
        own = [goal.temperature for goal in goals.goals]
        return np.array([self.temperature if t is None else t for t in own], dtype=np.float64)

    def bind(self, binding: Binding) -> SoftmaxFormula:
        """Equation 1 for these goals.

        Raises:
            GoalError: a goal without negatives.
        """
        return softmax_formula(binding, self.temperatures(binding.goals))


@dataclass(frozen=True, eq=False)
class SoftmaxFormula:
    """Equation 1, group of goals by group."""

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


def softmax_formula(binding: Binding, temperature: NDArray[np.float64]) -> SoftmaxFormula:
    """Binds `SoftmaxFormula` to the goals' negatives, at a temperature (G,) per goal.

    Raises:
        GoalError: a goal without negatives.
    """
    prompts, negatives = binding.prompts, binding.negatives("a softmax reward")
    used = np.unique(np.concatenate([prompts.goal, *negatives]))
    own = np.searchsorted(used, prompts.goal)
    candidates = [
        np.searchsorted(used, np.union1d(goal, others))
        for goal, others in zip(prompts.goal, negatives, strict=True)
    ]
    families: dict[tuple[float, str], list[int]] = defaultdict(list)
    for i, goal in enumerate(binding.goals.goals):
        families[float(temperature[i]), goal.family].append(i)
    groups = [
        group
        for (tau, _), members in families.items()
        for group in _groups(members, own, candidates, tau)
    ]
    return SoftmaxFormula(binding.embeddings[used], tuple(groups))


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
