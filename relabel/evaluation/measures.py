"""The measures of one reward set, goal by goal, with the draws of their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import GoalFrames, Ints, Tell
from relabel.evaluation.measured import Measured
from relabel.evaluation.ranking import Doubles, Ranking
from relabel.evaluation.score_blocks import Control, control_scores
from relabel.evaluation.successes import Successes
from relabel.evaluation.whole_episodes import WholeEpisodes, episode_auc

CONTROL_FRAMES: Final = 50_000  # of a goal, at most, that a control is ranked on


@dataclass(frozen=True, eq=False)
class Precision:
    """How well scores rank frames whose truth is known."""

    measured: Measured  # average precision
    curves: Doubles  # (G, R) precision by recall; NaN where no frame is true
    frames: Ints  # (G,) whose truth is known
    positives: Ints  # (G,)
    sampled: int  # goals whose intervals come from a sample of their frames


class PrecisionOf:
    """Gathers goals in the order of the goal axis."""

    def __init__(self, weights: NDArray[np.uint16], seed: int) -> None:
        self._weights, self._seed = weights, seed
        self._values: list[float] = []
        self._draws: list[Doubles] = []
        self._curves: list[Doubles] = []
        self._counts: list[tuple[int, int]] = []
        self._sampled = 0

    def add(self, frames: GoalFrames) -> None:
        """The next goal."""
        ranking = Ranking.of(frames, seed=self._seed)
        self._values.append(ranking.average_precision)
        self._draws.append(ranking.precision_draws(self._weights))
        self._curves.append(ranking.curve())
        self._counts.append((ranking.frames, ranking.positives))
        self._sampled += ranking.is_sampled

    def whole(self) -> Precision:
        """Of all goals."""
        counts = np.array(self._counts, np.int64)
        measured = Measured(np.array(self._values), np.stack(self._draws, axis=1), (0, 1))
        return Precision(
            measured, np.stack(self._curves), counts[:, 0], counts[:, 1], self._sampled
        )


def control_frames(frames: GoalFrames, control: Control, lengths: Ints, seed: int) -> GoalFrames:
    """The frames of a goal with the scores of a control; a sample where they are many.

    Args:
        frames: of one goal.
        control: the scores in place of their own.
        lengths: (E,) frames of each episode.
        seed: of the control, and of the sample.
    """
    own = (seed, frames.goal)
    if len(frames) > CONTROL_FRAMES:
        drawn = np.random.default_rng(own).choice(len(frames), CONTROL_FRAMES, replace=False)
        frames = frames.select(np.sort(drawn))
    share = frames.step / np.maximum(lengths[frames.episode] - 1, 1)
    scores = control_scores(control, share.astype(np.float32), (len(frames),), own)
    columns = (frames.episode, frames.step, scores, frames.label)
    return GoalFrames(frames.goal, frames.goal_id, frames.family, *columns)


def order_measured(found: WholeEpisodes, goals: int, weights: NDArray[np.uint16]) -> Measured:
    """Mean Kendall's tau of score and time in successful episodes."""
    orders = found.orders
    return Measured(orders.per_goal(goals), orders.per_goal(goals, weights), (-1, 1))


def auc_measured(
    found: WholeEpisodes, successes: Successes, weights: NDArray[np.uint16], tell: Tell
) -> Measured:
    """Area under the ROC curve of the episodes' highest scores, as signs of success."""
    goals = found.highest.shape[1]
    values, draws = np.full(goals, np.nan), np.full((len(weights), goals), np.nan)
    for goal in range(goals):
        highest = found.highest[:, goal]
        episode = np.flatnonzero(successes.known[:, goal] & np.isfinite(highest))
        success = successes.happened[episode, goal]
        values[goal], draws[:, goal] = episode_auc(success, highest[episode], episode, weights)
        tell(goal + 1, goals)
    return Measured(values, draws, (0, 1))
