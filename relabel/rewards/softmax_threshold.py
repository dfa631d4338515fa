"""`softmax-threshold`: the paper's reward, 0 or 1."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from relabel.rewards.base import Floats
from relabel.rewards.softmax import Softmax
from schemas.goals import GoalSet


class SoftmaxThreshold(Softmax, name="softmax-threshold"):
    """Score: probability of the goal among its negatives. Reward: 1 above the threshold.

        p_t(l) = exp(f.g / tau) / (exp(f.g / tau) + sum over n in N(l) of exp(f.n / tau))
        r_t(l) = 1[p_{t+1}(l) > beta]

    with the embeddings f of a frame, g of goal l and n of its negatives N(l); all (D,), of unit
    norm. Baumli et al. 2023, *Vision-Language Models as a Source of Rewards*, arXiv 2312.09187,
    equations 1 and 2. The first is computed by `relabel.rewards.softmax`, the second by
    `relabel.rewards.base.above`.
    """

    threshold: float = Field(0.5, ge=0, le=1, description="a number in [0, 1]")  # beta

    def thresholds(self, goals: GoalSet) -> Floats:
        """(G,) the goal's own, where it has one."""
        own = [goal.threshold for goal in goals.goals]
        return np.array([self.threshold if t is None else t for t in own], dtype=np.float32)
