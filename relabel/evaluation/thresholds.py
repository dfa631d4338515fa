"""Where to cut: a place among the edges of bins for every goal, by labels or without any.

A place k means that frames in the bins from k on are rewarded; B means that none is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.distribution import Distribution, from_top
from relabel.evaluation.tally import Tally

Doubles = NDArray[np.float64]
Places = NDArray[np.int64]  # (G,) of edges
Bools = NDArray[np.bool_]

MIDDLE: Final = 0.5  # below it, a frame is more likely false than true
_SMOOTH: Final = 0.5  # of z, over which the counts of a valley are smoothed
_DEEP: Final = 1.5  # of a logarithm, so that one or two stray frames make no hill


def by_expectation(
    probability: Doubles, distribution: Distribution, precision: float
) -> tuple[Places, Bools]:
    """The lowest places whose rewarded frames are expected to be true often enough.

    The expected precision above a place is the mean probability of the store's frames there. A
    frame that is more likely false than true is never rewarded.

    Args:
        probability: (G, B) of each bin, rising.
        distribution: of the store.
        precision: that is wanted.

    Returns:
        (G,) places; and (G,) whether a frame of the store lies above. Where none does, the place is
        that of the first bin whose own probability is high enough.
    """
    frames = distribution.above()
    hits = from_top(distribution.frames * probability)
    precise = (hits >= precision * frames) & (frames > 0)
    likely = np.hstack([probability > MIDDLE, np.ones((len(frames), 1), bool)])
    enough = precise & likely
    reached = enough.any(axis=1)
    wanted = np.hstack([probability >= precision, np.ones((len(frames), 1), bool)])
    return np.where(reached, enough.argmax(axis=1), wanted.argmax(axis=1)), reached


def by_best_f1(tally: Tally) -> Places:
    """Places of the best F1 among the labels; of equal ones the highest.

    Goals without a label that says yes are never rewarded.
    """
    claimed, hits = from_top(tally.all), from_top(tally.yes)
    f1 = 2 * hits / np.maximum(claimed + hits[:, :1], 1e-9)
    best = f1.shape[1] - 1 - f1[:, ::-1].argmax(axis=1)
    found = _midway(tally, best)
    return np.where(hits[:, 0] > 0, found, f1.shape[1] - 1)


def by_precision(tally: Tally, precision: float) -> tuple[Places, Bools]:
    """The lowest places above which so many of the labels say yes, and whether there is one."""
    claimed, hits = from_top(tally.all), from_top(tally.yes)
    enough = (hits >= precision * claimed - 1e-9) & (hits > 0)
    reached: Bools = np.asarray(enough.any(axis=1))
    found = _midway(tally, enough.argmax(axis=1))
    return np.where(reached, found, claimed.shape[1] - 1), reached


def _midway(tally: Tally, place: Places) -> Places:
    """Places half-way between the lowest label above each of them and the highest below."""
    there = tally.all > 0
    bins = np.arange(there.shape[1])
    above = np.where(there & (bins >= place[:, None]), bins, there.shape[1]).min(axis=1)
    below = np.where(there & (bins < place[:, None]), bins, -1).max(axis=1)
    middle = (above + below + 1) // 2
    return np.where((above < there.shape[1]) & (below >= 0), middle, place)


def by_success_rate(distribution: Distribution, rate: float) -> Places:
    """Places that this share of the episodes reaches with their best frame, as nearly as can be."""
    reaching = from_top(distribution.episodes).astype(np.float64)
    away = np.abs(reaching - rate * reaching[:, :1])
    return np.asarray(away.shape[1] - 1 - away[:, ::-1].argmin(axis=1))  # of equals the highest


def by_valley(distribution: Distribution) -> tuple[Places, Bools]:
    """Places in the highest valley of each goal's scores, and whether there is one.

    What is looked at is the logarithm of one plus the frames per unit of z, smoothed. A valley
    counts if both of its sides are `_DEEP` higher than its floor. Goals without one get that of all
    goals together, or are never rewarded if there is none either.
    """
    place, found = _valleys(distribution.frames, distribution.edges)
    common, any_found = _valleys(distribution.frames.sum(axis=0)[None], distribution.edges)
    other = common[0] if any_found[0] else distribution.frames.shape[1]
    return np.where(found, place, other), found


def _valleys(frames: NDArray[np.int64], edges: Doubles) -> tuple[Places, Bools]:
    """The highest valley of each row: (G,) the middle of its floor, and whether there is one."""
    width = float(edges[1] - edges[0])
    logs = np.log1p(_smoothed(frames / width, _SMOOTH / width))
    left = np.maximum.accumulate(logs, axis=1)
    right = np.maximum.accumulate(logs[:, ::-1], axis=1)[:, ::-1]
    deep = np.minimum(left, right) - logs >= _DEEP
    places = [_floor(row, own) for row, own in zip(logs, deep, strict=True)]
    return np.array(places, np.int64), np.asarray(deep.any(axis=1))


def _floor(logs: Doubles, deep: Bools) -> int:
    """Of the highest run of deep bins, the middle of the lowest ones; 0 if none is deep."""
    if not deep.any():
        return 0
    stop = int(np.flatnonzero(deep)[-1]) + 1
    start = stop - int(np.argmin(np.append(deep[:stop][::-1], False)))
    run = logs[start:stop]
    return start + int(np.median(np.flatnonzero(run <= run.min() + 1e-9)))


def _smoothed(counts: Doubles, sd: float) -> Doubles:
    """Counts (G, B), each spread as a normal distribution of `sd` bins."""
    reach = int(4 * sd) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sd) ** 2)
    kernel /= kernel.sum()
    rows = [np.convolve(row, kernel, mode="same") for row in counts]
    return np.array(rows)
