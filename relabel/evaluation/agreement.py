"""Whether reward sets put frames in the same order, and the frames that they disagree on most."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from relabel.evaluation.evidence import Floats, Ints, Tell
from relabel.evaluation.ranking import Doubles

SAMPLE: Final = 20_000  # frames that agreement is computed from, drawn by a seed
PER_GOAL: Final = 2  # disagreements listed of one goal
APART: Final = 0.1  # of a goal's range of scores, that those of a disputed frame are apart at least


def sampled_rows(frames: int, seed: int, most: int = SAMPLE) -> Ints:
    """(S,) rising rows: all, or `most` of them drawn without replacement."""
    if frames <= most:
        return np.arange(frames)
    return np.sort(np.random.default_rng(seed).choice(frames, most, replace=False))


@dataclass(frozen=True, eq=False)
class Agreement:
    """Of two reward sets, per goal; NaN where one of them never changes."""

    spearman: Doubles  # (G,)
    kendall: Doubles  # (G,) tau-b


def agreement(one: Floats, other: Floats, tell: Tell | None = None) -> Agreement:
    """Rank agreement of the columns of (S, G) scores, over the rows that both score.

    `tell` is told how many goals are done.
    """
    from scipy.stats import kendalltau, spearmanr

    goals = one.shape[1]
    spearman, kendall = np.full(goals, np.nan), np.full(goals, np.nan)
    for goal in range(goals):
        both = np.isfinite(one[:, goal]) & np.isfinite(other[:, goal])
        left, right = one[both, goal], other[both, goal]
        if tell is not None:
            tell(goal + 1, goals)
        if len(left) < 2 or (left == left[0]).all() or (right == right[0]).all():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spearman[goal] = spearmanr(left, right).statistic
            kendall[goal] = kendalltau(left, right, method="asymptotic").statistic
    return Agreement(spearman, kendall)


@dataclass(frozen=True, eq=False)
class Disagreement:
    """A frame that one reward set has near its top, and another far from it."""

    row: int  # of the sample
    goal: int
    ranks: tuple[float, ...]  # per reward set; 1 is the highest score, equal ones share a mean
    scores: tuple[float, ...]
    factor: float  # how many times further from the top the worst rank is than the best


def disagreements(samples: Sequence[Floats], episode: Ints, most: int) -> list[Disagreement]:
    """The frames whose ranks differ by the largest factor, each of another episode or goal.

    A factor looks at the top, where rewards are: rank 3 against 3,000 counts, rank 10,000 against
    13,000 hardly does. It needs no scale, so that any two reward functions can be compared. Frames
    that all sets score alike, each in its own range, are left out, whatever their ranks.

    Args:
        samples: per reward set (S, G) scores of the same frames and goals.
        episode: (S,) places of the frames' episodes.
        most: length of the list; at most `PER_GOAL` of it are of one goal.
    """
    found = []
    for goal in range(samples[0].shape[1]):
        scores = np.stack([sample[:, goal] for sample in samples])
        known = np.flatnonzero(np.isfinite(scores).all(axis=0))
        if len(samples) < 2 or len(known) < 2:
            continue
        found += _of_goal(goal, scores[:, known], known, episode[known])
    found.sort(key=lambda own: (-own.factor, own.goal, own.row))
    return found[:most]


def _of_goal(goal: int, scores: Floats, rows: Ints, episode: Ints) -> list[Disagreement]:
    ranks = np.stack([_from_the_top(own) for own in scores])
    factor = ranks.max(axis=0) / ranks.min(axis=0)
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    within = (scores - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    factor[np.ptp(within, axis=0) < APART] = 1
    found: list[Disagreement] = []
    episodes: set[int] = set()
    for at in np.argsort(-factor, kind="stable"):
        if factor[at] <= 1 or len(found) == PER_GOAL:
            break
        if episode[at] in episodes:
            continue
        episodes.add(episode[at])
        own = (tuple(ranks[:, at].tolist()), tuple(scores[:, at].tolist()))
        found.append(Disagreement(int(rows[at]), goal, *own, float(factor[at])))
    return found


def _from_the_top(values: Floats) -> Doubles:
    from scipy.stats import rankdata

    return np.asarray(rankdata(-values), np.float64)
