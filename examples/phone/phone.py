"""The phone: a goal-conditioned Gymnasium environment that is tapped and swiped.

Time line of an episode; the reward of an action looks at the frame that follows it::

    frame        o_0 --a_0--> o_1 --a_1--> o_2 ...
    reward             r_0          r_1            r_t = 1 if the commanded app is open in o_{t+1}

>>> env = make_env()
>>> observation, info = env.reset(seed=0, options={"goal": "open-clock"})
>>> observation["image"].shape, observation["state"].shape, info["goal"]
((96, 96, 3), (86,), 'open-clock')
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from examples.phone.apps import APPS, NAMES
from examples.phone.captions import instruction
from examples.phone.screens import (
    BUTTONS,
    PER_PAGE,
    PIXELS,
    Look,
    Shown,
    draw,
    icon_centre,
    place_at,
)

GOALS: Final = tuple(f"open-{name}" for name in NAMES)
"""Ids of the goals, in the order of `goals.yaml` and of every ``(A,)`` array."""
PAGES: Final = 2
STATE_SIZE: Final = 4 * len(APPS) + PAGES + 4
"""Length of the symbolic state; see `state_of`."""

_SWIPE: Final = 0.4  # of the screen's half, from which a touch that moves is a swipe
_P_BANNER, _P_BANNER_GOES = 0.06, 0.5
_BANNER_BOTTOM = 26
_GAPS: Final = PAGES * PER_PAGE - len(APPS)  # places without an icon

Observation = dict[str, Any]


class Phone(gymnasium.Env[Observation, npt.NDArray[np.float32]]):
    """A phone with 20 apps on two launcher pages, and one commanded app to open.

    An action is ``(4,) float32`` in [-1, 1]: where the finger touches (x to the right, y down), and
    how it moves before it leaves. A touch that moves less than 0.4 either way is a tap. On the
    launcher a tap opens the icon there, and swipes to the left and right turn pages. The buttons
    below are back (left) and home (middle); a swipe up from them is home too. In an app, taps and
    swipes change what it shows. Now and then a notification covers the top; a tap on it opens its
    app.

    At the start no app is open, or another one than the commanded.

    Args:
        max_steps: the episode is truncated after so many actions.
        end_on_success: the episode is terminated when the commanded app is open.
        camera: observations have an `image`. Without, a step takes a fraction of the time.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self, *, max_steps: int = 20, end_on_success: bool = True, camera: bool = True
    ) -> None:
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        image = {"image": spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)} if camera else {}
        self.observation_space = spaces.Dict(
            {
                **image,
                "state": spaces.Box(-1.0, 1.0, (STATE_SIZE,), np.float32),
            }
        )
        self.end_on_success = end_on_success
        self._camera = camera
        self.goal = GOALS[0]
        self.shown: Shown
        self._max_steps, self._steps = max_steps, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode on a new phone.

        Args:
            seed: makes the phone, the goal and all that happens repeatable.
            options: ``goal``: the id of the commanded goal (default: sampled).

        Returns:
            The observation (``image (96, 96, 3) uint8``, ``state (86,) float32``) and the info
            (``goal``, ``goal_index``, ``instruction``, ``truth (20,) uint8``, ``success`` bool).
        """
        super().reset(seed=seed)
        options = {} if options is None else options
        if unknown := set(options) - {"goal"}:
            raise ValueError(f"unknown reset options {sorted(unknown)}: expected 'goal'")
        goal = options.get("goal", GOALS[int(self.np_random.integers(len(GOALS)))])
        if goal not in GOALS:
            raise ValueError(f"unknown goal {goal!r}: expected one of {', '.join(GOALS)}")
        self.goal, self._steps = goal, 0
        self.shown = self._new_phone()
        return self._observation(), self.info()

    def step(self, action: npt.ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Touches the screen; the reward is 1.0 if the commanded app is open afterwards, else 0."""
        touch = np.asarray(action, np.float32)
        if touch.shape != (4,) or not np.isfinite(touch).all():
            raise ValueError(f"expected an action of 4 finite numbers, got {action!r}")
        self._steps += 1
        self._touch(*np.clip(touch, -1, 1).tolist())
        self._notify()
        info = self.info()
        success = bool(info["success"])
        truncated = self._steps >= self._max_steps
        return self._observation(), float(success), success and self.end_on_success, truncated, info

    def info(self) -> dict[str, Any]:
        """Returns the commanded goal and which apps are open in the present frame."""
        truth = np.zeros(len(APPS), np.uint8)
        if self.shown.app is not None:
            truth[self.shown.app] = 1
        index = GOALS.index(self.goal)
        return {
            "goal": self.goal,
            "goal_index": index,
            "instruction": instruction(index),
            "truth": truth,
            "success": bool(truth[index]),
        }

    def show(self, app: int | None, *, banner: bool = False) -> None:
        """Opens an app, or the launcher, on this phone; for tests and for training screens.

        Args:
            app: to open; None: the launcher.
            banner: below a notification of some app.
        """
        self._show(app)
        shown = int(self.np_random.integers(len(APPS))) if banner else None
        self.shown = replace(self.shown, banner=shown)

    # --- what touches do --------------------------------------------------------------------------

    def _touch(self, x: float, y: float, dx: float, dy: float) -> None:
        column, row = (x + 1) / 2 * PIXELS, (y + 1) / 2 * PIXELS
        swipes = max(abs(dx), abs(dy)) >= _SWIPE
        if row >= BUTTONS:
            self._press(column, upwards=swipes and dy < -abs(dx), tap=not swipes)
        elif not swipes and self.shown.banner is not None and row < _BANNER_BOTTOM:
            self._show(self.shown.banner)
        elif self.shown.app is not None:
            self.shown = replace(self.shown, content=self._seed())
        elif not swipes:
            place = place_at(column, row)
            app = None if place is None else self.shown.layout[self.shown.page][place]
            if app is not None:
                self._show(app)
        elif abs(dx) >= abs(dy):
            page = min(max(self.shown.page + (1 if dx < 0 else -1), 0), PAGES - 1)
            self.shown = replace(self.shown, page=page)

    def _press(self, column: float, *, upwards: bool, tap: bool) -> None:
        """Back and home both leave the app; home also shows the first page."""
        if upwards or (tap and 38 <= column < 58):
            self.shown = replace(self.shown, app=None, page=0)
        elif tap and column < 38:
            self.shown = replace(self.shown, app=None)

    def _show(self, app: int | None) -> None:
        self.shown = replace(self.shown, app=app, banner=None, content=self._seed())

    def _notify(self) -> None:
        if self.shown.banner is not None and self.np_random.random() < _P_BANNER_GOES:
            self.shown = replace(self.shown, banner=None)
        elif self.shown.banner is None and self.np_random.random() < _P_BANNER:
            self.shown = replace(self.shown, banner=int(self.np_random.integers(len(APPS))))

    # --- phones and what is seen of them ----------------------------------------------------------

    def _new_phone(self) -> Shown:
        rng = self.np_random
        places: list[int | None] = [*range(len(APPS)), *([None] * _GAPS)]
        order = [places[i] for i in rng.permutation(len(places))]
        others = [app for app in range(len(APPS)) if GOALS[app] != self.goal]
        look = Look(
            dark=bool(rng.random() < 0.5),
            wallpaper=self._seed(),
            minute=int(rng.integers(24 * 60)),
            notifications=int(rng.integers(4)),
            battery=float(rng.random()),
        )
        return Shown(
            layout=tuple(tuple(order[p * PER_PAGE : (p + 1) * PER_PAGE]) for p in range(PAGES)),
            page=int(rng.integers(PAGES)),
            app=others[int(rng.integers(len(others)))] if rng.random() < 0.3 else None,
            content=self._seed(),
            banner=None,
            look=look,
        )

    def _seed(self) -> int:
        return int(self.np_random.integers(2**31))

    def _observation(self) -> Observation:
        image = {"image": draw(self.shown)} if self._camera else {}
        return {**image, "state": state_of(self.shown)}


