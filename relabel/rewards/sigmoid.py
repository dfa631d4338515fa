"""`sigmoid`: the pairwise probability of a SigLIP encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field

from relabel.rewards.base import PROBABILITIES, Binding, Floats, Range, RewardFunction
from relabel.rewards.constants import logit_scale
from schemas.encoders import EncoderSpec
from schemas.errors import RewardError


class Sigmoid(RewardFunction, name="sigmoid"):
    """Score and reward: the pairwise probability of a sigmoid-trained (SigLIP) encoder.

        s = 1 / (1 + exp(-(a f.g + b)))

    with the embeddings f of a frame and g of the goal, both (D,), of unit norm; Zhai et al.
    2023, *Sigmoid Loss for Language Image Pre-Training*, arXiv 2303.15343, algorithm 1.
    """

    logit_scale: float | None = Field(  # a; None: the encoder's
        None, gt=0, allow_inf_nan=False, description="a finite number > 0"
    )
    logit_bias: float | None = Field(  # b; None: the encoder's
        None, allow_inf_nan=False, description="a finite number"
    )

    @property
    def score_range(self) -> Range:
        """Of a probability."""
        return PROBABILITIES

    def resolved(self, spec: EncoderSpec) -> Self:
        """With a scale and a bias."""
        found: dict[str, Any] = {}
        if self.logit_scale is None:
            found["logit_scale"] = logit_scale(self, spec, "logit_scale")
        if self.logit_bias is None:
            found["logit_bias"] = _logit_bias(spec)
        return self.model_copy(update=found)

    def bind(self, binding: Binding) -> SigmoidFormula:
        """For these goals."""
        scale, bias = np.float32(self.logit_scale), np.float32(self.logit_bias)
        return SigmoidFormula(binding.goal_embeddings, scale, bias)


@dataclass(frozen=True, eq=False)
class SigmoidFormula:
    """sigma(scale * f.g + bias)."""

    prompts: Floats  # (G, D)
    scale: np.float32
    bias: np.float32

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        logits = cosines * self.scale + self.bias
        decay = np.exp(-np.abs(logits))  # at most 1, so neither tail overflows
        np.divide(np.where(logits >= 0, np.float32(1), decay), 1 + decay, out=out)


def _logit_bias(spec: EncoderSpec) -> float:
    if spec.logit_bias is None:
        raise RewardError(
            f"reward 'sigmoid': encoder {spec.name} has no logit_bias, so it was not trained with "
            "a sigmoid loss; give logit_bias, or use a SigLIP encoder, or softmax-threshold"
        )
    return spec.logit_bias
