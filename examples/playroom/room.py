"""The room: a goal-conditioned Gymnasium environment on MiniGrid.

Time line of an episode; the reward of an action looks at the frame that follows it::

    frame        o_0 --a_0--> o_1 --a_1--> o_2 ...
    reward             r_0          r_1            r_t = 1 if the commanded goal holds in o_{t+1}

>>> env = make_env()
>>> observation, info = env.reset(seed=0, options={"goal": "lift-red-ball"})
>>> observation["image"].shape, observation["state"].shape, info["goal"]
((84, 84, 3), (379,), 'lift-red-ball')
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv

from examples.playroom import view
from examples.playroom.captions import instruction
from examples.playroom.goals import FAMILIES, PLAYROOM, Goal, Scene, World
from examples.playroom.surroundings import Surroundings, frame_of, litter, surroundings

ACTIONS = ("left", "right", "forward", "pickup", "drop")
"""The actions 0-4. MiniGrid's `toggle` (it makes boxes vanish) and `done` do not exist here."""
LEFT, RIGHT, FORWARD, PICKUP, DROP = range(5)

_PAD = view.VIEW_TILES - 1  # the view reaches this far beyond the agent
_SIDES = ((1, 0), (0, 1), (-1, 0), (0, -1))  # also MiniGrid's headings 0-3
_MAX_LAYOUTS = 10_000

Observation = dict[str, Any]
Cell = tuple[int, int]


