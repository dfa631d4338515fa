"""A reward of your own: `vlm-relabel score ... --reward own_reward:Margin --set scale=4`."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from relabel.rewards import Binding, RewardFunction


@dataclass(frozen=True)
class MarginFormula:
    """tanh(scale (f.g - max over negatives n of f.n)), all of unit norm."""

    prompts: np.ndarray  # (P, D) that frames are compared with
    own: np.ndarray  # (G,) prompt of each goal
    negatives: tuple[np.ndarray, ...]  # per goal, prompts that it is compared with
    scale: float

    def __call__(self, cosines: np.ndarray, out: np.ndarray) -> None:
        """Fills the scores `out` (n, G) of n frames from `cosines` (n, P)."""
        best = np.stack([cosines[:, columns].max(axis=1) for columns in self.negatives], axis=1)
        out[:] = np.tanh(self.scale * (cosines[:, self.own] - best))


class Margin(RewardFunction):
    """Score and reward: the margin to the best negative, between -1 and 1."""

    scale: float = Field(1.0, gt=0, le=100, description="a number above 0, at most 100")

    @property
    def score_range(self) -> tuple[float, float]:
        """What `vlm-relabel verify` holds every score against."""
        return -1.0, 1.0

    def bind(self, binding: Binding) -> MarginFormula:
        """For the goals and the encoder of a job."""
        negatives = binding.negatives(f"reward {self.name!r}")
        return MarginFormula(binding.embeddings, binding.prompts.goal, negatives, self.scale)
