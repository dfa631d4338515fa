"""Expectiles, and advantages that become weights of a policy's likelihood."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_LEAST: Final = 1e-8  # of a mean square that is divided by


def expectile_weights(differences: Tensor, expectile: float) -> Tensor:
    """|τ - 1(u < 0)|: weights of squares u² whose minimum is the τ-expectile (Newey & Powell 1987).

    Args:
        differences: u, of a target from the estimate, in any shape.
        expectile: τ in (0, 1); 0.5 is the mean, towards 1 the largest.
    """
    weights: Tensor = torch.where(differences < 0, 1 - expectile, expectile)
    return weights


def advantage_weights(
    advantages: Tensor, weight_temp: float, max_weight: float, *, normalize: bool
) -> Tensor:
    """min(exp(β A), w_max), as AWR has it (Peng et al. 2019, arXiv 1910.00177).

    Args:
        advantages: A, (B, 1).
        weight_temp: β, an inverse temperature; 0 clones.
        max_weight: w_max, of a single transition.
        normalize: divide A by its root mean square over the batch, as MARWIL (Wang et al. 2018):
            β then means the same whatever the scale of the rewards.
    """
    if normalize:
        advantages = advantages / (advantages**2).mean().clamp(min=_LEAST).sqrt()
    return (weight_temp * advantages).exp().clamp(max=max_weight)
