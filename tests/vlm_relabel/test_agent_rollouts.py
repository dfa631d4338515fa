"""What `evaluate` says of rollouts that go around in circles."""

from __future__ import annotations

import pytest

from offline_rl.algorithms import ALGORITHMS
from offline_rl.rollouts import EpisodeResult
from vlm_relabel.agent_rollouts import _circles


def rollouts(*, failed: int, stale: int, won: int = 0) -> list[EpisodeResult]:
    """So many that failed, of which so many in circles, and so many that succeeded."""
    ends = [(False, 8)] * stale + [(False, 7)] * (failed - stale) + [(True, 30)] * won
    return [EpisodeResult("a", 0, ok, float(ok), None, 40, stale=steps) for ok, steps in ends]


def test_circles_are_told_with_their_cure() -> None:
    (told,) = _circles(rollouts(failed=10, stale=2, won=5), ALGORITHMS["discrete-gcivl"])
    assert told.startswith("2 of 10 rollouts that failed ended with 8 steps or more")
    assert told.endswith("--temperature may lead it out, such as 0.3")
    (told,) = _circles(rollouts(failed=1200, stale=1100), ALGORITHMS["discrete-bcq"])
    assert told.startswith("1,100 of 1,200")
    assert told.endswith("it goes around in circles")


@pytest.mark.parametrize(
    ("algo", "first"), [("discrete-bc", 0.3), ("discrete-cql", 0.03), ("gcivl", 0.1), ("iql", 0.1)]
)
def test_the_cure_is_of_the_scale_of_what_is_drawn(algo: str, first: float) -> None:
    (told,) = _circles(rollouts(failed=3, stale=3), ALGORITHMS[algo])
    assert told.endswith(f"such as {first}")


@pytest.mark.parametrize(("failed", "stale"), [(0, 0), (10, 1), (6, 1)])
def test_few_circles_are_no_word_worth(failed: int, stale: int) -> None:
    assert _circles(rollouts(failed=failed, stale=stale, won=3), ALGORITHMS["gcivl"]) == []
