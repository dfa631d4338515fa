"""Planning of slices against the properties that workers rely on."""

from __future__ import annotations

import dataclasses
import pickle

import hypothesis.strategies as st
import pytest
from hypothesis import given

from schemas.errors import StoreError
from schemas.slices import Slice, TableFile, plan_slices

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([5, 2], 3, [(0, 0, 3), (0, 3, 5), (1, 0, 2)]),
        ([10], 4, [(0, 0, 4), (0, 4, 7), (0, 7, 10)]),
        ([2, 0, 1], 9, [(0, 0, 2), (2, 0, 1)]),
        ([3], 1, [(0, 0, 1), (0, 1, 2), (0, 2, 3)]),
    ],
)
def test_slices_of_known_shards(
    lengths: list[int], most: int, expected: list[tuple[int, int, int]]
) -> None:
    plan = plan_slices("train", lengths, most)
    assert [(s.shard, s.start, s.stop) for s in plan] == expected


@given(LENGTHS.filter(any), st.integers(1, 50))
def test_every_episode_is_in_one_slice_in_order(lengths: list[int], most: int) -> None:
    plan = plan_slices("train", lengths, most)
    planned = [(s.shard, e) for s in plan for e in range(s.start, s.stop)]
    assert planned == [(shard, e) for shard, n in enumerate(lengths) for e in range(n)]
    assert [s.index for s in plan] == list(range(len(plan)))
    assert {(s.count, s.split) for s in plan} == {(len(plan), "train")}


@given(LENGTHS.filter(any), st.integers(1, 50))
def test_slices_are_bounded_few_and_balanced(lengths: list[int], most: int) -> None:
    plan = plan_slices("train", lengths, most)
    for shard, length in enumerate(lengths):
        sizes = [s.stop - s.start for s in plan if s.shard == shard]
        assert all(1 <= size <= most for size in sizes)
        assert len(sizes) == -(-length // most), "no more slices than needed"
        assert not sizes or max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("most", [0, -1])
def test_a_bound_below_one_is_refused(most: int) -> None:
    with pytest.raises(StoreError, match=f"expected at least 1, got {most}"):
        plan_slices("train", [3], most)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_episode_is_refused(lengths: list[int]) -> None:
    with pytest.raises(StoreError, match="split 'val': expected at least one episode"):
        plan_slices("val", lengths, 3)


def test_names() -> None:
    piece = Slice(index=3, count=16, split="train", shard=1, start=20, stop=40)
    assert piece.name == "slice-train-00001-000020-000040"
    assert piece.file == "slice-train-00001-000020-000040.parquet"
    assert dataclasses.replace(piece, numbered=True).name == "slice-00003-of-00016"
    assert piece.episode_id(21) == "train/1/21"


def test_files_are_added_and_travel() -> None:
    piece = Slice(index=0, count=1, split="train", shard=0, start=0, stop=1)
    one, two = (
        TableFile(table=t, file=piece.file, rows=1, bytes=2, sha256="ab") for t in ("steps", "x")
    )
    full = piece.with_files(one).with_files(two)
    assert piece.files == ()
    assert full.files == (one, two)
    assert pickle.loads(pickle.dumps(full)) == full
