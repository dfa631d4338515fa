"""The behaviour policies and the episodes they play, in RLDS form (nothing is written here)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from examples.phone.apps import APPS
from examples.phone.phone import GOALS, Phone, touch_at
from examples.phone.screens import icon_centre
from examples.playroom.episodes import png

POLICIES = {"random": 0.25, "noisy-expert": 0.2, "expert": 0.15, "play": 0.4}
"""Behaviour policies and how often each acts."""
NOISE = {"random": 1.0, "noisy-expert": 0.4, "expert": 0.0, "play": 0.2}
"""Chance of a random touch at each step."""
_SPREAD = 0.03  # deviation of a finger that means to touch a place

Touch = npt.NDArray[np.float32]
Episode = dict[str, Any]


def expert_touch(phone: Phone, app: int, rng: np.random.Generator) -> Touch:
    """Returns a touch on a shortest way to an app: home, a page turned, or its icon."""
    shown = phone.shown
    if shown.app is not None:
        return _near(*touch_at(31 if rng.random() < 0.5 else 48, 91), rng)
    page = next(p for p, places in enumerate(shown.layout) if app in places)
    if page != shown.page:
        way = -1.0 if page > shown.page else 1.0
        move = np.array([way * rng.uniform(0.5, 1), rng.uniform(-0.3, 0.3)], np.float32)
        return np.concatenate([rng.uniform(-0.6, 0.6, 2).astype(np.float32), move])
    return _near(*touch_at(*icon_centre(shown.layout[page].index(app))), rng)


def random_touch(rng: np.random.Generator) -> Touch:
    """Returns a touch anywhere: two in three are taps."""
    touch = rng.uniform(-1, 1, 4).astype(np.float32)
    if rng.random() < 2 / 3:
        touch[2:] *= 0.3
    return touch


def _near(x: float, y: float, rng: np.random.Generator) -> Touch:
    where = np.array([x, y]) + rng.normal(0, _SPREAD, 2)
    return np.concatenate([where, rng.uniform(-0.1, 0.1, 2)]).clip(-1, 1).astype(np.float32)


def collect_episode(phone: Phone, seed: int) -> Episode:
    """Plays one episode and returns it in RLDS form.

    `play` heads for one app after another, whatever was commanded, and is always truncated. The
    last step is RLDS's final observation: its action, reward and discount are 0 and say nothing.
    """
    rng = np.random.default_rng(seed)
    policy = str(rng.choice(list(POLICIES), p=list(POLICIES.values())))
    phone.end_on_success = policy != "play"
    observation, info = phone.reset(seed=seed)
    target = int(rng.integers(len(APPS))) if policy == "play" else GOALS.index(phone.goal)
    steps: list[dict[str, Any]] = []
    terminated = truncated = False
    while not (terminated or truncated):
        if policy == "play" and phone.shown.app == target:
            target = int(rng.integers(len(APPS)))
        random = rng.random() < NOISE[policy]
        action = random_touch(rng) if random else expert_touch(phone, target, rng)
        following, reward, terminated, truncated, next_info = phone.step(action)
        steps.append(_step(observation, info, action, reward, 0.0 if terminated else 1.0))
        observation, info = following, next_info
    steps.append(_step(observation, info, np.zeros(4, np.float32), reward=0.0, discount=0.0))
    steps[0]["is_first"] = True
    steps[-1].update(is_last=True, is_terminal=terminated)
    metadata = {"seed": seed, "goal_id": phone.goal, "policy": policy}
    return {"steps": steps, "episode_metadata": metadata}


def _step(
    observation: dict[str, Any], info: dict[str, Any], action: Touch, reward: float, discount: float
) -> dict[str, Any]:
    return {
        "observation": {**observation, "image": png(observation["image"])},
        "action": action,
        "reward": reward,
        "discount": discount,
        "is_first": False,
        "is_last": False,
        "is_terminal": False,
        "language_instruction": info["instruction"],
        "truth": info["truth"],
    }
