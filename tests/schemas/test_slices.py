"""Planning of slices against the properties that workers rely on."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from schemas.errors import StoreError
from schemas.slices import Run, Slice, TableFile, cut_runs, plan_slices, subtract

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


# --- parts


def episodes(runs: Iterable[Run]) -> list[tuple[int, int]]:
    return [(run.shard, index) for run in runs for index in range(run.start, run.stop)]


@st.composite
def parts(draw: st.DrawFn) -> tuple[list[int], list[Run], list[Run]]:
    """Shard lengths, a part, and a larger part."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
    total = sum(lengths)
    low, start, stop, high = sorted(draw(st.integers(0, total)) for _ in range(4))
    return lengths, list(runs_of(lengths, start, stop)), list(runs_of(lengths, low, high))


def runs_of(lengths: list[int], start: int, stop: int) -> Iterator[Run]:
    first = 0
    for shard, length in enumerate(lengths):
        low, high = max(start - first, 0), min(stop - first, length)
        if low < high:
            yield Run("train", shard, low, high)
        first += length


@given(parts(), st.integers(1, 5))
def test_a_part_is_cut_where_the_whole_is(
    told: tuple[list[int], list[Run], list[Run]], most: int
) -> None:
    lengths, part, _ = told
    by_shard = {("train", shard): length for shard, length in enumerate(lengths)}
    cut = cut_runs(part, by_shard, most)
    assert episodes(cut) == episodes(part)
    assert all(0 < run.stop - run.start <= most for run in cut)
    whole = cut_runs(list(runs_of(lengths, 0, sum(lengths))), by_shard, most)
    borders = {(run.shard, run.start) for run in whole}
    ends = {(run.shard, run.start) for run in part}
    assert {(run.shard, run.start) for run in cut} <= borders | ends
    assert len(cut) <= len(whole)


@given(parts(), st.integers(1, 5))
def test_a_growth_keeps_every_slice_and_adds_what_is_missing(
    told: tuple[list[int], list[Run], list[Run]], most: int
) -> None:
    lengths, part, larger = told
    by_shard = {("train", shard): length for shard, length in enumerate(lengths)}
    before = cut_runs(part, by_shard, most)
    after = cut_runs(larger, by_shard, most, before)
    assert set(before) <= set(after)
    assert episodes(after) == episodes(larger)
    assert after == sorted(after)
    assert cut_runs(larger, by_shard, most, after) == after


@given(parts())
def test_subtracting_is_the_difference_of_sets(
    told: tuple[list[int], list[Run], list[Run]],
) -> None:
    _, part, larger = told
    left = subtract(larger, part)
    assert episodes(left) == [e for e in episodes(larger) if e not in set(episodes(part))]
    assert subtract(part, larger) == []


def test_names_sort_as_the_plan_does() -> None:
    runs = [Run("test", 9, 0, 5), Run("train", 0, 9, 10), Run("train", 0, 100, 101),
            Run("train", 2, 0, 1), Run("train", 10, 0, 1), Run("val", 0, 0, 1)]  # fmt: skip
    names = [Slice(0, 1, r.split, r.shard, r.start, r.stop).name for r in runs]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