class Playroom(MiniGridEnv):  # type: ignore[misc]
    """One walled room with some of the nine things and one commanded language goal.

    At the start no two things touch, none is in front of the agent, so that no goal is true, and
    the agent can walk to every free cell.

    Args:
        size: tiles along one side, walls included.
        things: how many of the nine things are in the room.
        max_steps: the episode is truncated after so many actions.
        end_on_success: the episode is terminated when the commanded goal holds.
        absent_probability: chance that a sampled goal speaks of a thing that is not in the room.
        world: which things and goals there are. Those of another world than the playroom are seen
            in surroundings of their own (`examples.playroom.surroundings`).
        camera: observations have an `image`. Without, a step takes a fraction of the time.
    """

    def __init__(
        self,
        *,
        world: World = PLAYROOM,
        camera: bool = True,
        size: int = 8,
        things: int = 5,
        max_steps: int = 40,
        end_on_success: bool = True,
        absent_probability: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            MissionSpace(mission_func=lambda: "play"),
            grid_size=size,
            max_steps=max_steps,
            see_through_walls=True,
            render_mode=render_mode,
            tile_size=32,
        )
        self.action_space = spaces.Discrete(len(ACTIONS))
        pixels = (view.FRAME_PIXELS, view.FRAME_PIXELS, 3)
        image = {"image": spaces.Box(0, 255, pixels, np.uint8)} if camera else {}
        self.observation_space = spaces.Dict(
            {
                **image,
                "state": spaces.Box(-1.0, 1.0, (view.state_size(world),), np.float32),
                "things": spaces.Box(-1.0, 1.0, (view.things_size(world),), np.float32),
            }
        )
        self._camera = camera
        self.world = world
        self.goal: Goal = world.goals[0]
        self._thing_count = things
        self.end_on_success = end_on_success
        self._absent_probability = absent_probability
        self._options: dict[str, Any] = {}
        self._objects: dict[int, WorldObj] = {}
        self._walls = _walls(size)
        self._look: Surroundings | None = None
        self._litter = np.zeros_like(self._walls)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode in a new room.

        Args:
            seed: makes the room, the goal and the start repeatable.
            options: ``goal``: the id of the commanded goal (default: sampled, families equally);
                ``absent``: True leaves out one of its things (default: all are in the room, or by
                `absent_probability` where the goal is sampled).

        Returns:
            The observation (``image (84, 84, 3) uint8``, ``state (379,) float32``,
            ``things (95,) float32``) and the info
            (``goal``, ``goal_index``, ``instruction``, ``truth (G,) uint8``, ``success`` bool).
        """
        self._options = {} if options is None else options
        unknown = set(self._options) - {"goal", "absent"}
        if unknown:
            raise ValueError(f"unknown reset options {sorted(unknown)}: expected 'goal', 'absent'")
        observation, _ = super().reset(seed=seed)
        return observation, self.info()

    def surround(self, seed: int) -> None:
        """Gives the room the looks of a seed; only what the camera sees changes."""
        self._look = surroundings(seed)
        self._litter = litter(seed, self._walls.shape)

    @property
    def held_out(self) -> bool:
        """Whether the room looks like none that encoders are trained on."""
        return self._look is not None and self._look.held_out

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes an action 0-4; the reward is 1.0 if the commanded goal holds afterwards, else 0."""
        if not self.action_space.contains(action):
            raise ValueError(f"unknown action {action}: expected 0-4, {', '.join(ACTIONS)}")
        observation, _, _, truncated, _ = super().step(int(action))
        info = self.info()
        success = bool(info["success"])
        return observation, float(success), success and self.end_on_success, truncated, info

    def info(self) -> dict[str, Any]:
        """Returns the commanded goal and the truth of all goals in the present frame."""
        truth, index = self.world.truth(self.scene()), self.world.goal_index[self.goal.id]
        return {
            "goal": self.goal.id,
            "goal_index": index,
            "instruction": self.mission,
            "truth": truth,
            "success": bool(truth[index]),
        }

    def scene(self) -> Scene:
        """Returns what decides every goal, from the simulator's own state (not from the view)."""
        places = {self.cell_of(thing): thing for thing in self.things() if thing != self.carried()}
        x, y = int(self.front_pos[0]), int(self.front_pos[1])
        front = places.get((x, y))
        around = [places.get((x + dx, y + dy)) for dx, dy in _SIDES]
        beside = [thing for thing in around if thing is not None] if front is not None else []
        return Scene(front, self.carried(), frozenset(beside))

    def things(self) -> list[int]:
        """Returns the things that are in the room or carried, sorted."""
        return sorted(self._objects)

    def cell_of(self, thing: int) -> Cell:
        """Returns the (x, y) of a thing in the room; (-1, -1) while it is carried."""
        x, y = self._objects[thing].cur_pos
        return int(x), int(y)

    def carried(self) -> int | None:
        """Returns the thing that the agent carries, or None."""
        held = [thing for thing, item in self._objects.items() if item is self.carrying]
        return held[0] if held else None

    def tiles(self) -> npt.NDArray[np.uint8]:
        """Returns the egocentric view as tile ids, ``(7, 7) uint8``."""
        world = self._walls.copy()
        held = self.carried()
        for thing in self.things():
            if thing != held:
                x, y = self.cell_of(thing)
                world[y + _PAD, x + _PAD] = view.FIRST_THING + thing
        tiles = self._seen(world)
        own = view.ARROW if held is None else view.FIRST_THING + held
        tiles[view.AGENT_ROW, view.AGENT_COLUMN] = own
        return tiles

    def _seen(self, around: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Cuts the view ``(7, 7)`` out of the room and what is beyond, the agent's way up."""
        x, y = (int(value) for value in self.agent_pos)
        near = around[y : y + 2 * _PAD + 1, x : x + 2 * _PAD + 1]
        side = _PAD - view.AGENT_COLUMN
        turned = np.rot90(near, (self.agent_dir + 1) % 4)
        return turned[: _PAD + 1, side : side + view.VIEW_TILES].copy()

    def gen_obs(self) -> Observation:
        """Returns the observation; MiniGrid calls this after every reset and step."""
        tiles = self.tiles()
        held, offsets = self.carried(), self._offsets()
        image = {"image": self.frame(tiles)} if self._camera else {}
        return {
            **image,
            "state": view.state_of(tiles, held, offsets, self.world),
            "things": view.relations_of(held, offsets, self._tiles_to_walls(), self.world),
        }

    def frame(self, tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Returns what the camera sees of a view: ``(84, 84, 3) uint8``."""
        if self._look is None:
            return view.frames_of(tiles)
        rng = np.random.default_rng([self._look.seed, self.step_count])
        return frame_of(tiles, self._seen(self._litter), self.world, self._look, rng)

    def _offsets(self) -> dict[int, Cell]:
        """Returns where each thing is, seen from the agent: (tiles to the right, tiles ahead)."""
        ahead, right = _SIDES[self.agent_dir], _SIDES[(self.agent_dir + 1) % 4]
        offsets = {}
        for thing in self.things():
            x, y = self.cell_of(thing) if thing != self.carried() else self.agent_pos
            dx, dy = int(x - self.agent_pos[0]), int(y - self.agent_pos[1])
            offsets[thing] = (dx * right[0] + dy * right[1], dx * ahead[0] + dy * ahead[1])
        return offsets

    def _tiles_to_walls(self) -> tuple[int, int, int, int]:
        """Returns how far the walls ahead, to the right, behind and to the left are."""
        x, y = int(self.agent_pos[0]), int(self.agent_pos[1])
        tiles = (self.width - 1 - x, self.height - 1 - y, x, y)  # by heading: right, down, ...
        ahead, right, behind, left = (tiles[(self.agent_dir + turn) % 4] for turn in range(4))
        return ahead, right, behind, left

    def _gen_grid(self, width: int, height: int) -> None:
        if self.world is not PLAYROOM:
            self.surround(int(self.np_random.integers(2**31)))
        self.goal = self._pick_goal()
        self.mission = instruction(self.goal)
        chosen = self._pick_things()
        for _ in range(_MAX_LAYOUTS):
            self._lay_out(chosen, width, height)
            if self._is_fair_start():
                return
        raise RuntimeError(
            f"no start without touching things in {_MAX_LAYOUTS} tries: "
            f"{self._thing_count} things, room of {width}x{height} tiles; use a larger room"
        )

    def _pick_goal(self) -> Goal:
        if "goal" in self._options:
            return self.world.goal_named(str(self._options["goal"]))
        family = FAMILIES[self.np_random.integers(len(FAMILIES))]
        choice = [goal for goal in self.world.goals if goal.family == family]
        return choice[int(self.np_random.integers(len(choice)))]

    def _pick_things(self) -> list[int]:
        """Picks the things of the room: all of the goal's, or one less if it is to be absent."""
        given, needed = "goal" in self._options, list(self.goal.things)
        chance = 0.0 if given else self._absent_probability
        absent = self._options.get("absent", bool(self.np_random.random() < chance))
        others = [thing for thing in range(len(self.world.things)) if thing not in needed]
        if absent:
            needed.pop(int(self.np_random.integers(len(needed))))
        extra = self.np_random.permutation(others)[: self._thing_count - len(needed)]
        return [*needed, *(int(thing) for thing in extra)]

    def arrange(
        self, places: dict[int, Cell], agent: Cell, heading: int, carried: int | None = None
    ) -> None:
        """Sets up a given room; for tests and for training scenes.

        Args:
            places: (x, y) per thing in the room, 1 to size - 2; free of each other and the agent.
            agent: (x, y) of the agent.
            heading: 0 right, 1 down, 2 left, 3 up.
            carried: a further thing, in the agent's hands.
        """
        self.grid = Grid(self.width, self.height)
        self.grid.wall_rect(0, 0, self.width, self.height)
        held = [] if carried is None else [carried]
        own = self.world.things
        self._objects = {thing: view.world_object(own[thing]) for thing in [*places, *held]}
        for thing, (x, y) in places.items():
            self.put_obj(self._objects[thing], x, y)
        self.carrying = None if carried is None else self._objects[carried]
        if self.carrying is not None:
            self.carrying.cur_pos = (-1, -1)
        self.agent_pos, self.agent_dir = agent, heading

    def _lay_out(self, chosen: list[int], width: int, height: int) -> None:
        cells = self.np_random.permutation((width - 2) * (height - 2))[: len(chosen) + 1]
        places = [(1 + int(cell) % (width - 2), 1 + int(cell) // (width - 2)) for cell in cells]
        heading = int(self.np_random.integers(4))
        self.arrange(dict(zip(chosen, places, strict=False)), places[-1], heading)

    def _is_fair_start(self) -> bool:
        cells = {self.cell_of(thing) for thing in self.things()}
        touching = any((x + 1, y) in cells or (x, y + 1) in cells for x, y in cells)
        return not touching and self.scene().front is None and self._is_open()

    def _is_open(self) -> bool:
        """Says whether the agent can reach every free cell (two things can fence off a corner)."""
        start = (int(self.agent_pos[0]), int(self.agent_pos[1]))
        reached, todo = {start}, [start]
        while todo:
            x, y = todo.pop()
            around = {(x + dx, y + dy) for dx, dy in _SIDES} - reached
            free = [cell for cell in around if self.grid.get(*cell) is None]
            reached.update(free)
            todo.extend(free)
        cell_count = int(self.width - 2) * int(self.height - 2)
        return len(reached) == cell_count - len(self._objects)


def _walls(size: int) -> npt.NDArray[np.uint8]:
    """Returns tile ids of an empty room with walls all around, as far as the view can reach."""
    world = np.full((size + 2 * _PAD, size + 2 * _PAD), view.WALL, dtype=np.uint8)
    world[_PAD + 1 : _PAD + size - 1, _PAD + 1 : _PAD + size - 1] = view.FLOOR
    return world


def things_in(world: World) -> int:
    """Returns how many things a room of this world has: all but about half."""
    return 5 if world is PLAYROOM else 7


def make_env(**settings: Any) -> Playroom:
    """Returns a new playroom; `settings` are those of `Playroom`. The factory for rollouts."""
    return Playroom(**settings)
