"""Platt's calibration of many goals at once: one slope for all, and a shift per goal.

    P(goal g holds in a frame) = 1 / (1 + exp(-(a z + b_g)))

z tells the score (`relabel.evaluation.scales`): the log-odds of a probability, or a score that is
standardised. Platt 1999, *Probabilistic outputs for support vector machines*, fits a and b by
maximum likelihood for one classifier. Here goals share what they have in common:

    b_g = m + f_family(g) + d_g
    a ~ N(a_0, s_a^2),  m ~ N(0, s_m^2),  f ~ N(0, s_f^2),  d ~ N(0, s_d^2)

The fit is the mode of the posterior (MAP). A goal without labels has the shift of its family, and
one with four labels moves away from it as far as four labels can tell. Since a and m are fitted to
the labels of all goals, they are known well even so, and labels of one class alone, or labels that
a threshold separates, have a finite fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from relabel.rewards.curves import sigmoid

Floats = NDArray[np.float64]

_STEPS: Final = 100  # of Newton's method; some ten are needed
_SMALL: Final = 1e-10  # a step below it is the last


@dataclass(frozen=True)
class Prior:
    """What is believed of a calibration before a label is seen."""

    slope: float = 1.0  # a_0; 1: the score's log-odds are right but for a shift
    slope_sd: float = 1.0  # s_a
    shift_sd: float = 5.0  # s_m, of all goals together
    family_sd: float = 1.0  # s_f
    goal_sd: float = 1.0  # s_d


@dataclass(frozen=True, eq=False)
class Platt:
    """A fitted calibration of G goals."""

    slope: float  # a >= 0
    shift: Floats  # (G,) b_g

    def probability(self, z: Floats, goal: NDArray[np.integer] | int) -> Floats:
        """P(goal holds), of the same shape as `z`.

        Args:
            z: of frames.
            goal: of each, or of all.
        """
        return sigmoid(self.slope * z + self.shift[goal])

    def crossing(self, probability: float) -> Floats:
        """(G,) z at which each goal's probability is the given one.

        Infinite if it is never that high, minus infinite if it is never that low.
        """
        away = np.log(probability) - np.log1p(-probability) - self.shift
        if self.slope > 0:
            return np.asarray(away / self.slope)
        return np.where(away >= 0, np.inf, -np.inf)

    def moved(self, log_odds: float | Floats) -> Platt:
        """The same with other odds of success: `log_odds` is added to every shift."""
        return Platt(self.slope, self.shift + log_odds)


def fit_platt(
    z: Floats,
    label: NDArray[np.bool_],
    goal: NDArray[np.integer],
    families: Sequence[str],
    *,
    weight: Floats | None = None,
    prior: Prior | None = None,
) -> Platt:
    """The calibration that labels of many goals make likeliest.

    Args:
        z: (n,) of the labelled frames; finite. n may be 0.
        label: (n,) whether the goal holds.
        goal: (n,) place of the goal, below G.
        families: (G,) of each goal.
        weight: (n,) how many labels each stands for; None: one.
        prior: what is believed beforehand; None: `Prior()`.

    Returns:
        The fit. Its slope is 0 if the labels say that a higher score makes success less likely:
        no threshold of such a score means anything.

    Example:
        >>> z = np.array([-2.0, 3.0, -1.0, 4.0])
        >>> fit = fit_platt(z, z > 0, np.array([0, 0, 1, 1]), ["open", "open"])
        >>> bool(fit.probability(np.array([4.0]), 0)[0] > 0.9)
        True
    """
    problem = _Problem.of(z, label, goal, families, weight, Prior() if prior is None else prior)
    found = problem.solved()
    if found[0] <= 0:
        problem = problem.without_slope()
        found = problem.solved()
    return Platt(max(float(found[0]), 0.0), problem.shifts(found))


@dataclass(frozen=True, eq=False)
class _Problem:
    """The posterior of theta = (a, m, f_1, ..., f_F, d_1, ..., d_G), up to a constant."""

    z: Floats  # (n,)
    label: Floats  # (n,) 0 or 1
    goal: NDArray[np.integer]  # (n,)
    weight: Floats  # (n,)
    shared: Floats  # (1 + F, G) 1 where m or f is a part of a goal's shift
    start: Floats  # (1 + 1 + F + G,) means of the prior
    precision: Floats  # of the prior

    @classmethod
    def of(
        cls, z: Any, label: Any, goal: Any, families: Sequence[str], weight: Any, prior: Prior
    ) -> _Problem:
        names, family = np.unique(np.asarray(families, dtype=object), return_inverse=True)
        goals, kinds = len(families), len(names)
        spreads = [prior.slope_sd, prior.shift_sd, *[prior.family_sd] * kinds]
        return cls(
            z=np.asarray(z, np.float64),
            label=np.asarray(label, np.float64),
            goal=np.asarray(goal),
            weight=np.ones(len(z)) if weight is None else np.asarray(weight, np.float64),
            shared=np.vstack([np.ones(goals), np.arange(kinds)[:, None] == family.reshape(-1)]),
            start=np.array([prior.slope, *[0.0] * (1 + kinds + goals)]),
            precision=np.array([*spreads, *[prior.goal_sd] * goals]) ** -2.0,
        )

    def without_slope(self) -> _Problem:
        """The same with a = 0."""
        start = np.append(0.0, self.start[1:])
        return replace(self, z=np.zeros_like(self.z), start=start)

    def shifts(self, theta: Floats) -> Floats:
        """(G,) b_g."""
        own = 1 + len(self.shared)
        return np.asarray(theta[1:own] @ self.shared + theta[own:])

    def loss(self, theta: Floats) -> float:
        """Minus the logarithm of the posterior."""
        x = theta[0] * self.z + self.shifts(theta)[self.goal]
        misfit = self.weight * (np.logaddexp(0, x) - self.label * x)
        away = theta - self.start
        return float(misfit.sum() + 0.5 * (self.precision * away**2).sum())

    def solved(self) -> Floats:
        """The mode, by Newton's method with halved steps; the loss is convex."""
        theta = self.start
        loss = self.loss(theta)
        for _ in range(_STEPS):
            step, size = self._newton_step(theta), 1.0
            while (lower := self.loss(theta - size * step)) > loss + 1e-12 and size > _SMALL:
                size /= 2
            theta, loss = theta - size * step, lower
            if np.abs(size * step).max() < _SMALL:
                break
        return theta

    def _newton_step(self, theta: Floats) -> Floats:
        """The Hessian's solution of the gradient.

        Each label bears on one d alone, so that these are eliminated and what is left to solve is
        as large as there are families.
        """
        p = sigmoid(theta[0] * self.z + self.shifts(theta)[self.goal])
        miss, bend = self.weight * (p - self.label), self.weight * p * (1 - p)
        own = 1 + len(self.shared)
        gradient = self.precision * (theta - self.start)
        gradient[0] += (miss * self.z).sum()
        gradient[1:own] += self.shared @ self._sums(miss)
        gradient[own:] += self._sums(miss)
        bends = self._sums(bend)
        across = np.vstack([self._sums(bend * self.z), self.shared * bends])  # (2 + F, G)
        inner = np.diag(self.precision[:own])
        inner[0, 0] += (bend * self.z**2).sum()
        inner[0, 1:] += self.shared @ across[0]
        inner[1:, 0] += self.shared @ across[0]
        inner[1:, 1:] += across[1:] @ self.shared.T
        scaled = across / (bends + self.precision[own:])
        first = np.linalg.solve(inner - scaled @ across.T, gradient[:own] - scaled @ gradient[own:])
        rest = (gradient[own:] - across.T @ first) / (bends + self.precision[own:])
        return np.append(first, rest)

    def _sums(self, values: Floats) -> Floats:
        """(G,) sum over the labels of each goal."""
        return np.asarray(np.bincount(self.goal, values, self.shared.shape[1]))
