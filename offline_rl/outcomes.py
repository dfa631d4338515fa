"""What a transition leads to: some steps ahead, what is earned on the way, and whether it ends.

    R_t = Σ_{i<n} γ^i r_{t+i},  then γ^n V(o_{t+n})          n steps, fewer at a trajectory's end

as d3rlpy's `MultiStepTransitionPicker` has it. One step is the transition itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Trajectories:
    """R trajectories over F frames, as arrays; transitions are numbered 0 … N-1 row after row."""

    first: Ints  # (R,) frame of each row's first transition
    count: Ints  # (R,) transitions of each row, at least 1
    goal: Ints  # (R,) row of the goal table
    terminal: Bools  # (R,) whether the last transition ends the task
    weight: NDArray[np.float64]  # (R,) of each transition of the row when sampling; 0: never
    rewards: Floats  # (N,)

    def __post_init__(self) -> None:
        if not len(self.first):
            raise StoreError("the dataset has no trajectory in this split, with these kinds")
        if int(self.count.min()) < 1 or int(self.count.sum()) != len(self.rewards):
            raise StoreError("trajectories and rewards do not fit each other")

    @property
    def offset(self) -> Ints:
        """(R,) number of each row's first transition."""
        return np.cumsum(self.count) - self.count

    @property
    def within(self) -> Ints:
        """(N,) place of each transition in its trajectory."""
        return np.arange(len(self.rewards)) - np.repeat(self.offset, self.count)

    def without_last(self, cut: Bools) -> Trajectories:
        """Those of `cut` (R,) without their last transition; one that has none left is dropped."""
        count = self.count - cut
        left = count > 0
        kept = np.ones(len(self.rewards), bool)
        kept[(self.offset + count)[cut]] = False
        return Trajectories(
            first=self.first[left],
            count=count[left],
            goal=self.goal[left],
            terminal=self.terminal[left],
            weight=self.weight[left],
            rewards=self.rewards[kept],
        )


@dataclass(frozen=True)
class StepsAhead:
    """Of B transitions."""

    reward: Floats  # (B,) earned on the way, discounted
    interval: Ints  # (B,) steps ahead, at least 1
    terminal: Bools  # (B,) whether the task ends there: nothing behind it counts

    def replaced(self, places: Ints, others: StepsAhead) -> StepsAhead:
        """With (C,) other outcomes at (C,) places."""
        reward, interval = self.reward.copy(), self.interval.copy()
        terminal = self.terminal.copy()
        reward[places] = others.reward
        interval[places] = others.interval
        terminal[places] = others.terminal
        return StepsAhead(reward, interval, terminal)


class NStep:
    """StepsAhead n steps ahead, within a trajectory.

    Args:
        rows: the trajectories.
        n_step: n, at least 1.
        gamma: discount on the way, in [0, 1].
    """

    def __init__(self, rows: Trajectories, n_step: int = 1, gamma: float = 1.0) -> None:
        self.n_step = n_step
        self.gamma = gamma
        self._rows = rows
        self._offset = rows.offset
        self._returns = n_step_returns(rows, n_step, gamma)

    def outcomes(self, row: Ints, step: Ints) -> StepsAhead:
        """Of transitions `step` (B,) of trajectories `row` (B,)."""
        left = self._rows.count.take(row) - step
        return StepsAhead(
            reward=self._returns.take(self._offset.take(row) + step),
            interval=np.minimum(left, self.n_step),
            terminal=self._rows.terminal.take(row) & (left <= self.n_step),
        )


def n_step_returns(rows: Trajectories, n_step: int, gamma: float) -> Floats:
    """(N,) Σ_{i<n} γ^i r_{t+i} from each transition, no further than its trajectory goes."""
    if n_step == 1:
        return rows.rewards
    left = np.repeat(rows.offset + rows.count, rows.count) - np.arange(len(rows.rewards))
    total = rows.rewards.astype(np.float64)
    going = np.arange(len(total))
    for ahead in range(1, min(n_step, int(rows.count.max()))):
        going = going[left[going] > ahead]
        total[going] += gamma**ahead * rows.rewards[going + ahead]
    return total.astype(np.float32)


def returns_to_go(rows: Trajectories) -> Floats:
    """(N,) undiscounted sum of a row's rewards from each transition to its end."""
    total = np.cumsum(rows.rewards.astype(np.float64))
    end = np.repeat(total[rows.offset + rows.count - 1], rows.count)
    to_go: Floats = (end - total + rows.rewards).astype(np.float32)
    return to_go
