"""Columns and schemas: NumPy in, Parquet, NumPy out."""

from __future__ import annotations

import io
import json
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from schemas import fields
from schemas.errors import StoreError
from schemas.tables import (
    DEAD_LETTER_SCHEMA,
    FieldSpec,
    column,
    embedding_schema,
    episodes_schema,
    flags,
    key_columns,
    matrix,
    metadata_row,
    reward_schema,
    steps_schema,
    vectors,
)

NUMBERS = ["float16", "float32", "float64", *(f"{s}int{b}" for s in ("", "u") for b in (8, 16, 32))]


def tensor(dtype: str, *shape: int | None) -> FieldSpec:
    return FieldSpec(name="x", kind="tensor", dtype=dtype, shape=shape)


def through_parquet(array: pa.Array | pa.Table, rows: int = 2) -> pa.Table:
    """The column in row groups of two, written and read."""
    table = array if isinstance(array, pa.Table) else pa.table({"x": array})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows)
    return pq.read_table(io.BytesIO(sink.getvalue()))


def back(spec: FieldSpec, values: Any) -> list[Any]:
    return through_parquet(column(spec, values)).column("x").to_pylist()


@pytest.mark.parametrize("dtype", [*NUMBERS, "int64", "uint64", "bool"])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_numbers_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    values = (np.arange(5 * int(np.prod(shape))) % 2 * 3).reshape(5, *shape).astype(dtype)
    spec = tensor(dtype, *shape)
    stored = through_parquet(column(spec, values)).column("x")
    assert stored.type == spec.arrow_type
    assert stored.to_pylist() == (values.reshape(5, -1) if shape else values).tolist()


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int8", "float32", "float64"])
def test_extreme_numbers_come_back(dtype: str) -> None:
    info = np.finfo(dtype) if dtype.startswith("f") else np.iinfo(dtype)
    values = np.array([[info.min, info.max]], dtype)
    assert back(tensor(dtype, 2), values) == values.tolist()


def test_text_and_bytes_come_back() -> None:
    text = FieldSpec(name="x", kind="text", dtype="object")
    assert back(text, ["", "é", "日本"]) == ["", "é", "日本"]
    image = FieldSpec(name="x", kind="image", dtype="object")
    assert back(image, [b"\x00\xff", b""]) == [b"\x00\xff", b""]
    words = np.array([[b"a", b"\xff"], [b"", b"b"]], object)
    assert back(tensor("object", 2), words) == words.tolist()
    assert back(tensor("object"), np.array([b"a", b""], object)) == [b"a", b""]


@pytest.mark.parametrize("dtype", ["int64", "float16", "float32", "bool", "object"])
def test_open_lengths_come_back(dtype: str) -> None:
    one = np.array([b"a"] if dtype == "object" else [1], dtype)
    values = [np.zeros(0, dtype), np.repeat(one, 3), one]
    assert back(tensor(dtype, None), values) == [v.tolist() for v in values]
    assert back(tensor(dtype, None), [[], one]) == [[], one.tolist()], "an empty ragged list"


def test_an_open_length_of_pairs_is_flat() -> None:
    values = [np.array([[1, 2], [3, 4]]), np.zeros((0, 2), np.int64)]
    assert back(tensor("int64", None, 2), values) == [[1, 2, 3, 4], []]


@pytest.mark.parametrize(
    "spec",
    [tensor("float32"), tensor("float32", 2, 3), tensor("bool", 2), tensor("object", 2),
     tensor("int64", None), FieldSpec(name="x", kind="text", dtype="object")],
)  # fmt: skip
def test_an_empty_episode_has_columns_of_the_same_type(spec: FieldSpec) -> None:
    empty: Any = np.zeros((0, *spec.shape), spec.dtype) if None not in spec.shape else []
    array = column(spec, [] if spec.kind == "text" else empty)
    assert len(array) == 0
    assert array.type == spec.arrow_type


@settings(max_examples=60)
@given(st.data())
def test_any_tensor_comes_back(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([*NUMBERS, "bool"]))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    values = data.draw(hnp.arrays(dtype, shape))
    stored = through_parquet(column(tensor(dtype, *shape[1:]), values)).column("x")
    flat = stored.combine_chunks()
    inner = flat.flatten() if len(shape) > 1 else flat
    numbers = inner.to_numpy(zero_copy_only=False).astype(dtype).reshape(shape)
    np.testing.assert_array_equal(numbers, values)


def test_a_value_that_is_not_utf8_is_refused() -> None:
    spec = FieldSpec(name="x", kind="text", dtype="object")
    with pytest.raises((pa.ArrowInvalid, UnicodeDecodeError)):
        column(spec, [b"caf\xe9"])


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (tensor("float32", None, None), "more than one open length"),
        (tensor("float32", 0, 3), "holds no value"),
        (tensor("complex64"), "dtype complex64 has no Arrow type"),
        (tensor("float32", None, 3), None),
        (tensor("uint64", 2), None),
    ],
)
def test_what_cannot_be_a_column_says_why(spec: FieldSpec, text: str | None) -> None:
    assert (spec.problem is None) if text is None else (text in str(spec.problem))


# --- vectors and matrices


