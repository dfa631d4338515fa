"""Which trajectories towards which goals one episode holds. Arithmetic only: no store, no Beam.

Transitions 0, …, n-1 of an episode (see `schemas.goal_datasets.transition_count`), and whether
each reaches goal g (`x`: it does, `.`: it does not):

    transition      0   1   2   3   4   5   6   7
    reaches g       .   .   x   x   .   .   x   .

    end_on_success
      achieved      [0      ,  2]                       [0, 3): up to the first success
      hindsight                     [4  ,      6]       [4, 7): from where the goal no
                                                        longer holds to its next success
    otherwise
      achieved      [0                          7]      [0, n): the whole episode
      hindsight                     [4  ,      6]       as above

    a goal g' that no transition reaches
      failed        [0                          7]      [0, n), for a sample of such goals

    commanded: what the episode's language told it to reach, while it told so. A text lies in a
    step, and so does the action that is taken under it; the action at the last step that
    carries the text is the trajectory's last transition, and its outcome the first frame of what
    is told next:

    step            0   1   2   3   4   5   6   7   8
    its text        g   g   g   h   h   h   h   g   g
    commanded
      g             [0      ,2]             [7]     [0, 3) and [7, 8): the last frame
                                                    has no transition
      h                         [3          ,6]     [3, 7)

    With end_on_success such a trajectory, too, ends with the first success within it. It takes the
    place of an achieved, failed or hindsight one of the same goal and range, so none is there
    twice. If `kinds` does not ask for commanded ones, what was told makes no difference.

A trajectory whose range holds a missing reward is not made: whether, and when, its goal was
reached is not known. It is returned apart, so that it can be counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relabel.goals.instructions import Commanded
from schemas.enums import Kind
from schemas.goal_datasets import DatasetOptions

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What is asked of an episode of n transitions, for G goals."""

    id: str
    rewards: NDArray[np.float32]  # (n, G) as to be trained on; NaN: missing
    success: Bools  # (n, G) the transition reaches the goal; False where that is not known
    missing: Bools  # (n, G) the reward is not known
    terminated: bool  # the environment ended with transition n-1
    commands: tuple[Commanded, ...] = ()  # what its language told it, and when


@dataclass(frozen=True)
class Trajectory:
    """Transitions [start, stop) of an episode, towards a goal: a row of the goal dataset."""

    goal: int
    start: int
    stop: int
    kind: Kind
    first_success: int | None  # None: the goal is not reached within it
    terminal: bool  # its last transition ends the task


def episode_trajectories(
    episode: Outcomes, options: DatasetOptions, chosen: Bools
) -> tuple[list[Trajectory], list[Trajectory]]:
    """The trajectories of one episode; see the module's time line.

    Args:
        episode: rewards and successes.
        options: what to make.
        chosen: (G,) goals that trajectories may be towards.

    Returns:
        The trajectories, by goal and start; and those left out for a missing reward.
    """
    if not len(episode.success):
        return [], []
    told = list(_commanded(episode, options, chosen))
    spans = {(one.goal, one.start, one.stop) for one in told}
    others = (*_from_start(episode, options, chosen, spans), *_later(episode, options, chosen))
    found = told + [one for one in others if (one.goal, one.start, one.stop) not in spans]
    found = [one for one in found if one.stop - one.start >= options.min_length]
    found.sort(key=lambda one: (one.goal, one.start, one.stop))
    whole = [not episode.missing[one.start : one.stop, one.goal].any() for one in found]
    kept = [one for one, known in zip(found, whole, strict=True) if known]
    return kept, [one for one, known in zip(found, whole, strict=True) if not known]


def _commanded(episode: Outcomes, options: DatasetOptions, chosen: Bools) -> Iterator[Trajectory]:
    """One trajectory per command, over the transitions whose actions were taken under it."""
    if Kind.COMMANDED not in options.kinds:
        return
    for command in episode.commands:
        stop = min(command.stop, len(episode.success))
        if not chosen[command.goal] or stop <= command.start:
            continue
        hits = np.flatnonzero(episode.success[command.start : stop, command.goal])
        success = command.start + int(hits[0]) if len(hits) else None
        if success is not None and options.end_on_success:
            stop = success + 1
        span = (command.start, stop)
        yield _trajectory(episode, options, command.goal, span, Kind.COMMANDED, success)


def _from_start(
    episode: Outcomes,
    options: DatasetOptions,
    chosen: Bools,
    commanded: Set[tuple[int, int, int]],
) -> Iterator[Trajectory]:
    """Those that begin with the episode: achieved, and failed where no command says the same."""
    whole = len(episode.success)
    reached: Bools = np.logical_or.reduce(episode.success, axis=0)
    achieved = np.flatnonzero(chosen & reached)
    if Kind.ACHIEVED in options.kinds:
        first = episode.success.argmax(axis=0)
        for goal in achieved.tolist():
            success = int(first[goal])
            stop = success + 1 if options.end_on_success else whole
            yield _trajectory(episode, options, goal, (0, stop), Kind.ACHIEVED, success)
    if Kind.FAILED in options.kinds:
        number = max(options.failed_at_least, round(options.failed_per_achieved * len(achieved)))
        there = [goal for goal, *span in commanded if span == [0, whole]]
        possible = chosen & ~reached
        possible[there] = False
        for goal in _sample(np.flatnonzero(possible), number, episode, options.seed):
            yield _trajectory(episode, options, goal, (0, whole), Kind.FAILED, None)


def _sample(goals: NDArray[np.int64], number: int, episode: Outcomes, seed: int) -> list[int]:
    """Some of `goals`, by the seed and the episode's id alone.

    Every goal of the axis draws a number and the lowest win, so that a goal that drops out
    changes no other's luck. The raw stream of PCG64 is fixed for good; the methods of NumPy's
    Generator are not.
    """
    if number >= len(goals):
        return [int(goal) for goal in goals]
    digest = hashlib.sha256(f"{seed}:{episode.id}".encode()).digest()
    generator = np.random.PCG64(int.from_bytes(digest[:16], "big"))
    draws = np.asarray(generator.random_raw(episode.success.shape[1]))
    return [int(goal) for goal in goals[np.argsort(draws[goals], kind="stable")[:number]]]


def _later(episode: Outcomes, options: DatasetOptions, chosen: Bools) -> Iterator[Trajectory]:
    """Hindsight: from the end of one run of successes to the next success."""
    if Kind.HINDSIGHT not in options.kinds:
        return
    before = np.zeros_like(episode.success)
    before[1:] = episode.success[:-1]
    rises, falls = episode.success & ~before, before & ~episode.success
    for goal in np.flatnonzero(chosen & (rises.sum(axis=0) > 1)):
        starts, successes = np.flatnonzero(falls[:, goal]), np.flatnonzero(rises[:, goal])[1:]
        spans = [(int(a), int(b) + 1) for a, b in zip(starts, successes, strict=False)]
        long = [span for span in spans if span[1] - span[0] >= options.min_length]
        for start, stop in long[: options.hindsight_most]:
            yield _trajectory(episode, options, int(goal), (start, stop), Kind.HINDSIGHT, stop - 1)


def _trajectory(
    episode: Outcomes,
    options: DatasetOptions,
    goal: int,
    span: tuple[int, int],
    kind: Kind,
    success: int | None,
) -> Trajectory:
    at_end = span[1] == len(episode.success) and episode.terminated
    terminal = at_end or (options.end_on_success and success is not None)
    return Trajectory(goal, *span, kind=kind, first_success=success, terminal=terminal)
