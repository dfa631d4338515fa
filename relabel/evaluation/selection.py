"""Which frames are worth a label: those whose answers are expected to tell most about thresholds.

Labels serve to find where the frames that show a goal begin. Positives are rare, so frames drawn
at random are nearly all far below that place. Frames are therefore laid out by their depth, between
the goal's highest score (0) and its lowest (1), half by rank on a logarithmic scale and half by
score:

    depth     0 ──────┬───────┬──────────┬────────── 1
    stratum       0       1        2          3           one question each

Every stratum has the same share of the belief where the threshold lies, which is uniform before
there are labels. In each, a depth is drawn, and a frame near it is asked about.
Earlier labels change the belief: by what they say of the goal itself, and, for half of what was
believed before, by what they say of all goals together. A fifth always stays uniform, so that the
whole range is looked at and a wrong belief is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.rewards.curves import log_odds

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

TOGETHER: Final = 8  # goals that are asked about one frame, if there are others as good
_CELLS: Final = 100  # of the belief, from depth 0 to 1
_UNIFORM: Final = 0.2  # share of the belief that no label changes
_BORROWED: Final = 0.5  # share of what was believed before that comes from all goals
_WIDTH: Final = 0.04  # depth over which answers turn from yes to no
_AROUND: Final = 1 / 8  # of a stratum, to both sides of the depth that is drawn in it
_SLIP: Final = 0.02  # answers that are wrong
_CENTRES: Final[Doubles] = (np.arange(_CELLS) + 0.5) / _CELLS


@dataclass(frozen=True, eq=False)
class Pool:
    """The n frames that may be asked about for one goal, from the highest score down."""

    frame: Ints  # (n,) number of the frame, the same one for every goal
    episode: Ints  # (n,) place of its episode
    score: Doubles  # (n,) falling
    rank: Doubles  # (n,) frames of the goal that score as high, 1 or more; rising
    count: int  # frames of the goal that have a score

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, eq=False)
class Answers:
    """The k frames of one goal that are labelled already."""

    frame: Ints  # (k,) as of Pool; -1: not in the pool
    score: Doubles  # (k,)
    label: NDArray[np.bool_]  # (k,)


NO_ANSWERS: Final = Answers(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))


@dataclass(frozen=True)
class Question:
    """One frame and one goal."""

    goal: int  # place among the goals asked about
    frame: int  # as of Pool
    turn: int  # among the questions of its goal: the first ones spread over all depths
    score: float | None = None  # None: drawn at random
    stratum: int | None = None  # 0: the highest scores
    share: float | None = None  # of the goal's frames that score as high
    gain_bits: float | None = None  # what the answer is expected to tell about the threshold


def choose(
    pool_of: Callable[[int], Pool],
    goals: int,
    frames: int,
    budget: int,
    *,
    probability: bool,
    seed: int = 0,
    answers: Sequence[Answers] | None = None,
) -> list[Question]:
    """Questions that are expected to tell most, one per stratum of each goal.

    Among the frames near a depth, those of an episode that the goal was not asked about come first,
    then those that another goal is asked about already, then chance.

    Args:
        pool_of: the frames of goal 0 … G - 1; called once or twice for each.
        goals: G.
        frames: F; the numbers of frames are below it.
        budget: questions of each goal; fewer where it has not so many frames.
        probability: scores are probabilities, whose distances are those of their log-odds.
        seed: of what is left to chance; equal ones give equal questions.
        answers: earlier labels of each goal; their frames are not asked about again.
    """
    earlier = [NO_ANSWERS] * goals if answers is None else answers
    beliefs = _beliefs(pool_of, earlier, probability)
    asked = np.zeros(frames, np.int64)  # goals that are asked about a frame
    found = []
    for goal in range(goals):
        rng = np.random.default_rng((seed, goal))
        pool = pool_of(goal)
        belief = _UNIFORM / _CELLS + (1 - _UNIFORM) * beliefs[goal]
        depths = depth(pool, probability)
        places = _one_per_stratum(pool, depths, belief, budget, earlier[goal], asked, rng)
        turns = _turns(len(places))
        for turn, (place, stratum) in zip(turns, places, strict=True):
            frame = int(pool.frame[place])
            asked[frame] += 1
            found.append(
                Question(
                    goal,
                    frame,
                    turn,
                    float(pool.score[place]),
                    stratum,
                    float(pool.rank[place] / pool.count),
                    _gain(belief, float(depths[place])),
                )
            )
    return found


def draw(
    pool_of: Callable[[int], Pool],
    goals: int,
    budget: int,
    *,
    seed: int = 0,
    answers: Sequence[Answers] | None = None,
) -> list[Question]:
    """Frames drawn at random, for each goal anew; arguments as of `choose`."""
    found = []
    for goal in range(goals):
        rng = np.random.default_rng((seed, goal))
        frames = pool_of(goal).frame
        if answers is not None:
            frames = np.setdiff1d(frames, answers[goal].frame)
        drawn = rng.permutation(np.sort(frames))[:budget]
        found += [Question(goal, int(frame), turn) for turn, frame in enumerate(drawn)]
    return found


def depth(pool: Pool, probability: bool) -> Doubles:
    """(n,) between 0, the highest score, and 1: half by rank, half by score; rising."""
    if not len(pool):
        return np.empty(0)
    by_rank = np.log(pool.rank) / np.log(max(pool.count, 2))
    values = log_odds(pool.score) if probability else pool.score
    spread = values[0] - values[-1]
    by_score = (values[0] - values) / spread if spread > 0 else by_rank
    return np.asarray(np.clip((by_rank + by_score) / 2, 0, 1))


# --- belief about thresholds ------------------------------------------------------------------


def _beliefs(
    pool_of: Callable[[int], Pool], answers: Sequence[Answers], probability: bool
) -> Doubles:
    """(G, cells) how likely the threshold of each goal lies in each cell of depth."""
    told = np.zeros((len(answers), _CELLS))  # log-likelihoods
    for goal, own in enumerate(answers):
        if len(own.label):
            pool = pool_of(goal)
            if len(pool):
                at = np.interp(-own.score, -pool.score, depth(pool, probability))
                told[goal] = _log_likelihood(at, own.label)
    own_view = _normal(np.exp(told - told.max(axis=1, keepdims=True)))
    labelled = [goal for goal, own in enumerate(answers) if len(own.label)]
    uniform = np.full(_CELLS, 1 / _CELLS)
    common = own_view[labelled].mean(axis=0) if labelled else uniform
    return _normal((_BORROWED * common + (1 - _BORROWED) * uniform) * own_view)


def _yes(at: Doubles) -> Doubles:
    """(k, cells) how likely a frame at a depth shows the goal, if the threshold is at a cell."""
    rising = 1 / (1 + np.exp(-(_CENTRES - at[:, None]) / _WIDTH))
    return np.asarray(_SLIP + (1 - 2 * _SLIP) * rising)


def _log_likelihood(at: Doubles, label: NDArray[np.bool_]) -> Doubles:
    yes = _yes(at)
    return np.asarray(np.log(np.where(label[:, None], yes, 1 - yes)).sum(axis=0))


def _gain(belief: Doubles, at: float) -> float:
    """Mutual information, in bits, of the threshold and the answer at a depth."""
    yes = _yes(np.array([at]))[0]
    return float(_entropy(belief @ yes) - belief @ _entropy(yes))


def _entropy(value: Doubles) -> Doubles:
    return np.asarray(-(value * np.log2(value) + (1 - value) * np.log2(1 - value)))


def _normal(rows: Doubles) -> Doubles:
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


# --- strata -----------------------------------------------------------------------------------


def _one_per_stratum(
    pool: Pool,
    depths: Doubles,
    belief: Doubles,
    budget: int,
    answers: Answers,
    asked: Ints,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """Places in the pool, each with its stratum; at most `budget`."""
    free = ~np.isin(pool.frame, answers.frame)
    seen = pool.episode[~free].tolist()
    cumulative = np.concatenate([[0], np.cumsum(belief)])
    edges = np.interp(
        np.arange(budget + 1) / budget, cumulative / cumulative[-1], np.linspace(0, 1, _CELLS + 1)
    )
    found: list[tuple[int, int]] = []
    for stratum in range(min(budget, int(free.sum()))):
        inside = _around(depths, free, edges[stratum], edges[stratum + 1], rng)
        place = _preferred(pool, rng.permutation(inside), seen, asked)
        found.append((place, stratum))
        free[place] = False
        seen.append(int(pool.episode[place]))
    return found


def _around(
    depths: Doubles, free: NDArray[np.bool_], low: float, high: float, rng: np.random.Generator
) -> Ints:
    """Places about a depth that is drawn between two, since by chance most frames lie deep."""
    at, width = rng.uniform(low, high), _AROUND * (high - low)
    ends = (max(low, at - width), min(high, at + width))
    first, last = np.searchsorted(depths, ends[0]), np.searchsorted(depths, ends[1], "right")
    places = np.arange(first, last)
    places = places[free[places]]
    if len(places):
        return places
    others = np.flatnonzero(free)
    return others[[int(np.abs(depths[others] - at).argmin())]]


def _preferred(pool: Pool, places: Ints, seen: Sequence[int], asked: Ints) -> int:
    """The first of the best places: not crowded, of a new episode, shared; in this order."""
    others = asked[pool.frame[places]]
    shared, crowded = others > 0, others >= TOGETHER
    cost = 4 * crowded + 2 * np.isin(pool.episode[places], seen) - shared.astype(np.int64)
    return int(places[cost.argmin()])


def _turns(count: int) -> list[int]:
    """The turn of each stratum: halves first, then quarters, so that few turns cover all depths."""
    order = sorted(range(count), key=lambda stratum: _reversed(stratum, count))
    return [order.index(stratum) for stratum in range(count)]


def _reversed(stratum: int, count: int) -> int:
    bits = max(1, (count - 1).bit_length())
    return int(format(stratum, f"0{bits}b")[::-1], 2)
