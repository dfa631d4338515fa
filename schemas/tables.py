"""Arrow schemas of the tables, and columns made of NumPy arrays.

A table's schema depends on its configuration alone, never on the data, so every slice of
a table has the same one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from schemas import fields
from schemas.errors import StoreError

Array = NDArray[Any]


def numpy_dtype(kind: pa.DataType) -> np.dtype[Any]:
    """The dtype of a column's values as NumPy has them; Arrow's own function needs pandas."""
    dtype: np.dtype[Any] = pa.array([], kind).to_numpy(zero_copy_only=False).dtype
    return dtype


class FieldSpec(BaseModel):
    """One feature of a source, flattened: what a column of the steps table is made from."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    name: str  # dotted path below `steps` or `episode_metadata`: "observation.state"
    kind: Literal["tensor", "text", "image"]
    dtype: str  # NumPy name: "float32", "bool"; "object" for text, images and strings
    shape: tuple[int | None, ...] = ()  # None: a length that differs from step to step
    codes: bool = False  # a text stored as the integers of its UTF-8 bytes

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the column: scalar, fixed-size list, or list when the length varies.

        A text of some shape is a list of phrasings.
        """
        if self.kind == "text":
            return pa.list_(pa.string()) if self.shape else pa.string()
        if self.kind == "image":
            return pa.binary()
        value = pa.binary() if self.dtype == "object" else pa.from_numpy_dtype(self.dtype)
        if not self.shape:
            return value
        if None in self.shape:
            return pa.list_(value)
        return pa.list_(value, int(np.prod([d for d in self.shape if d is not None])))

    @property
    def problem(self) -> str | None:
        """Why this feature cannot be a column; None if it can."""
        if self.shape.count(None) > 1:
            return f"shape {list(self.shape)} has more than one open length"
        if None in self.shape[1:]:
            return f"shape {list(self.shape)} has an open length that is not its first"
        if 0 in self.shape:
            return f"shape {list(self.shape)} holds no value"
        if self.dtype not in _DTYPES:
            return f"dtype {self.dtype} has no Arrow type here"
        return None


_DTYPES = frozenset(
    ["bool", "object", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)

KEYS = (
    pa.field(fields.EPISODE_ID, pa.string(), nullable=False),
    pa.field(fields.STEP, pa.int32(), nullable=False),
)


def steps_schema(columns: Sequence[FieldSpec]) -> pa.Schema:
    """Schema of the steps table: keys, then one column per feature, in source order."""
    return pa.schema([*KEYS, *(_field(column) for column in columns)])


def episodes_schema(metadata: Sequence[FieldSpec]) -> pa.Schema:
    """Schema of the episodes table: id, length, language, then the source's metadata."""
    own = [
        pa.field(fields.EPISODE_ID, pa.string(), nullable=False),
        pa.field(fields.LENGTH, pa.int32(), nullable=False),
        pa.field(fields.LANGUAGE, pa.string()),
    ]
    return pa.schema([*own, *(_field(c, prefix=fields.METADATA_PREFIX) for c in metadata)])


def embedding_schema(dim: int, dtype: str) -> pa.Schema:
    """Schema of an embedding table of `dim` values of float16 or float32 per frame."""
    value = pa.list_(pa.from_numpy_dtype(dtype), dim)
    blank = pa.field(fields.BLANK, pa.bool_())
    return pa.schema([*KEYS, pa.field(fields.EMBEDDING, value), blank])


def reward_schema(goals: int, *, binary: bool, scores: bool) -> pa.Schema:
    """Schema of a reward table.

    Args:
        goals: G, the length of the goal axis.
        binary: rewards are 0 or 1 and stored as uint8, else float32.
        scores: whether the raw score is kept beside the reward.
    """
    score = [pa.field(fields.SCORE, pa.list_(pa.float32(), goals))] if scores else []
    value = pa.uint8() if binary else pa.float32()
    return pa.schema([*KEYS, *score, pa.field(fields.REWARD, pa.list_(value, goals))])


DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field(fields.EPISODE_ID, pa.string(), nullable=False),
        pa.field(fields.STEP, pa.int32()),  # null: the whole episode
        pa.field(fields.SLICE, pa.string(), nullable=False),
        pa.field(fields.STAGE, pa.string(), nullable=False),
        pa.field(fields.CAMERA, pa.string()),
        pa.field(fields.REASON, pa.string(), nullable=False),
    ]
)


