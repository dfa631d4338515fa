"""The flags of RLDS: one truth value per step, however a dataset stores it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np

from schemas import fields

FLAGS: Final = (fields.IS_FIRST, fields.IS_LAST, fields.IS_TERMINAL)
FORM: Final = "a flag is one bool, integer or float per step, alone or in a list of one"
_SHAPES: Final = ((), (1,))
_KINDS: Final = "biuf"  # NumPy's: bool, signed, unsigned, float


def flag_problem(dtype: str, shape: tuple[int | None, ...]) -> str | None:
    """Why a feature of this form is no flag; None if it is one.

    Args:
        dtype: NumPy name of the values; "object" for strings.
        shape: of one step's value.
    """
    if shape in _SHAPES and np.dtype(dtype).kind in _KINDS:
        return None
    return f"{FORM}; got {'string' if dtype == 'object' else dtype}{list(shape) if shape else ''}"


def decode_flag(value: Any) -> bool:
    """One step's flag.

    Raises:
        ValueError: it is neither 0 nor 1.
    """
    number = np.asarray(value).reshape(-1)
    if number.size != 1 or number[0] not in (0, 1):
        raise ValueError(f"a flag is 0 or 1, got {number.tolist()}")
    return bool(number[0])


def episode_bounds(steps: Mapping[str, Any], length: int) -> list[tuple[int, int]]:
    """Where the episodes that one record holds begin and end.

    An episode begins at a step that `is_first`, and behind one that `is_last`. A flag that is
    true at every step of a longer record marks nothing.

    Args:
        steps: columns of the record; flags are (T,) bool.
        length: T.

    Returns:
        (start, stop) of each, in order; one pair of (0, T) for a record of one episode.
    """
    begins = _marks(steps, fields.IS_FIRST, length)
    begins[1:] |= _marks(steps, fields.IS_LAST, length)[:-1]
    inner = [int(step) for step in np.flatnonzero(begins) if step]
    return list(pairwise([0, *inner, length]))


def _marks(steps: Mapping[str, Any], name: str, length: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    flags = np.array(steps.get(name, np.zeros(length, bool)), bool)
    return np.zeros(length, bool) if length > 1 and flags.all() else flags
