"""Scores as calibrations see them: one scale for all goals, on which shifts mean the same.

    a probability p     z = log(p / (1 - p)), its log-odds
    any other score s   z = (s - mean) / sd, of the goal's scores in the store

A temperature or a bias of the encoder stretches and shifts log-odds, and the texts of goals shift
cosines; both are what a slope and a shift per goal take back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from relabel.rewards.base import PROBABILITIES, Range
from relabel.rewards.curves import LIMIT, sigmoid
from relabel.rewards.curves import log_odds as log_odds

Floats = NDArray[np.float64]
Kind = Literal["log-odds", "standard"]


@dataclass(frozen=True, eq=False)
class Scale:
    """From scores of G goals to z, and back."""

    kind: Kind
    mean: Floats  # (G,) of scores; 0 for probabilities
    sd: Floats  # (G,) > 0; 1 for probabilities

    @classmethod
    def of_probabilities(cls, goals: int) -> Scale:
        """Log-odds."""
        return cls("log-odds", np.zeros(goals), np.ones(goals))

    @classmethod
    def standard(cls, mean: Floats, sd: Floats) -> Scale:
        """Standardised scores; a goal whose scores are all the same has z = 0."""
        return cls("standard", mean, np.where(sd > 0, sd, 1.0))

    @property
    def is_of_probabilities(self) -> bool:
        """Whether z is the log-odds of a score."""
        return self.kind == "log-odds"

    def z(self, scores: NDArray[Any], goal: NDArray[np.integer] | int | slice) -> Floats:
        """z of scores, in their shape.

        Args:
            scores: of frames; NaN stays NaN.
            goal: of each, or of all of them; for scores (T, G), slice(None).
        """
        values = np.asarray(scores, np.float64)
        if self.is_of_probabilities:
            return log_odds(values)
        return np.asarray((values - self.mean[goal]) / self.sd[goal])

    def scores(self, z: Floats) -> NDArray[np.float32]:
        """(G,) the score that each goal's z (G,) stands for; infinite z is the end of the scale."""
        if self.is_of_probabilities:
            ends = np.where(z >= LIMIT, 1.0, np.where(z <= -LIMIT, 0.0, sigmoid(z)))
            return ends.astype(np.float32)
        return (self.mean + self.sd * z).astype(np.float32)


def is_probability(score_range: Range) -> bool:
    """Whether scores of a range are taken for probabilities."""
    return tuple(score_range) == PROBABILITIES
