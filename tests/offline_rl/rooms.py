"""Environments whose dynamics can be worked out by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from tests.offline_rl.playground import COLOURS, RGB

LIMIT = 8


class Line:
    """A walk on the integers: reaching the goal's place is success. Starts at seed % 5.

    Goal "at:7" is place 7; actions 0 and 1 step left and right.
    """

    opened: ClassVar[list[Line]] = []

    def __init__(self) -> None:
        self.action_space = gym.spaces.Discrete(2)
        self.closed = False
        self.resets: list[tuple[int, str]] = []
        Line.opened.append(self)

    def reset(self, *, seed: int, options: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        self.place, self.left = seed % 5, LIMIT
        self.goal = int(options["goal"].removeprefix("at:"))
        self.resets.append((seed, options["goal"]))
        return self._seen(), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert int(action) in (0, 1)
        self.place += 2 * int(action) - 1
        self.left -= 1
        reached = self.place == self.goal
        return self._seen(), float(reached), reached, self.left == 0, {}

    def close(self) -> None:
        self.closed = True

    def _seen(self) -> dict[str, Any]:
        shade = np.full((4, 4, 3), 128 + 8 * self.place, np.uint8)
        return {"state": np.array([self.place], np.float32), "image": shade}


class Endless(Line):
    """It never ends by itself, and pays at every other place."""

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        seen, _, _, _, info = super().step(action)
        return seen, float(self.place % 2), False, False, info


class Colours:
    """Action 0, 1 or 2 paints the room red, green or blue, 3 grey: the playground's goals."""

    def __init__(self) -> None:
        self.action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: int, options: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        self._rng = np.random.default_rng(seed)
        self._goal, self._left = COLOURS.index(options["goal"]), 3
        return self._seen(3), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self._left -= 1
        reached = int(action) == self._goal
        return self._seen(int(action)), float(reached), reached, self._left == 0, {}

    def close(self) -> None:
        """Nothing to give back."""

    def _seen(self, colour: int) -> dict[str, Any]:
        frame = np.broadcast_to(RGB[colour], (4, 4, 3)).copy()
        return {"state": self._rng.normal(size=3).astype(np.float32), "image": frame}


class Painted(Colours):
    """As `Colours`, for an agent of continuous actions: the largest sum of two chooses."""

    def __init__(self) -> None:
        self.action_space = gym.spaces.Box(-1, 1, (2,))

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert np.shape(action) == (2,)
        return super().step(int(np.sum(action) > 0))


NOT_A_FUNCTION = 7
