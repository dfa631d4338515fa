"""`vlm-rm`: the reward model that was published with VLM-RM."""

from __future__ import annotations

from pydantic import Field

from relabel.rewards.base import COSINES, Binding, Range, RewardFunction
from relabel.rewards.goal_baseline import GoalBaselineFormula, goal_baseline_formula
from schemas.errors import RewardError


class VlmRm(RewardFunction, name="vlm-rm"):
    """As goal-baseline, with averages of prompts as they are: shorter than unit vectors.

        s = 1 - 1/2 || alpha proj_L(f) + (1 - alpha) f - g ||^2

    with the embedding f of a frame, (D,), of unit norm, and g and b averages of unit vectors,
    of goal and baseline; the code of Rocamonde et al. 2023, VLM-RM, arXiv 2310.12921.
    """

    alpha: float = Field(0.5, ge=0, le=1, description="a number in [0, 1]")  # as of goal-baseline

    @property
    def score_range(self) -> Range:
        """Of a cosine."""
        return COSINES

    def bind(self, binding: Binding) -> GoalBaselineFormula:
        """For these goals and their baselines.

        Raises:
            GoalError: a goal without a baseline, or one that the encoder cannot tell from it.
            RewardError: no norms.
        """
        if binding.norms is None:
            raise RewardError("reward 'vlm-rm': expected the norms of the prompts, got none")
        return goal_baseline_formula(self.name, binding, self.alpha, binding.norms)
