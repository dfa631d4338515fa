"""Log-odds and probabilities, as calibrations and their rewards reckon with them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# Float32 holds no number between 1 - 2^-24 and 1, so that log-odds beyond are not told apart.
LIMIT: Final = 24 * float(np.log(2))


def log_odds(p: NDArray[Any]) -> Doubles:
    """log(p / (1 - p)), within `LIMIT` of 0; NaN stays NaN."""
    values = np.asarray(p, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(values) - np.log1p(-values), -LIMIT, LIMIT))


def sigmoid(x: Doubles) -> Doubles:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
