"""`cosine`: the plain similarity of frame and goal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relabel.rewards.base import COSINES, Binding, Floats, Range, RewardFunction


class Cosine(RewardFunction, name="cosine"):
    """Score and reward: cosine of frame and goal; uses no negatives.

        s = f.g

    with the embeddings f of a frame and g of the goal, both (D,), of unit norm; the baseline
    reward of Rocamonde et al. 2023 (VLM-RM, arXiv 2310.12921), equation 2.
    """

    @property
    def score_range(self) -> Range:
        """Of a cosine."""
        return COSINES

    def bind(self, binding: Binding) -> CosineFormula:
        """For these goals."""
        return CosineFormula(binding.goal_embeddings)


@dataclass(frozen=True, eq=False)
class CosineFormula:
    """f.g, clipped to [-1, 1] because rounded vectors are a little longer than 1."""

    prompts: Floats  # (G, D)

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        np.clip(cosines, -1, 1, out=out)
