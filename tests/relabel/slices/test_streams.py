"""Bounded overlap: order, bounds, errors, and threads that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from relabel.slices.streams import ordered_map, prefetch


class Counted:
    """Numbers from zero, and how many were taken."""

    def __init__(self, stop: int | None = None) -> None:
        self.taken = 0
        self._stop = stop

    def __iter__(self) -> Iterator[int]:
        while self._stop is None or self.taken < self._stop:
            self.taken += 1
            yield self.taken - 1


def settled(counted: Counted) -> int:
    """How many were taken once the producer has come to rest."""
    last, deadline = -1, time.monotonic() + 5
    while last != counted.taken and time.monotonic() < deadline:
        last = counted.taken
        time.sleep(0.03)
    return last


def prefetch_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "prefetch"]


@settings(max_examples=30)
@given(items=st.lists(st.integers(), max_size=20), ahead=st.integers(1, 5))
def test_prefetch_gives_the_same_items_in_order(items: list[int], ahead: int) -> None:
    assert list(prefetch(items, ahead)) == items


@pytest.mark.parametrize("ahead", [1, 3])
def test_prefetch_runs_ahead_but_not_further_than_told(ahead: int) -> None:
    numbers = Counted()
    stream = prefetch(numbers, ahead)
    for received in range(1, 5):
        next(stream)
        # `ahead` wait in the queue and one more is held by the thread.
        assert received + ahead <= settled(numbers) <= received + ahead + 1
    stream.close()


def test_prefetch_starts_nothing_before_it_is_read() -> None:
    numbers = Counted()
    stream = prefetch(numbers, 2)
    assert settled(numbers) == 0
    assert prefetch_threads() == []
    stream.close()


def test_prefetch_raises_the_producers_error_in_its_place() -> None:
    def produce() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("third")

    stream = prefetch(produce(), 5)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(stream)
    assert prefetch_threads() == []


def test_closing_early_stops_the_thread() -> None:
    numbers = Counted()
    stream = prefetch(numbers, 2)
    assert next(stream) == 0
    stream.close()
    assert prefetch_threads() == []
    assert settled(numbers) <= 4


@settings(max_examples=30)
@given(items=st.lists(st.integers(), max_size=30), ahead=st.integers(1, 9))
def test_ordered_map_is_map(items: list[int], ahead: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(ordered_map(lambda n: -n, items, pool, ahead)) == [-n for n in items]


def test_ordered_map_keeps_the_order_of_slow_items() -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.01 if number % 2 == 0 else 0)
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(ordered_map(slow_when_even, range(20), pool, 6)) == list(range(20))


def test_ordered_map_takes_no_more_than_it_may() -> None:
    numbers = Counted()
    with ThreadPoolExecutor(2) as pool:
        stream = ordered_map(str, numbers, pool, 4)
        for received in range(1, 6):
            next(stream)
            assert numbers.taken <= received + 4
        stream.close()


def test_ordered_map_raises_the_error_of_an_item_in_its_place() -> None:
    with ThreadPoolExecutor(2) as pool:
        stream = ordered_map(lambda n: 1 / n, [2, 1, 0, 4], pool, 2)
        assert [next(stream), next(stream)] == [0.5, 1.0]
        with pytest.raises(ZeroDivisionError):
            next(stream)


def test_ordered_map_cancels_what_is_waiting_when_closed() -> None:
    started, go_on = [], threading.Event()

    def work(number: int) -> int:
        started.append(number)
        if number:
            go_on.wait(5)
        return number

    with ThreadPoolExecutor(1) as pool:
        stream = ordered_map(work, range(100), pool, 10)
        assert next(stream) == 0
        stream.close()
        go_on.set()
    assert len(started) <= 2
