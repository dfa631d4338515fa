"""Values of options that are one of a few, or a number for each of a few."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

from schemas.enums import Kind
from schemas.errors import AlgorithmError, RunError

_Choice = TypeVar("_Choice", bound=StrEnum)


def choice(kind: type[_Choice], option: str, value: str) -> _Choice:
    """One of the values of an option.

    Raises:
        RunError: it is none of them.
    """
    try:
        return kind(value)
    except ValueError as error:
        raise RunError(f"{option}: expected one of {', '.join(kind)}, got {value!r}") from error


def kind_weights(given: Mapping[str, Any]) -> dict[str, float]:
    """Sampling weights by kind of trajectory, checked.

    Raises:
        AlgorithmError: of no such kind, or below 0.
    """
    if unknown := sorted(set(given) - set(Kind)):
        raise AlgorithmError(
            f"--kind-weight: unknown {', '.join(unknown)}; the known ones are {', '.join(Kind)}"
        )
    wrong = [f"{kind}={weight!r}" for kind, weight in given.items() if not _is_weight(weight)]
    if wrong:
        raise AlgorithmError(f"--kind-weight {', '.join(wrong)}: expected a number of at least 0")
    return {str(kind): float(weight) for kind, weight in given.items()}


def _is_weight(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < np.inf
