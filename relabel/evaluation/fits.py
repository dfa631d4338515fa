"""The methods of `calibrate`: from counted labels and the store's scores to thresholds per goal.

platt       a probability by one slope and a shift per goal
isotonic    a rising curve for goals with many labels, else as platt
best-f1     the threshold with the best F1 among the labels
precision   the lowest threshold above which enough of the labels say yes
quantile    without labels: so many episodes succeed
valley      without labels: where scores are rare
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation import thresholds
from relabel.evaluation.distribution import Distribution
from relabel.evaluation.platt import Platt, fit_platt
from relabel.evaluation.tally import Drawn, Tally, weights
from relabel.evaluation.thresholds import Bools, Places
from relabel.rewards.calibrated import Knot, through
from relabel.rewards.curves import sigmoid

Doubles = NDArray[np.float64]
Method = Literal["platt", "isotonic", "best-f1", "precision", "quantile", "valley"]

UNLABELLED: Final = ("quantile", "valley")
PROBABLE: Final = ("platt", "isotonic")
PRECISE: Final = (*PROBABLE, "precision")  # that are asked for a precision
PRECISION: Final = 0.95  # that they are asked for, unless it is said
DRAWN: Final = "by-score"  # how labelled frames were chosen, unless it is said
MANY: Final = 50  # labels of a goal that may have a curve of its own
OF_EACH: Final = 10  # of these, at least, that say yes, and that say no
OWN: Final = 5  # labels that say yes, from which a goal has a threshold of its own
_ROUNDS: Final = 500  # of the estimate of how often a goal holds
_KNOTS: Final = 100  # of a curve, at most


@dataclass(frozen=True)
class Settings:
    """What a fit is asked for."""

    method: Method = "platt"
    precision: float = PRECISION  # wanted; of platt, isotonic and precision
    success_rate: float | None = None  # share of episodes; of quantile
    drawn: Drawn = DRAWN  # how the labelled frames were chosen
    sampled: bool = True  # labels are a sample of the frames; False: they are all that is asked of


@dataclass(frozen=True, eq=False)
class Fitted:
    """A threshold for every goal, and probabilities if the method has them."""

    distribution: Distribution
    place: Places  # (G,) edge; frames in the bins from there on are rewarded
    reached: Bools  # (G,) whether the wanted precision is reached, where one is wanted
    basis: tuple[str, ...]  # (G,) whose labels tell: of the goal, its family, all, or none
    platt: Platt | None = None
    knots: tuple[tuple[Knot, ...], ...] | None = None  # (G,) of x = z; (): as platt says

    @property
    def betas(self) -> NDArray[np.float32]:
        """(G,) thresholds, as scores."""
        return self.distribution.betas(self.place)

    def probability(self, z: Doubles, goal: int) -> Doubles | None:
        """Of frames of one goal; None if the method tells none."""
        if self.platt is None:
            return None
        if self.knots is not None and self.knots[goal]:
            return through(self.knots[goal], z)
        return self.platt.probability(z, goal)

    @property
    def probabilities(self) -> Doubles | None:
        """(G, B) of the bins."""
        if self.platt is None:
            return None
        return _probabilities(self.platt, self.knots, self.distribution)


def fit(
    settings: Settings, tally: Tally, distribution: Distribution, families: Sequence[str]
) -> Fitted:
    """Fits a method to labels.

    Args:
        settings: the method and what it is asked for.
        tally: labels; those of methods without labels are not looked at.
        distribution: of the store.
        families: (G,) of each goal.
    """
    if settings.method in UNLABELLED:
        return _unlabelled(settings, distribution)
    if settings.method in PROBABLE:
        return _probable(settings, tally, distribution, families)
    standing = tally.weighed(standing_for(settings, tally, distribution, families))
    pooled, basis = _pooled(tally, standing, families)
    if settings.method == "best-f1":
        place = thresholds.by_best_f1(pooled)
        reached = np.ones(len(place), bool)
    else:
        place, reached = thresholds.by_precision(pooled, settings.precision)
    return Fitted(distribution, place, reached, basis)


def standing_for(
    settings: Settings, tally: Tally, distribution: Distribution, families: Sequence[str]
) -> tuple[Doubles, Doubles]:
    """How many frames a label stands for, relative to the average; see `Tally.weighed`."""
    if not settings.sampled or not tally.labels.sum():
        one = np.ones((1, 1))
        return one, one
    if settings.drawn == "by-score":
        return weights(tally, distribution)
    platt = natural(_raw_platt(tally, distribution, families), tally, distribution)
    rate = _rates(platt, distribution)
    share = tally.positives.sum() / tally.labels.sum()
    known = tally.labels > 0
    mean = float(rate[known].mean())
    return np.array([[mean / max(share, 1e-9)]]), np.array([[(1 - mean) / max(1 - share, 1e-9)]])


# --- probabilities ----------------------------------------------------------------------------


def _probable(
    settings: Settings, tally: Tally, distribution: Distribution, families: Sequence[str]
) -> Fitted:
    platt = _raw_platt(tally, distribution, families)
    if settings.sampled and settings.drawn == "by-answer":
        platt = natural(platt, tally, distribution)
    knots = None
    if settings.method == "isotonic":
        standing = tally.weighed(standing_for(settings, tally, distribution, families))
        knots = tuple(
            _curve(tally, standing, goal, distribution) for goal in range(len(tally.labels))
        )
    found = _probabilities(platt, knots, distribution)
    place, reached = thresholds.by_expectation(found, distribution, settings.precision)
    return Fitted(distribution, place, reached, _basis_of_shifts(tally, families), platt, knots)


def _raw_platt(tally: Tally, distribution: Distribution, families: Sequence[str]) -> Platt:
    """Fitted to the labels as they are: a score's log-odds do not change with how often it was
    drawn."""
    parts = [np.nonzero(counts) for counts in (tally.yes, tally.no)]
    goal = np.concatenate([rows for rows, _ in parts])
    z = distribution.centres[np.concatenate([places for _, places in parts])]
    label = np.repeat([True, False], [len(rows) for rows, _ in parts])
    weight = np.concatenate([tally.yes[parts[0]], tally.no[parts[1]]])
    return fit_platt(z, label, goal, families, weight=weight)


def natural(platt: Platt, tally: Tally, distribution: Distribution) -> Platt:
    """A calibration moved from the odds among labels that were chosen by their answer to the odds
    among the store's frames.

    Saerens, Latinne and Decaestecker 2002, *Adjusting the outputs of a classifier to new a priori
    probabilities*: the share of positive frames is the one that the probabilities average to.
    """
    labels = tally.labels.sum()
    share = np.clip(tally.positives.sum() / max(labels, 1), 0.5 / max(labels, 1), None)
    share = min(share, 1 - 0.5 / max(labels, 1))
    odds = float(np.log(share) - np.log1p(-share))
    move, x = 0.0, platt.slope * distribution.centres + platt.shift[:, None]
    total = max(distribution.frames.sum(), 1)
    for _ in range(_ROUNDS):
        rate = float((distribution.frames * sigmoid(x + move)).sum() / total)
        rate = float(np.clip(rate, 1e-9, 1 - 1e-9))
        nearer = float(np.log(rate) - np.log1p(-rate)) - odds
        if abs(nearer - move) < 1e-6:
            break
        move = nearer
    return platt.moved(move)


def _rates(platt: Platt, distribution: Distribution) -> Doubles:
    """(G,) share of the frames of which each goal is expected to hold."""
    p = _probabilities(platt, None, distribution)
    frames = distribution.frames
    return np.asarray((frames * p).sum(axis=1) / np.maximum(frames.sum(axis=1), 1))


def _probabilities(
    platt: Platt, knots: tuple[tuple[Knot, ...], ...] | None, distribution: Distribution
) -> Doubles:
    """(G, B)."""
    z = distribution.centres
    p = sigmoid(platt.slope * z + platt.shift[:, None])
    for goal, own in enumerate(knots or ()):
        if own:
            p[goal] = through(own, z)
    return p


def _curve(
    tally: Tally, standing: Tally, goal: int, distribution: Distribution
) -> tuple[Knot, ...]:
    """The isotonic curve of a goal; () if its labels are too few for one."""
    labels, positives = int(tally.labels[goal]), int(tally.positives[goal])
    if labels < MANY or min(positives, labels - positives) < OF_EACH:
        return ()
    from sklearn.isotonic import IsotonicRegression

    weight = standing.yes[goal] + standing.no[goal]
    there = np.flatnonzero(weight > 0)
    share = standing.yes[goal, there] / weight[there]
    z = distribution.centres[there]
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(z, share, sample_weight=weight[there])
    x, y = fitted.X_thresholds_, fitted.y_thresholds_
    if len(x) > _KNOTS:
        kept = np.unique(np.linspace(0, len(x) - 1, _KNOTS).round().astype(int))
        x, y = x[kept], y[kept]
    return tuple(zip(x.tolist(), y.tolist(), strict=True))


# --- whose labels -----------------------------------------------------------------------------


def _basis_of_shifts(tally: Tally, families: Sequence[str]) -> tuple[str, ...]:
    labels = tally.labels
    with_labels = {family for family, n in zip(families, labels, strict=True) if n}
    rest = "all" if labels.any() else "none"
    return tuple(
        "goal" if n else "family" if family in with_labels else rest
        for family, n in zip(families, labels, strict=True)
    )


def _pooled(
    tally: Tally, standing: Tally, families: Sequence[str]
) -> tuple[Tally, tuple[str, ...]]:
    """Labels that tell of each goal: its own if enough of them say yes, else those of its family,
    else of all goals."""
    names, family = np.unique(np.asarray(families, dtype=object), return_inverse=True)
    positives = tally.positives
    of_family = np.bincount(family, positives, len(names))[family]
    basis = np.where(positives >= OWN, "goal", np.where(of_family >= OWN, "family", "all"))
    if not tally.labels.any():
        basis[:] = "none"
    yes, no = (_shared(counts, family, basis) for counts in (standing.yes, standing.no))
    return Tally(yes, no), tuple(basis.tolist())


def _shared(counts: Doubles, family: NDArray[np.intp], basis: NDArray[np.str_]) -> Doubles:
    found = counts.copy()
    for kind in np.unique(family[basis == "family"]):
        found[(family == kind) & (basis == "family")] = counts[family == kind].sum(axis=0)
    found[basis == "all"] = counts.sum(axis=0)
    return found


def _unlabelled(settings: Settings, distribution: Distribution) -> Fitted:
    goals = len(distribution.frames)
    if settings.method == "quantile":
        rate = 0.0 if settings.success_rate is None else settings.success_rate
        place, reached = thresholds.by_success_rate(distribution, rate), np.ones(goals, bool)
    else:
        place, reached = thresholds.by_valley(distribution)
    return Fitted(distribution, place, reached, ("none",) * goals)
