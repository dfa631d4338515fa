"""A chain of five places, recorded by a random walker, and its values by brute force.

    0 ◀─ left ─ 1 ─ right ─▶ 2 … 4        goals: be at 0, be at 4
    a third action gambles: to place 0 or to place 4, one time in two

Everything is counted from the recorded transitions, so nothing is left to chance but the networks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from offline_rl.hindsight import AchievedGoals, GoalMix
from offline_rl.replay import GoalConditionedReplayBuffer, Trajectories

PLACES = 5
GOALS = (0, 4)
LEFT, RIGHT, GAMBLE = range(3)
MOVES = np.array([-1.0, 1.0, 0.0])  # the same actions as continuous ones
GAMMA = 0.8

Key = tuple[int, int]  # place, goal


@dataclass(frozen=True)
class Move:
    """One recorded transition under one goal."""

    action: int
    reward: float
    following: int
    terminal: bool


@dataclass(frozen=True)
class Walk:
    """Recorded trajectories, for the replay and for counting."""

    places: Any  # (F,)
    actions: Any  # (F,)
    rows: Trajectories
    moves: dict[Key, list[Move]]
    length: int  # transitions of an episode

    @property
    def frames(self) -> Any:
        """(F, 5) places, one-hot."""
        return np.eye(PLACES, dtype=np.float32)[self.places]

    def achieved(self, mix: GoalMix) -> AchievedGoals:
        """Places as goals: the same vectors as those of the trajectories' own goals."""
        last = (self.rows.first // (self.length + 1) + 1) * (self.length + 1) - 1
        return AchievedGoals(self.frames, last, lag=1, reached=1.0, missed=0.0, mix=mix)

    def replay(self, *, continuous: bool, **options: Any) -> GoalConditionedReplayBuffer:
        """Places and goals are one-hot."""
        actions = MOVES[self.actions] if continuous else self.actions
        return GoalConditionedReplayBuffer(
            self.frames,
            actions.reshape(-1, 1).astype(np.float32 if continuous else np.int64),
            self.rows,
            np.eye(PLACES, dtype=np.float32)[list(GOALS)],
            action_size=1 if continuous else 3,
            **options,
        )


def walk(episodes: int = 300, length: int = 6) -> Walk:
    """Random episodes; a trajectory per goal, which ends where the goal is reached."""
    rng = np.random.default_rng(0)
    places, actions, first, count, goal, terminal, rewards = [], [], [], [], [], [], []
    moves: dict[Key, list[Move]] = defaultdict(list)
    for _ in range(episodes):
        start = len(places)
        path = [int(rng.integers(PLACES))]
        done = rng.integers(3, size=length).tolist()
        for action in done:
            path.append(_next(path[-1], action, rng))
        places += path
        actions += [*done, 0]
        for g, wanted in enumerate(GOALS):
            if path[0] == wanted:
                continue
            reached = [p == wanted for p in path[1:]]
            ends = reached.index(True) + 1 if any(reached) else length
            first.append(start)
            count.append(ends)
            goal.append(g)
            terminal.append(any(reached))
            for t in range(ends):
                rewards.append(float(reached[t]))
                moves[path[t], g].append(Move(done[t], rewards[-1], path[t + 1], reached[t]))
    rows = Trajectories(
        np.array(first),
        np.array(count),
        np.array(goal),
        np.array(terminal),
        np.ones(len(first)),
        np.array(rewards, np.float32),
    )
    return Walk(np.array(places), np.array(actions), rows, moves, length)


def _next(place: int, action: int, rng: np.random.Generator) -> int:
    if action == GAMBLE:
        return int(rng.choice([0, PLACES - 1]))
    return int(np.clip(place + (1 if action == RIGHT else -1), 0, PLACES - 1))


def expectile(values: Any, tau: float) -> float:
    """The v that minimises Σ |τ - 1(u < 0)| u², u = values - v: where its derivative is 0."""
    low, high = float(np.min(values)), float(np.max(values))
    if high - low < 1e-12:
        return low

    def slope(v: float) -> float:
        u = np.asarray(values) - v
        return float((np.where(u < 0, 1 - tau, tau) * u).sum())

    return float(brentq(slope, low, high))


def values_of_outcomes(moves: dict[Key, list[Move]], tau: float) -> dict[Key, float]:
    """GCIVL's fixed point: the expectile of r + γ V over all that followed a place."""
    values = dict.fromkeys(moves, 0.0)
    for _ in range(200):
        values = {key: expectile(_targets(moves[key], key, values), tau) for key in moves}
    return values


def values_of_actions(
    moves: dict[Key, list[Move]], tau: float
) -> tuple[dict[Key, float], dict[tuple[int, int, int], float]]:
    """GCIQL's fixed point: V the expectile of Q over the actions taken, Q the mean of r + γ V."""
    values = dict.fromkeys(moves, 0.0)
    worth: dict[tuple[int, int, int], float] = {}
    for _ in range(200):
        for key, own in moves.items():
            targets = _targets(own, key, values)
            taken = np.array([move.action for move in own])
            for action in np.unique(taken):
                worth[(*key, int(action))] = float(targets[taken == action].mean())
        values = {
            key: expectile([worth[(*key, move.action)] for move in own], tau)
            for key, own in moves.items()
        }
    return values, worth


def _targets(own: list[Move], key: Key, values: dict[Key, float]) -> Any:
    ahead = [0.0 if m.terminal else values.get((m.following, key[1]), 0.0) for m in own]
    return np.array([m.reward for m in own]) + GAMMA * np.array(ahead)


def seen(key: Key) -> Any:
    """What the agent sees at a place under a goal."""
    return at(key[0], GOALS[key[1]])


def at(place: int, wanted: int) -> Any:
    """What the agent sees at a place when it is to be at another."""
    return np.concatenate([np.eye(PLACES)[place], np.eye(PLACES)[wanted]]).astype(np.float32)


def returns(walk: Walk) -> list[tuple[Key, int, float, int, Key | None]]:
    """Of every transition: place and goal, action, rewards to the end, steps, and where it ends.

    None for the end where the goal is reached.
    """
    found: list[tuple[Key, int, float, int, Key | None]] = []
    rows, flat = walk.rows, 0
    for first, count, goal, terminal in zip(
        rows.first, rows.count, rows.goal, rows.terminal, strict=True
    ):
        rewards = rows.rewards[flat : flat + count]
        for t in range(count):
            worth = sum(GAMMA**i * float(r) for i, r in enumerate(rewards[t:]))
            end = None if terminal else (int(walk.places[first + count]), int(goal))
            key = (int(walk.places[first + t]), int(goal))
            found.append((key, int(walk.actions[first + t]), worth, int(count - t), end))
        flat += count
    return found


def values_of_behaviour(walk: Walk) -> dict[Key, float]:
    """AWR's fixed point: the mean of what trajectories earn, with the value of where they stop."""
    known = returns(walk)
    values = dict.fromkeys({key for key, *_ in known}, 0.0)
    for _ in range(100):
        targets: dict[Key, list[float]] = defaultdict(list)
        for key, _action, worth, steps, end in known:
            ahead = 0.0 if end is None else GAMMA**steps * values.get(end, 0.0)
            targets[key].append(worth + ahead)
        values = {key: float(np.mean(own)) for key, own in targets.items()}
    return values


def weighted_policy(keys: list[Key], actions: Any, weights: Any) -> dict[Key, Any]:
    """(3,) shares of the weights by action, at each place: what weighted cloning is to copy."""
    shares: dict[Key, Any] = defaultdict(lambda: np.zeros(3))
    for key, action, weight in zip(keys, actions, weights, strict=True):
        shares[key][action] += weight
    return {key: own / own.sum() for key, own in shares.items()}


def values_in_hindsight(walk: Walk, tau: float) -> dict[Key, float]:
    """GCIVL's fixed point under later frames as goals, each with the probability of its draw.

    By place and wanted place. A transition reaches the frame that is the goal, and not another
    frame of the same place: what counts is the frame.
    """
    size = walk.length + 1
    outcomes: dict[Key, list[tuple[float, float, int, bool]]] = defaultdict(list)
    for start, count in zip(walk.rows.first, walk.rows.count, strict=True):
        last = (start // size + 1) * size - 1
        for t in range(start, start + count):
            for goal in range(t + 1, last + 1):
                ahead = goal - t - 1
                chance = GAMMA**ahead * (1 if goal == last else 1 - GAMMA)
                place, wanted = int(walk.places[t]), int(walk.places[goal])
                following = int(walk.places[t + 1])
                outcomes[place, wanted].append((chance, float(ahead == 0), following, ahead == 0))
    values = dict.fromkeys(outcomes, 0.0)
    for _ in range(100):
        values = {
            (place, wanted): _weighted_expectile(
                np.array([c for c, *_ in own]),
                np.array(
                    [
                        reward + (0.0 if ends else GAMMA * values.get((following, wanted), 0.0))
                        for _, reward, following, ends in own
                    ]
                ),
                tau,
            )
            for (place, wanted), own in outcomes.items()
        }
    return values


def _weighted_expectile(chances: Any, targets: Any, tau: float) -> float:
    """By its own equation: v is the mean with weights chance × |τ - 1(target < v)|."""
    value = float(np.average(targets, weights=chances))
    for _ in range(60):
        weights = chances * np.where(targets < value, 1 - tau, tau)
        value = float(np.average(targets, weights=weights))
    return value