@pytest.mark.parametrize("value", [pa.float16(), pa.float32(), pa.uint8()])
@pytest.mark.parametrize("missing", [[], [0], [2, 3], [0, 1, 2, 3, 4]])
def test_rows_with_gaps_survive_parquet(value: pa.DataType, missing: list[int]) -> None:
    rows = np.eye(5, 3)
    rows[missing] = np.nan
    stored = through_parquet(vectors(rows, value)).column("x")
    assert stored.num_chunks >= 1
    assert stored.type == pa.list_(value, 3)
    assert stored.null_count == 0, "Arrow's reader refuses a null list"
    np.testing.assert_array_equal(matrix(stored), rows)
    for start, stop in ((1, 4), (3, 3), (4, 5)):
        np.testing.assert_array_equal(matrix(stored.slice(start, stop - start)), rows[start:stop])


@settings(max_examples=80)
@given(
    rows=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.one_of(st.just(np.nan), st.floats(-4, 4, width=16)),
    ),
    cut=st.integers(0, 6),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_matrix_is_the_opposite_of_vectors(rows: np.ndarray, cut: int, dtype: str) -> None:
    array = vectors(rows, pa.float16())
    chunked = pa.chunked_array([array.slice(0, cut), array.slice(cut)])
    for stored in (array, chunked):
        out = matrix(stored, dtype)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, rows)


def test_no_rows_have_a_width() -> None:
    empty = vectors(np.zeros((0, 4)), pa.float32())
    assert matrix(empty).shape == (0, 4)
    assert matrix(pa.chunked_array([], empty.type)).shape == (0, 4)
    assert matrix(through_parquet(empty).column("x")).shape == (0, 4)


def test_a_matrix_can_be_written_to() -> None:
    for rows in (np.eye(2), np.array([[1.0, np.nan]])):
        out = matrix(vectors(rows, pa.float32()), "float64")
        out[0, 0] = 5
        assert out[0, 0] == 5


# --- schemas


def test_steps_schema_keeps_shapes() -> None:
    specs = [
        FieldSpec(name="observation.state", kind="tensor", dtype="float32", shape=(2, 3)),
        FieldSpec(name="points", kind="tensor", dtype="int64", shape=(None, 2)),
        FieldSpec(name="note", kind="text", dtype="object"),
        FieldSpec(name="flag", kind="tensor", dtype="bool"),
    ]
    schema = steps_schema(specs)
    assert schema.names == ["episode_id", "step", "observation.state", "points", "note", "flag"]
    assert [field.nullable for field in schema][:2] == [False, False]
    types = [pa.list_(pa.float32(), 6), pa.list_(pa.int64()), pa.string(), pa.bool_()]
    assert [field.type for field in schema][2:] == types
    stored = through_parquet(schema.empty_table()).schema
    for name, shape, dtype in (
        ("observation.state", [2, 3], "float32"), ("points", [None, 2], "int64"),
    ):  # fmt: skip
        metadata = stored.field(name).metadata
        assert json.loads(metadata[fields.SHAPE]) == shape
        assert metadata[fields.DTYPE] == dtype.encode()
    assert fields.SHAPE not in (stored.field("flag").metadata or {})


def test_episodes_schema_prefixes_metadata() -> None:
    spec = FieldSpec(name="file", kind="text", dtype="object")
    assert episodes_schema([spec]).names == [
        "episode_id", "length", "language", "episode_metadata.file",
    ]  # fmt: skip
    assert metadata_row({"file": "a", "other": 1}, [spec]) == {"episode_metadata.file": "a"}
    assert metadata_row({}, [spec]) == {"episode_metadata.file": None}


def test_embedding_and_reward_schemas() -> None:
    assert embedding_schema(4, "float16").field("embedding").type == pa.list_(pa.float16(), 4)
    full = reward_schema(7, binary=True, scores=True)
    assert full.names == ["episode_id", "step", "score", "reward"]
    assert full.field("score").type == pa.list_(pa.float32(), 7)
    assert full.field("reward").type == pa.list_(pa.uint8(), 7)
    lean = reward_schema(7, binary=False, scores=False)
    assert lean.names == ["episode_id", "step", "reward"]
    assert lean.field("reward").type == pa.list_(pa.float32(), 7)


def test_dead_letters_may_lack_step_and_camera() -> None:
    nullable = {field.name for field in DEAD_LETTER_SCHEMA if field.nullable}
    assert nullable == {"step", "camera"}


@given(st.lists(st.integers(0, 5), max_size=8))
def test_keys_count_the_steps_of_each_episode(lengths: list[int]) -> None:
    names = [f"train/0/{i}" for i in range(len(lengths))]
    ids, steps = key_columns(names, lengths)
    assert ids.to_pylist() == [n for n, k in zip(names, lengths, strict=True) for _ in range(k)]
    assert steps.to_pylist() == [t for k in lengths for t in range(k)]
    assert (ids.type, steps.type) == (pa.string(), pa.int32())


@pytest.mark.parametrize(
    "stored",
    [
        pa.array([True, False]),
        pa.array([2.0, 0.0]),
        pa.array([1, 0], pa.int8()),
        pa.array([[True], [False]], pa.list_(pa.bool_(), 1)),  # as format 1.x has them
        pa.chunked_array([[[1.0]], [[0.0]]], pa.list_(pa.float32())),
    ],
)
def test_flags_of_every_form(stored: Any) -> None:
    assert flags(stored).tolist() == [True, False]
    assert flags(stored.slice(1)).tolist() == [False]


def test_flags_of_several_values_are_refused() -> None:
    with pytest.raises(StoreError, match="expected one flag per step, got 4 for 2 steps"):
        flags(pa.array([[1, 0], [0, 0]]))