def state_of(shown: Shown) -> npt.NDArray[np.float32]:
    """Returns what is where, a policy observation: ``(STATE_SIZE,) float32`` in [-1, 1].

    Per app: whether its icon can be tapped, the icon's x and y as an action names them (0 where it
    cannot), and whether the app is open. Then the launcher page, one-hot; whether there is a
    banner; the banner's app by its place in the list, in [-1, 1]; whether the launcher is shown;
    whether the theme is dark.
    """
    rows = np.zeros((len(APPS), 4), np.float32)
    if shown.app is None:
        for place, app in enumerate(shown.layout[shown.page]):
            if app is not None:
                rows[app, :3] = (1, *touch_at(*icon_centre(place)))
    else:
        rows[shown.app, 3] = 1
    page = np.eye(PAGES, dtype=np.float32)[shown.page]
    banner = 0.0 if shown.banner is None else 2 * shown.banner / (len(APPS) - 1) - 1
    rest = (shown.banner is not None, banner, shown.app is None, shown.look.dark)
    return np.concatenate([rows.ravel(), page, np.array(rest, np.float32)])


def touch_at(column: float, row: float) -> tuple[float, float]:
    """Returns the x and y of an action that touches a pixel."""
    return 2 * column / PIXELS - 1, 2 * row / PIXELS - 1


def make_env(**settings: Any) -> Phone:
    """Returns a new phone; `settings` are those of `Phone`. The factory for rollouts."""
    return Phone(**settings)
