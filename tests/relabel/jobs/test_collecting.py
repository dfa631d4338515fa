"""How often Python looks for garbage, while jobs run and after them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from relabel.jobs.collecting import CollectingRarely


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def test_all_is_as_it_was_after_jobs_that_overlap(thresholds: tuple[int, int, int]) -> None:
    first, second = CollectingRarely(), CollectingRarely()
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert gc.get_threshold() == (50_000, *thresholds[1:])
    second.__exit__()
    assert gc.get_threshold() == thresholds


def test_a_job_that_fails_leaves_nothing_behind(thresholds: tuple[int, int, int]) -> None:
    @CollectingRarely()
    def job() -> None:
        raise KeyError(gc.get_threshold()[0])

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(job).exception() for _ in range(20)]
    assert {type(error) for error in found} == {KeyError}
    assert gc.get_threshold() == thresholds


def test_what_the_user_has_turned_off_stays_off() -> None:
    gc.set_threshold(0, 5, 5)
    with CollectingRarely():
        assert gc.get_threshold() == (0, 5, 5)
    gc.set_threshold(90_000, 5, 5)
    with CollectingRarely():
        assert gc.get_threshold() == (90_000, 5, 5)
