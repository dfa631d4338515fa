"""The behaviour policies and the episodes they play, in RLDS form (nothing is written here)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from examples.playroom.expert import expert_action
from examples.playroom.goals import PLAYROOM, Goal
from examples.playroom.room import ACTIONS, Playroom
from examples.playroom.view import is_held_out

MIXTURES = {
    "mixed": {"random": 0.2, "noisy-expert": 0.3, "expert": 0.2, "play": 0.3},
    "free-play": {"random": 0.2, "noisy-expert": 0.1, "free-play": 0.7},
}
"""Behaviour policies and how often each acts, by the name of the mixture."""
NOISE = {"random": 1.0, "noisy-expert": 0.3, "expert": 0.0, "play": 0.1, "free-play": 0.1}
"""Chance of a uniformly random action at each step."""
ENDLESS = ("play", "free-play")
"""Policies that go on after the commanded goal; their episodes are always truncated."""
ABSENT_PROBABILITY = 0.1

Step = dict[str, Any]
Episode = dict[str, Any]


class Behaviour:
    """A policy that heads for the commanded goal, with noise; `play` then picks further goals.

    `free-play` never heeds the command, as data that were recorded before anybody asked for it.
    """

    def __init__(self, policy: str, room: Playroom, rng: np.random.Generator) -> None:
        self._policy, self._room, self._rng = policy, room, rng
        self._goal = self._another_goal() if policy == "free-play" else room.goal

    def __call__(self) -> int:
        """Returns the next action."""
        if self._rng.random() < NOISE[self._policy]:
            return self._random_action()
        action = expert_action(self._room, self._goal)
        if action is None and self._policy in ENDLESS:
            self._goal = self._another_goal()
            action = expert_action(self._room, self._goal)
        return self._random_action() if action is None else action

    def _random_action(self) -> int:
        return int(self._rng.integers(len(ACTIONS)))

    def _another_goal(self) -> Goal:
        present = set(self._room.things())
        choice = [goal for goal in self._room.world.goals if set(goal.things) <= present]
        return choice[int(self._rng.integers(len(choice)))]


def collect_episode(room: Playroom, seed: int, mixture: str = "mixed") -> Episode:
    """Plays one episode and returns it in RLDS form.

    The last step is RLDS's final observation: its action, reward and discount are 0 and say
    nothing.
    """
    rng = np.random.default_rng(seed)
    policies = MIXTURES[mixture]
    policy = str(rng.choice(list(policies), p=list(policies.values())))
    room.end_on_success = policy not in ENDLESS
    observation, info = room.reset(seed=seed)
    behave = Behaviour(policy, room, rng)
    steps: list[Step] = []
    terminated = truncated = False
    while not (terminated or truncated):
        action = behave()
        following, reward, terminated, truncated, next_info = room.step(action)
        steps.append(_step(room, observation, info, action, reward, 0.0 if terminated else 1.0))
        observation, info = following, next_info
    steps.append(_step(room, observation, info, action=0, reward=0.0, discount=0.0))
    steps[0]["is_first"] = True
    steps[-1].update(is_last=True, is_terminal=terminated)
    metadata = {"seed": seed, "goal_id": room.goal.id, "policy": policy}
    return {"steps": steps, "episode_metadata": metadata}


def _step(
    room: Playroom,
    observation: dict[str, Any],
    info: dict[str, Any],
    action: int,
    reward: float,
    discount: float,
) -> Step:
    image = observation["image"]
    plain = room.world is PLAYROOM
    return {
        "observation": {**observation, "image": png(image)},
        "action": action,
        "reward": reward,
        "discount": discount,
        "is_first": False,
        "is_last": False,
        "is_terminal": False,
        "language_instruction": info["instruction"],
        "truth": info["truth"],
        "held_out": is_held_out(image) if plain else room.held_out,
    }


def png(frame: npt.NDArray[np.uint8]) -> bytes:
    """Encodes a frame ``(H, W, 3) uint8`` as PNG."""
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
