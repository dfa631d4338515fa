"""Average precision, its draws and its intervals, against slow and obvious twins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from examples.figures.domains import DOMAINS, Trajectories
from examples.figures.encoders import strangers
from examples.figures.measures import difference, estimate, measured
from examples.figures.writing import shown
from examples.playroom.recipe import Estimate
from relabel.evaluation.metrics import episode_weights

PHONE, PLAYROOM = DOMAINS["phone"], DOMAINS["playroom"]


def _trajectories(
    goals: int, looks: Sequence[bool] = (True, False, True, False, False, True)
) -> Trajectories:
    rng = np.random.default_rng(0)
    lengths = np.array([3, 5, 4, 6, 2, 7])
    count = int(lengths.sum())
    truth = (rng.random((count, goals)) < 0.2).astype(np.uint8)
    return Trajectories(np.zeros((count, 1, 1, 3), np.uint8), truth, lengths, np.array(looks))


@pytest.mark.parametrize("domain", [PHONE, PLAYROOM], ids=lambda domain: domain.name)
def test_average_precision_is_scikit_learns_on_every_part(domain) -> None:
    own = _trajectories(len(domain.seen))
    scores = np.random.default_rng(3).integers(0, 5, own.truth.shape) / 4  # many ties
    found = measured(domain, own, scores, draws=7)
    assert list(found) == list(domain.parts)
    for name, part in domain.parts.items():
        rows = np.repeat(own.known_look, own.lengths)
        rows = {"known": rows, "new": ~rows, "all": rows | True}[part.looks]
        goals = {"seen": domain.seen, "unseen": ~domain.seen, "all": domain.seen | True}[part.goals]
        expected = {
            domain.goals.goals[g].id: average_precision_score(own.truth[rows, g], scores[rows, g])
            for g in np.flatnonzero(goals)
            if own.truth[rows, g].any()
        }
        assert found[name]["average_precision"] == pytest.approx(np.mean([*expected.values()]))
        assert found[name]["by_goal"] == pytest.approx(expected, abs=1e-4)
        assert found[name]["goals"] == len(expected)
        assert found[name]["curve"].shape == (101,)


def test_draws_are_of_whole_episodes() -> None:
    """A draw is the average precision of the episodes, each as often as it is drawn."""
    own = _trajectories(20, looks=[False] * 6)
    scores = np.random.default_rng(4).random(own.truth.shape)
    found = measured(PHONE, own, scores, draws=5)["new-phones"]
    for draw, weights in zip(found["draws"], episode_weights(6, 5), strict=True):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(own.episode == e), int(n)) for e, n in enumerate(weights)]
        )
        known = [g for g in range(20) if own.truth[rows, g].any()]
        each = [average_precision_score(own.truth[rows, g], scores[rows, g]) for g in known]
        assert draw == pytest.approx(np.mean(each), abs=1e-4)


def _of_seeds(values: list[float], spread: float) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, spread, 400)  # of the episodes, the same for all
    return [{"average_precision": v, "draws": (v + noise).tolist()} for v in values]


def test_intervals_cover_seeds_and_episodes() -> None:
    only_episodes = estimate(_of_seeds([0.5, 0.5, 0.5], 0.02))
    both = estimate(_of_seeds([0.4, 0.5, 0.6], 0.02))
    assert only_episodes.value == pytest.approx(0.5)
    assert only_episodes.high - only_episodes.low == pytest.approx(4 * 0.02, rel=0.2)
    assert both.high - both.low > 2 * (only_episodes.high - only_episodes.low)


def test_differences_are_paired_over_episodes() -> None:
    found = difference(_of_seeds([0.6, 0.6], 0.05), _of_seeds([0.5, 0.5], 0.05))
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_estimates_read_well() -> None:
    assert shown(Estimate(0.4314, -0.02, 1.0)) == ".431 (−.020 to 1.000)"
    assert shown(Estimate(-0.0001, -1.5, 0.9999)) == ".000 (−1.500 to 1.000)"


def test_strangers_are_other_goals_of_the_family() -> None:
    families = PLAYROOM.families
    found = strangers(families, 0)
    assert sorted(found) == list(range(len(families)))
    assert all(families[a] == families[b] and a != b for a, b in enumerate(found))
