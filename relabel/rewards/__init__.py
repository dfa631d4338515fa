"""Vectors to scores and rewards: one file per reward function.

The paper's two equations (Baumli et al. 2023, arXiv 2312.09187) stand in `softmax_threshold`:

    p_t(l) = exp(f.g / tau) / (exp(f.g / tau) + sum over negatives n of exp(f.n / tau))    (1)
    r_t(l) = 1[p_{t+1}(l) > beta]                                                          (2)

(1) is computed by `softmax.SoftmaxFormula`, (2) by `base.above`, and t + 1 comes from
`scorer.Scorer.rewards`, which knows what a frame, an episode and a camera is.

A reward function of your own derives from `RewardFunction`; docs/rewards.md has one.
"""

from relabel.rewards.base import Binding, Formula, RewardFunction
from relabel.rewards.registry import REWARD_FUNCTIONS, parse_reward
from relabel.rewards.scorer import Scorer, bind

__all__ = [
    "REWARD_FUNCTIONS",
    "Binding",
    "Formula",
    "RewardFunction",
    "Scorer",
    "bind",
    "parse_reward",
]
