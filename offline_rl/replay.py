"""`GoalConditionedReplayBuffer`: d3rlpy's replay over a goal dataset.

Frames are held once, whatever the number of goals; a batch is gathered by array indexing:

    observation   = frames[row(t)]   ++ goal vector
    next          = frames[row(t+n)] ++ goal vector, zeros after a terminal transition (as d3rlpy)

The goal vector is that of the trajectory's goal or, in hindsight, of a frame that was achieved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, NoReturn, overload

import numpy as np
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import (
    BasicTrajectorySlicer,
    BasicTransitionPicker,
    DatasetInfo,
    Episode,
    MultiStepTransitionPicker,
    PartialTrajectory,
    ReplayBufferBase,
    Signature,
    TrajectoryMiniBatch,
    Transition,
    TransitionMiniBatch,
)
from numpy.typing import NDArray

from offline_rl.gathering import Gatherer
from offline_rl.hindsight import AchievedGoals, GoalMix
from offline_rl.outcomes import Floats, Ints, NStep, Trajectories, returns_to_go
from schemas.errors import StoreError

__all__ = ["GoalConditionedReplayBuffer", "Trajectories"]


class GoalConditionedReplayBuffer(ReplayBufferBase):  # type: ignore[misc]
    """Samples goal-conditioned transitions and trajectories without a loop over them.

    Args:
        frames: (F, D) float32, in memory or memory-mapped.
        actions: (F, A) float32, or (F, 1) integers for a discrete action space.
        trajectories: over the frames.
        goals: (G, E) float32, put behind every observation; None for no goal conditioning.
        action_size: A, or the number of discrete actions.
        seed: of the sampling.
        positive_share: share of each batch drawn from the transitions that reach their goal, by
            the weights of their trajectories; None draws them as they come.
        positives: (N,) which transitions those are; needed for a positive share.
        n_step: steps between an observation and the next one, fewer at a trajectory's end.
        gamma: discount on the way there, and of how far ahead goals are drawn in hindsight.
        hindsight: goals that were achieved; None: only those of the trajectories.

    Raises:
        StoreError: nothing to sample, or a positive share without any positive.
    """

    def __init__(
        self,
        frames: Floats,
        actions: NDArray[Any],
        trajectories: Trajectories,
        goals: Floats | None,
        *,
        action_size: int,
        seed: int = 0,
        positive_share: float | None = None,
        positives: NDArray[np.bool_] | None = None,
        n_step: int = 1,
        gamma: float = 1.0,
        hindsight: AchievedGoals | None = None,
    ) -> None:
        self._frames = frames
        self._actions = actions
        self.trajectories = self._rows = trajectories
        self._goals = goals
        self._goal_width = 0 if goals is None else goals.shape[1]
        self._gatherer = Gatherer(frames, self._goal_width)
        self._ahead = NStep(trajectories, n_step, gamma)
        self.hindsight = hindsight
        self._offset = trajectories.offset
        self._mass = np.cumsum(trajectories.count * trajectories.weight)
        self._mass_before = np.concatenate([[0.0], self._mass[:-1]])
        if not self._mass[-1] > 0:
            raise StoreError("every kind of trajectory has weight 0: nothing can be sampled")
        self._positive_share = positive_share
        self._positives, self._positive_mass = _positives(trajectories, positives)
        if positive_share and not len(self._positives):
            raise StoreError(
                f"--positive-share {positive_share:g}: no transition has a positive reward, "
                "among those that can be drawn, so none can be over-sampled"
            )
        self.rng = np.random.default_rng(seed)
        self._picker = (
            BasicTransitionPicker() if n_step == 1 else MultiStepTransitionPicker(n_step, gamma)
        )
        self._slicer = BasicTrajectorySlicer()
        self._episodes = _Lazy(len(trajectories.first), self.episode)
        self._info = self._describe(action_size)

    # --- sampling

    def sample_transition_batch(self, batch_size: int) -> TransitionMiniBatch:
        """`batch_size` transitions; each observation is (D + E,) float32."""
        row, step = self._draw(batch_size)
        if (achieved := self.hindsight) is None:
            return self.transition_batch(row, step)
        return self._in_hindsight(achieved, achieved.mix, self._ahead.gamma, row, step)

    def sample_batches(self, batch_size: int) -> tuple[TransitionMiniBatch, ...]:
        """Transitions to learn values from and, in hindsight, again with goals for the policy.

        As in OGBench, the policy is asked for nothing but what a trajectory leads to, and for
        every later frame of it alike.
        """
        if (achieved := self.hindsight) is None:
            return (self.sample_transition_batch(batch_size),)
        row, step = self._draw(batch_size)
        return (
            self._in_hindsight(achieved, achieved.mix, self._ahead.gamma, row, step),
            self._in_hindsight(achieved, achieved.mix.for_policy, None, row, step),
        )

    def _in_hindsight(
        self, achieved: AchievedGoals, mix: GoalMix, gamma: float | None, row: Ints, step: Ints
    ) -> TransitionMiniBatch:
        frame = self._rows.first.take(row) + step
        random = self._by_weight(len(row))
        others = self._rows.first.take(random[0]) + random[1]
        goal_frame = achieved.draw(self.rng, mix, row, frame, (random[0], others), gamma)
        return self.transition_batch(row, step, goal_frame)

    def transition_batch(
        self, row: Ints, step: Ints, goal_frame: Ints | None = None
    ) -> TransitionMiniBatch:
        """The transitions `step` of trajectories `row`.

        Args:
            row: (B,) trajectories.
            step: (B,) transition within each, from 0.
            goal_frame: (B,) frames that are goals in hindsight, -1 for the trajectory's own; None
                for none.
        """
        rows = self._rows
        frame = rows.first.take(row) + step
        outcomes = self._ahead.outcomes(row, step)
        goals = None if self._goals is None else self._goals.take(rows.goal.take(row), axis=0)
        if goal_frame is not None and self.hindsight is not None and goals is not None:
            achieved = self.hindsight
            own = (goal_frame >= 0).nonzero()[0]
            if len(own):
                goals[own] = achieved.embeddings.take(goal_frame[own], axis=0)
                n_step, gamma = self._ahead.n_step, self._ahead.gamma
                found = achieved.outcomes(row[own], frame[own], goal_frame[own], n_step, gamma)
                outcomes = outcomes.replaced(own, found)
        interval, terminal = outcomes.interval, outcomes.terminal
        observations = self._gatherer.pairs(frame, interval, goals)
        actions = self._actions.take(frame, axis=0).astype(np.float32, copy=False)
        # A terminal transition may be the very last frame: there is nothing behind it to read.
        behind = frame + np.where(terminal, 0, interval)
        next_actions = self._actions.take(behind, axis=0).astype(np.float32, copy=False)
        if len(ends := terminal.nonzero()[0]):
            observations[ends, 1] = 0
            next_actions[ends] = 0
        return TransitionMiniBatch(
            observations=observations[:, 0],
            actions=actions,
            rewards=outcomes.reward.reshape(-1, 1),
            next_observations=observations[:, 1],
            next_actions=next_actions,
            terminals=terminal.astype(np.float32).reshape(-1, 1),
            intervals=interval.astype(np.float32).reshape(-1, 1),
            transitions=_Lazy(len(row), lambda i: self._transition(int(row[i]), int(step[i]))),
        )

    def sample_trajectory_batch(self, batch_size: int, length: int) -> TrajectoryMiniBatch:
        """`batch_size` windows of `length` steps, each ending at a sampled transition."""
        row, end = self._draw(batch_size)
        return self.trajectory_batch(row, end, length)

    def trajectory_batch(self, row: Ints, end: Ints, length: int) -> TrajectoryMiniBatch:
        """Windows of trajectories `row` that end with transition `end`, padded in front.

        As d3rlpy's `BasicTrajectorySlicer` cuts them.
        """
        rows = self._rows
        step = end[:, None] - length + 1 + np.arange(length)  # (B, L)
        inside = step >= 0
        known = np.maximum(step, 0)
        frame = rows.first[row][:, None] + known
        goal = np.broadcast_to(rows.goal[row][:, None], frame.shape)
        transition = self._offset[row][:, None] + known
        mask = inside[..., None]
        flat = self._observe(frame.reshape(-1), goal.reshape(-1))
        observations = flat.reshape(*frame.shape, -1) * mask
        last = (step == rows.count[row][:, None] - 1) & rows.terminal[row][:, None]
        return TrajectoryMiniBatch(
            observations=observations.astype(np.float32),
            actions=(self._actions[frame] * mask).astype(np.float32),
            rewards=(rows.rewards[transition][..., None] * mask).astype(np.float32),
            returns_to_go=(self._returns_to_go[transition][..., None] * mask).astype(np.float32),
            terminals=(last & inside)[..., None].astype(np.float32),
            timesteps=np.where(inside, step + 1, 0).astype(np.float32),
            masks=inside.astype(np.float32),
            length=length,
        )

    def _by_weight(self, size: int) -> tuple[Ints, Ints]:
        """(B,) trajectories and (B,) transitions within them, by the weights of their kinds."""
        position = self.rng.random(size) * self._mass[-1]
        row = np.minimum(self._mass.searchsorted(position, "right"), len(self._mass) - 1)
        before, weight = self._mass_before.take(row), self._rows.weight.take(row)
        step = ((position - before) / weight).astype(np.int64)
        # Rounding at a trajectory's very end.
        return row, np.minimum(step, self._rows.count.take(row) - 1)

    def _draw(self, size: int) -> tuple[Ints, Ints]:
        """As `_by_weight`, with the share of positives that was asked for."""
        row, step = self._by_weight(size)
        if self._positive_share:
            chosen = round(self._positive_share * size)
            position = self.rng.random(chosen) * self._positive_mass[-1]
            place = self._positive_mass.searchsorted(position, "right")
            flat = self._positives[np.minimum(place, len(self._positives) - 1)]
            row[:chosen] = np.searchsorted(self._offset, flat, "right") - 1
            step[:chosen] = flat - self._offset[row[:chosen]]
        return row, step

    def _observe(self, frame: Ints, goal: Ints) -> Floats:
        """(n, D + E) for frames (n,) of goals (n,)."""
        values = self._frames[frame]
        return values if self._goals is None else np.hstack([values, self._goals[goal]])

    @property
    def _returns_to_go(self) -> Floats:
        if not hasattr(self, "_to_go"):
            self._to_go = returns_to_go(self._rows)
        return self._to_go

    # --- one at a time, as d3rlpy's scalers and evaluators ask

    def episode(self, row: int) -> Episode:
        """One trajectory as a d3rlpy episode.

        A terminal one has an observation per transition; another one has the frame behind its
        last transition as well, with whatever action is stored there, which d3rlpy never uses
        as a transition of its own.
        """
        rows = self._rows
        terminal, count, offset = bool(rows.terminal[row]), int(rows.count[row]), self._offset[row]
        frame = rows.first[row] + np.arange(count if terminal else count + 1)
        rewards = rows.rewards[offset : offset + count]
        if not terminal:
            rewards = np.append(rewards, np.float32(0))
        return Episode(
            observations=self._observe(frame, np.full(len(frame), rows.goal[row])),
            actions=self._actions[frame],
            rewards=rewards.reshape(-1, 1),
            terminated=terminal,
        )

    def _transition(self, row: int, step: int) -> Transition:
        return self._picker(self.episode(row), step)

    def sample_transition(self) -> Transition:
        """One transition."""
        row, step = self._draw(1)
        return self._transition(int(row[0]), int(step[0]))

    def sample_trajectory(self, length: int) -> PartialTrajectory:
        """One window, padded in front."""
        row, end = self._draw(1)
        return self._slicer(self.episode(int(row[0])), int(end[0]), length)

    # --- what d3rlpy asks of a dataset

    @property
    def episodes(self) -> Sequence[Episode]:
        """The trajectories as d3rlpy episodes, made when looked at."""
        return self._episodes

    def size(self) -> int:
        """Number of trajectories."""
        return len(self._rows.first)

    @property
    def transition_count(self) -> int:
        """Number of transitions of all trajectories."""
        return len(self._rows.rewards)

    @property
    def transition_picker(self) -> BasicTransitionPicker | MultiStepTransitionPicker:
        """How d3rlpy cuts transitions out of `episodes`."""
        return self._picker

    @property
    def trajectory_slicer(self) -> BasicTrajectorySlicer:
        """How d3rlpy cuts windows out of `episodes`."""
        return self._slicer

    @property
    def dataset_info(self) -> DatasetInfo:
        """Shapes, types and the action space."""
        return self._info

    def _describe(self, action_size: int) -> DatasetInfo:
        discrete = self._actions.dtype.kind in "iu"
        width = self._frames.shape[1] + self._goal_width
        return DatasetInfo(
            observation_signature=Signature([np.dtype(np.float32)], [(width,)]),
            action_signature=Signature([self._actions.dtype], [self._actions.shape[1:]]),
            reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
            action_space=ActionSpace.DISCRETE if discrete else ActionSpace.CONTINUOUS,
            action_size=action_size,
        )

    # --- what an offline dataset does not do

    def append(self, observation: Any, action: Any, reward: Any) -> NoReturn:
        """Not possible."""
        _refuse("append")

    def append_episode(self, episode: Any) -> NoReturn:
        """Not possible."""
        _refuse("append_episode")

    def clip_episode(self, terminated: bool) -> NoReturn:
        """Not possible."""
        _refuse("clip_episode")

    def dump(self, f: BinaryIO) -> NoReturn:
        """Not possible: the store is the dump."""
        _refuse("dump")

    @classmethod
    def from_episode_generator(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Not possible."""
        _refuse("from_episode_generator")

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Not possible."""
        _refuse("load")

    @property
    def buffer(self) -> NoReturn:
        """Not possible: there is no list of transitions."""
        _refuse("buffer")


def _refuse(method: str) -> NoReturn:
    raise NotImplementedError(
        f"GoalConditionedReplayBuffer.{method}: the dataset is read-only and lives in a store; "
        "`vlm-relabel build-goals` makes another one"
    )


def _positives(
    rows: Trajectories, positives: NDArray[np.bool_] | None
) -> tuple[Ints, NDArray[np.float64]]:
    """Numbers of the positive transitions that can be drawn, and their weights summed up."""
    if positives is None:
        return np.zeros(0, np.int64), np.zeros(0)
    weight = np.repeat(rows.weight, rows.count)
    found = np.flatnonzero(positives & (weight > 0))
    return found, np.cumsum(weight[found])


class _Lazy(Sequence[Any]):
    """A sequence whose items are made when they are looked at."""

    def __init__(self, length: int, make: Callable[[int], Any]) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._make(index % self._length)
