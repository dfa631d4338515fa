"""Constants that an encoder was trained with, where a reward function needs them."""

from __future__ import annotations

import numpy as np

from relabel.rewards.base import RewardFunction
from schemas.encoders import EncoderSpec
from schemas.errors import RewardError


def logit_scale(function: RewardFunction, spec: EncoderSpec, parameter: str) -> float:
    """The encoder's factor of cosines, > 0.

    Args:
        function: needs it.
        spec: of the encoder.
        parameter: of the function, that would take its place.

    Raises:
        RewardError: the encoder has none.
    """
    if not (np.isfinite(spec.logit_scale) and spec.logit_scale > 0):
        raise RewardError(
            f"reward {function.path!r}: expected encoder {spec.name} to have a logit_scale > 0, "
            f"got {spec.logit_scale}; give the reward a {parameter} of its own"
        )
    return spec.logit_scale
