"""`goal-baseline`: closeness to the goal along the line that leads to it from a baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from relabel.goals.readings import SAME_DISTANCE
from relabel.rewards.base import COSINES, Binding, Floats, Range, RewardFunction, listed
from schemas.errors import GoalError


class GoalBaseline(RewardFunction, name="goal-baseline"):
    """Score and reward: closeness to the goal, mostly along the line from baseline to goal.

        s = 1 - 1/2 || alpha proj_L(f) + (1 - alpha) f - g ||^2

    with the embeddings f of a frame and g of the goal, both (D,), of unit norm, and L the line
    through g and the embedding b of the goal's baseline; Rocamonde et al. 2023, VLM-RM, arXiv
    2310.12921, definition 1.
    """

    alpha: float = Field(  # 0: plain cosine; 1: only the position on the line counts
        0.5, ge=0, le=1, description="a number in [0, 1]"
    )

    @property
    def score_range(self) -> Range:
        """Of a cosine."""
        return COSINES

    def bind(self, binding: Binding) -> GoalBaselineFormula:
        """For these goals and their baselines.

        Raises:
            GoalError: a goal without a baseline, or one that the encoder cannot tell from it.
        """
        return goal_baseline_formula(self.name, binding, self.alpha)


@dataclass(frozen=True, eq=False)
class GoalBaselineFormula:
    """1 - 1/2 ||alpha proj_L(f) + (1 - alpha) f - g||^2.

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


def goal_baseline_formula(
    name: str, binding: Binding, alpha: float, norms: Floats | None = None
) -> GoalBaselineFormula:
    """Binds `GoalBaselineFormula` to the goals' baselines.

    Args:
        name: of the reward function, for error texts.
        binding: goals, prompts and encoder.
        alpha: of the formula.
        norms: (P,) that the prompts are brought to; None: they stay of unit length.

    Raises:
        GoalError: a goal without a baseline, or one that the encoder cannot tell from it.
    """
    goals, prompts, points = binding.goals.goals, binding.prompts, binding.embeddings
    if prompts.baseline is None:
        without = [g.id for g in goals if g.baseline is None]
        raise GoalError(
            f"reward {name!r}: no baseline for {listed(without)}; give the goal set (or "
            "each of them) a neutral 'baseline', such as 'a robot arm over a table'"
        )
    if norms is not None:
        points = points * norms[:, None]
    goal, baseline = points[prompts.goal], points[prompts.baseline]
    distance = np.linalg.norm(goal.astype(np.float64) - baseline, axis=1)
    close = np.flatnonzero(distance <= SAME_DISTANCE)
    if close.size:
        raise GoalError(
            f"reward {name!r}: the encoder cannot tell the baseline from the goal for "
            f"{listed([goals[i].id for i in close])}, so there is no line between them; "
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