def _field(spec: FieldSpec, prefix: str = "") -> pa.Field:
    metadata = {fields.SHAPE: json.dumps(spec.shape), fields.DTYPE: spec.dtype}
    return pa.field(prefix + spec.name, spec.arrow_type, metadata=metadata if spec.shape else None)


def key_columns(episode_ids: Sequence[str], lengths: Sequence[int]) -> list[pa.Array]:
    """The two key columns of whole episodes, in order.

    Args:
        episode_ids: one per episode.
        lengths: frames of each.
    """
    ids = pa.array(episode_ids, pa.string())
    repeats = np.repeat(np.arange(len(lengths)), lengths)
    steps = [np.arange(length, dtype=np.int32) for length in lengths]
    flat = np.concatenate(steps) if steps else np.zeros(0, np.int32)
    return [ids.take(pa.array(repeats)), pa.array(flat)]


def column(spec: FieldSpec, values: Array | Sequence[Any]) -> pa.Array:
    """Arrow column of one feature.

    Args:
        spec: of the feature.
        values: (T, *shape) array; for an open length, T arrays of their own shape.

    Raises:
        pyarrow.ArrowInvalid: values do not fit the type (such as text that is not UTF-8).
    """
    if spec.kind != "tensor" or not spec.shape:
        return pa.array(values, spec.arrow_type)
    if None in spec.shape:
        return pa.array([np.ravel(value) for value in values], spec.arrow_type)
    flat = np.ascontiguousarray(values).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(flat, spec.arrow_type.value_type), spec.arrow_type.list_size
    )


def vectors(values: Array, dtype: pa.DataType) -> pa.Array:
    """Fixed-size lists of the rows of `values`; a NaN becomes a null value.

    A missing row is a list of nulls, not a null list: Arrow's Parquet reader refuses the
    latter ("Expected all lists to be of size=4 but index 10 had size=0").

    Args:
        values: (T, N) floats.
        dtype: Arrow type of one value; uint8 for 0/1 rewards.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    missing = np.isnan(flat)
    if missing.any():
        filled = np.where(missing, 0, flat).astype(numpy_dtype(dtype))
        array = pa.array(filled, dtype, mask=missing)
    else:
        array = pa.array(flat.astype(numpy_dtype(dtype), copy=False), dtype)
    return pa.FixedSizeListArray.from_arrays(array, values.shape[1])


def matrix(
    array: pa.Array | pa.ChunkedArray, dtype: str = "float32", out: Array | None = None
) -> Array:
    """The opposite of `vectors`: (T, N) floats, a null value is NaN.

    Args:
        array: fixed-size lists, none of them null.
        dtype: NumPy name of the float type to return.
        out: (T, N) floats to fill and return instead.
    """
    if out is None:
        out = np.empty((len(array), array.type.list_size), dtype)
    row = 0
    for chunk in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
        _fill_matrix(chunk, out[row : row + len(chunk)])
        row += len(chunk)
    return out


def flags(array: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """(T,) values of a column of flags; stores of format 1.x hold them as the source did.

    Args:
        array: bools or numbers, or lists of one of these.

    Raises:
        StoreError: a list is not of one value.
    """
    values = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        count, values = len(values), pc.list_flatten(values)
        if len(values) != count:
            raise StoreError(f"expected one flag per step, got {len(values)} for {count} steps")
    found: NDArray[np.bool_] = values.to_numpy(zero_copy_only=False) != 0
    return found


def _fill_matrix(chunk: pa.Array, out: Array) -> None:
    size = chunk.type.list_size
    values = chunk.values.slice(chunk.offset * size, len(chunk) * size)
    known = values.fill_null(0) if values.null_count else values
    out[:] = known.to_numpy(zero_copy_only=False).reshape(-1, size)
    if values.null_count:
        out[values.is_null().to_numpy(zero_copy_only=False).reshape(-1, size)] = np.nan


def metadata_row(values: Mapping[str, Any], columns: Sequence[FieldSpec]) -> dict[str, Any]:
    """One episode's metadata as the columns of the episodes table."""
    return {fields.METADATA_PREFIX + c.name: values.get(c.name) for c in columns}
