"""`potential-difference`: the reward is what an action added to the score."""

from __future__ import annotations

from relabel.rewards.base import Floats, Range
from relabel.rewards.wrapper import Wrapper
from schemas.goals import GoalSet


class PotentialDifference(Wrapper, name="potential-difference"):
    """Score of `of`; reward: what the action added to that score.

        r_t = s_{t+1} - s_t

    The shaping of Ng, Harada and Russell 1999, with the score as potential and no discount.
    Always outermost: smoothing embeddings and differencing scores commute, and one spelling
    per meaning keeps fingerprints comparable. It always looks ahead, whatever the timing
    (`schemas.goal_datasets.effective_timing`).
    """

    @property
    def reward_range(self) -> Range:
        """Width of the score's range, with both signs."""
        low, high = self.score_range
        return (low - high, high - low)

    def thresholds(self, goals: GoalSet) -> None:
        """None: scores are compared with each other."""

    def rewards(self, scores: Floats, before: Floats, thresholds: Floats | None) -> Floats:
        """s_{t+1} - s_t, (T, G)."""
        return scores - before
