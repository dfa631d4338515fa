"""One reading of a reward set: how its scores order time, and which episodes they put first.

Two questions about whole episodes, whatever a threshold does:

    time order        Kendall's tau-b of score and step, over the frames of an episode up to its
                      first success. A ramp has 1 without having looked at a frame.
    episode ranking   area under the ROC curve (AUC) of the episode's highest score as a sign of
                      its success. A ramp has 0.5 where all frames count: every episode ends as
                      high. Long episodes have high maxima, whatever the score, and a random
                      score shows how much that alone gives.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import Bools, Floats, Ints
from relabel.evaluation.ranking import Doubles
from relabel.evaluation.score_blocks import Block
from relabel.evaluation.successes import UNKNOWN, Successes

PER_GOAL: Final = 100  # successful episodes whose tau is computed, drawn by a seed
_PAIRED: Final = 256  # frames of an episode, at most, whose pairs are counted one by one
_CELLS: Final = 1 << 23


@dataclass(frozen=True, eq=False)
class TimeOrders:
    """Kendall's tau-b of k successful episodes."""

    episode: Ints  # (k,)
    goal: Ints  # (k,)
    tau: Doubles  # (k,) between -1 and 1

    def per_goal(self, goals: int, weights: NDArray[np.generic] | None = None) -> Doubles:
        """Mean tau of each goal: (G,), or in each of (B, E) draws (B, G). NaN without episodes."""
        draws = np.ones((1, int(self.episode.max(initial=0)) + 1)) if weights is None else weights
        found = np.empty((len(draws), goals))
        for place, draw in enumerate(draws):
            own = draw[self.episode].astype(np.float64)
            total = np.bincount(self.goal, own, minlength=goals)
            with np.errstate(invalid="ignore", divide="ignore"):
                found[place] = np.bincount(self.goal, own * self.tau, minlength=goals) / total
        return found[0] if weights is None else found


@dataclass(frozen=True, eq=False)
class WholeEpisodes:
    """What one reading found."""

    highest: Floats  # (E, G) score of the frames that count; NaN without any
    orders: TimeOrders
    sample: Floats  # (S, G) scores of the rows asked for


def read_whole_episodes(
    blocks: Iterable[Block], shape: tuple[int, int], chosen: Successes | None, rows: Ints
) -> WholeEpisodes:
    """Reads the blocks once.

    Args:
        blocks: of a reward set or a control.
        shape: (E, G).
        chosen: the successes whose time order is computed; None: none is.
        rows: (S,) rising rows of the store whose scores are kept.
    """
    highest = np.full(shape, np.nan, np.float32)
    sample = np.full((len(rows), shape[1]), np.nan, np.float32)
    found: list[tuple[int, int, float]] = []
    for block in blocks:
        scores = np.where(block.looked_at[:, None], block.scores, np.nan)
        highest[block.episode] = np.fmax.reduceat(scores, block.starts, axis=0)
        first, last = np.searchsorted(rows, (block.row, block.row + len(block.step)))
        sample[first:last] = block.scores[rows[first:last] - block.row]
        if chosen is not None:
            found.extend(_orders(block, scores, chosen))
    episode, goal, tau = zip(*found, strict=True) if found else ((), (), ())
    orders = TimeOrders(np.array(episode, int), np.array(goal, int), np.array(tau, float))
    return WholeEpisodes(highest, orders, sample)


def chosen_successes(successes: Successes, seed: int, most: int = PER_GOAL) -> Successes:
    """At most `most` successful episodes of each goal, drawn by a seed; the others are unknown.

    An episode that succeeds with its first frame has no order, and is none of them.
    """
    able = successes.first > 0
    rank = np.random.default_rng(seed).permutation(len(able))
    by_rank = able[rank]
    kept = np.zeros_like(able)
    kept[rank] = by_rank & (np.cumsum(by_rank, axis=0, dtype=np.int32) <= most)
    return Successes(np.where(kept, successes.first, UNKNOWN).astype(np.int32), successes.by)


def _orders(block: Block, scores: Floats, chosen: Successes) -> Iterable[tuple[int, int, float]]:
    for episode, start, length in zip(block.episode, block.starts, block.length, strict=True):
        goals = np.flatnonzero(chosen.first[episode] >= 0)
        if len(goals):
            own = scores[start : start + length, goals]
            late = block.step[start : start + length, None] > chosen.first[episode, goals]
            own = own[: int((~late.all(axis=1)).sum())]
            own[late[: len(own)]] = np.nan
            taus = time_orders(own)
            known = np.isfinite(taus)
            yield from zip(
                [int(episode)] * int(known.sum()), goals[known].tolist(), taus[known], strict=True
            )


def time_orders(scores: Floats) -> Doubles:
    """(G,) Kendall's tau-b of row and score; 0 for a score that never changes.

    Of the pairs of rows, concordant minus discordant ones, by the root of all pairs times those of
    different scores. Short episodes are counted pair by pair, many goals at once: SciPy, which is
    asked about long ones, takes most of a millisecond to begin.

    Args:
        scores: (T, G) in order of time; NaN: missing. Fewer than two are there: NaN.
    """
    if len(scores) > _PAIRED:
        return np.array([_tau(column) for column in scores.T])
    earlier, later = np.triu_indices(len(scores), 1)
    change = scores[later] - scores[earlier]
    count = np.isfinite(change).sum(axis=0)
    ordered = (change > 0).sum(axis=0) - (change < 0).sum(axis=0)
    different = (change > 0).sum(axis=0) + (change < 0).sum(axis=0)
    root = np.sqrt(count * different.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count == 0, np.nan, np.where(different == 0, 0, ordered / root))


def _tau(column: Floats) -> float:
    from scipy.stats import kendalltau

    there = np.flatnonzero(np.isfinite(column))
    if len(there) < 2:
        return float("nan")
    if (column[there] == column[there[0]]).all():
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(kendalltau(there, column[there]).statistic)


def episode_auc(
    success: Bools, highest: Floats, episode: Ints, weights: NDArray[np.uint16]
) -> tuple[float, Doubles]:
    """Area under the ROC curve of one goal's episodes, ties half; NaN without both kinds.

    Args:
        success: (e,) of the episodes that are known to succeed or fail.
        highest: (e,) their highest scores, finite.
        episode: (e,) their places.
        weights: (B, E) how often each episode is drawn.

    Returns:
        The area, and (B,) in each draw.
    """
    order = np.argsort(highest, kind="stable")
    label, values = success[order], highest[order]
    if label.all() or not label.any():
        return float("nan"), np.full(len(weights), np.nan)
    below = np.searchsorted(values, values[label], "left")
    up_to = np.searchsorted(values, values[label], "right")
    size = max(1, _CELLS // len(order))
    whole = _areas(np.ones((1, len(order)), np.uint16), label, below, up_to)
    parts = [
        _areas(weights[at : at + size, episode[order]], label, below, up_to)
        for at in range(0, len(weights), size)
    ]
    return float(whole[0]), np.concatenate([np.empty(0), *parts])


def _areas(drawn: NDArray[np.uint16], label: Bools, below: Ints, up_to: Ints) -> Doubles:
    """(B,) share of pairs of a success and a failure whose higher score is the success's."""
    failed = np.zeros((len(drawn), len(label) + 1), np.int32)
    np.cumsum(drawn * ~label, axis=1, dtype=np.int32, out=failed[:, 1:])
    own = drawn[:, label].astype(np.float64)
    wins = (own * (failed[:, below] + failed[:, up_to]) / 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(wins / (own.sum(axis=1) * failed[:, -1]))
