"""`probability`: the paper's score as a dense reward."""

from __future__ import annotations

from relabel.rewards.softmax import Softmax


class Probability(Softmax, name="probability"):
    """Score and reward: probability of the goal among its negatives.

        p_t(l) = exp(f.g / tau) / (exp(f.g / tau) + sum over n in N(l) of exp(f.n / tau))

    Equation 1 of Baumli et al. 2023 (arXiv 2312.09187) without a threshold; computed by
    `relabel.rewards.softmax`, where the symbols are explained.
    """
