"""Columns of the steps table as numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from schemas.tables import Array, matrix


def components(column: pa.ChunkedArray) -> Array:
    """(T, N) float64 of a numeric column: scalars or fixed-size lists; (T, 0) of any other."""
    type_ = column.type
    if pa.types.is_fixed_size_list(type_) and is_number(type_.value_type):
        return matrix(column, "float64")
    if is_number(type_):
        values: Array = column.to_numpy().astype(np.float64)
        return values.reshape(-1, 1)
    return np.zeros((len(column), 0))


def is_number(type_: pa.DataType) -> bool:
    """Whether a value of this type can be counted with; false and true are 0 and 1."""
    of_numbers = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
    return any(test(type_) for test in of_numbers)
