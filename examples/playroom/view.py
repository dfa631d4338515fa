"""What the agent sees: a 7x7 grid of tile ids, drawn at 12 pixels a tile, and the symbolic state.

The agent stands at the middle of the bottom row and looks up. Its own tile shows the thing it
carries, or MiniGrid's red arrow when its hands are empty: in an egocentric view the arrow says
nothing else, and a thing drawn under it would hardly be seen. So one frame decides every goal.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import numpy.typing as npt
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Key, Wall, WorldObj

from examples.playroom.goals import PLAYROOM, Scene, Thing, World

VIEW_TILES = 7
TILE_PIXELS = 12
FRAME_PIXELS = VIEW_TILES * TILE_PIXELS
AGENT_ROW, AGENT_COLUMN = VIEW_TILES - 1, VIEW_TILES // 2

FLOOR, WALL, ARROW, FIRST_THING = 0, 1, 2, 3
"""Tile ids; the thing with index i has the id FIRST_THING + i."""
_PER_THING = 10

_HELD_OUT_ONE_IN = 4

_Tiles = npt.NDArray[np.uint8]


def tile_count(world: World = PLAYROOM) -> int:
    """Returns how many tile ids there are."""
    return FIRST_THING + len(world.things)


def state_size(world: World = PLAYROOM) -> int:
    """Returns the length of `state_of`: 7x7 tiles x (wall, shape, colour), 4 per thing."""
    features = 1 + len(world.shapes) + len(world.colours)
    return VIEW_TILES * VIEW_TILES * features + 4 * len(world.things)


def things_size(world: World = PLAYROOM) -> int:
    """Returns the length of `relations_of`: 10 per thing, 4 walls, whether the way is free."""
    return _PER_THING * len(world.things) + 5


STATE_SIZE, THINGS_SIZE, TILE_COUNT = state_size(), things_size(), tile_count()
"""Of the playroom."""


def world_object(thing: Thing) -> WorldObj:
    """Returns a new MiniGrid object for the thing; a ball where MiniGrid has no such shape."""
    return {"box": Box, "key": Key}.get(thing.shape, Ball)(thing.colour)


@functools.cache
def tile_images() -> npt.NDArray[np.uint8]:
    """Returns MiniGrid's picture of every tile id: ``(TILE_COUNT, 12, 12, 3) uint8``."""
    objects = [None, Wall(), None, *(world_object(thing) for thing in PLAYROOM.things)]
    headings = [3 if tile == ARROW else None for tile in range(TILE_COUNT)]
    tiles = [
        Grid.render_tile(shown, agent_dir=heading, tile_size=TILE_PIXELS)
        for shown, heading in zip(objects, headings, strict=True)
    ]
    return np.stack(tiles).astype(np.uint8)


def frames_of(tiles: _Tiles) -> npt.NDArray[np.uint8]:
    """Draws views: tile ids ``(..., 7, 7) uint8`` to frames ``(..., 84, 84, 3) uint8``."""
    drawn = tile_images()[tiles]  # (..., row, column, y, x, rgb)
    drawn = np.moveaxis(drawn, -4, -3)  # (..., row, y, column, x, rgb)
    return np.ascontiguousarray(drawn).reshape(*tiles.shape[:-2], FRAME_PIXELS, FRAME_PIXELS, 3)


def tiles_of(frame: npt.NDArray[np.uint8]) -> _Tiles:
    """Reads a frame ``(84, 84, 3) uint8`` back to tile ids ``(7, 7) uint8``, by nearest picture."""
    grid = frame.reshape(VIEW_TILES, TILE_PIXELS, VIEW_TILES, TILE_PIXELS, 3).swapaxes(1, 2)
    difference = grid[:, :, None].astype(np.int32) - tile_images()[None, None].astype(np.int32)
    tiles: _Tiles = np.abs(difference).sum(axis=(3, 4, 5)).argmin(axis=2).astype(np.uint8)
    return tiles


def is_held_out(frame: npt.NDArray[np.uint8]) -> bool:
    """Says whether a frame is in the held-out quarter, which no encoder is ever trained on.

    The bucket depends on the pixels alone, so that equal frames of different episodes share it.

    Args:
        frame: raw pixels, ``(84, 84, 3) uint8``.
    """
    return hashlib.sha1(frame.tobytes()).digest()[0] % _HELD_OUT_ONE_IN == 0


def thing_at(tile: int) -> int | None:
    """Returns the index of the thing that a tile id shows, or None."""
    return int(tile) - FIRST_THING if tile >= FIRST_THING else None


def scene_of(tiles: _Tiles) -> Scene:
    """Returns the scene that a view ``(7, 7) uint8`` shows; it decides every goal."""
    row, column = AGENT_ROW - 1, AGENT_COLUMN
    front = thing_at(tiles[row, column])
    sides = (tiles[row - 1, column], tiles[row, column - 1], tiles[row, column + 1])
    beside = {thing_at(tile) for tile in sides} - {None} if front is not None else set()
    return Scene(front, thing_at(tiles[AGENT_ROW, AGENT_COLUMN]), frozenset(beside))  # type: ignore[arg-type]


@functools.cache
def _tile_features(world: World) -> npt.NDArray[np.float32]:
    shapes, colours = world.shapes, world.colours
    table = np.zeros((tile_count(world), 1 + len(shapes) + len(colours)), dtype=np.float32)
    table[WALL, 0] = 1
    for index, thing in enumerate(world.things):
        table[FIRST_THING + index, 1 + shapes.index(thing.shape)] = 1
        table[FIRST_THING + index, 1 + len(shapes) + colours.index(thing.colour)] = 1
    return table


def state_of(
    tiles: _Tiles,
    carried: int | None,
    offsets: dict[int, tuple[int, int]],
    world: World = PLAYROOM,
) -> npt.NDArray[np.float32]:
    """Returns the symbolic state, a policy observation: ``(state_size,) float32`` in [-1, 1].

    Args:
        tiles: the view, ``(7, 7) uint8``.
        carried: the thing carried, or None.
        offsets: per thing in the room its place seen from the agent, (tiles to the right, tiles
            ahead); also for things behind the agent, and (0, 0) for the thing carried.
        world: whose things they are.
    """
    hands = np.zeros(len(world.things), dtype=np.float32)
    if carried is not None:
        hands[carried] = 1
    places = np.zeros((len(world.things), 3), dtype=np.float32)  # in the room, right, ahead
    for thing, (right, ahead) in offsets.items():
        places[thing] = (1, right / VIEW_TILES, ahead / VIEW_TILES)
    return np.concatenate([_tile_features(world)[tiles].ravel(), hands, places.ravel()])


def relations_of(
    carried: int | None,
    offsets: dict[int, tuple[int, int]],
    walls: tuple[int, int, int, int],
    world: World = PLAYROOM,
) -> npt.NDArray[np.float32]:
    """Returns where everything is, a policy observation: ``(things_size,) float32`` in [-1, 1].

    Per thing: whether it is in the room, whether it is carried, its place (to the right, ahead),
    whether it is to the right, to the left, ahead, behind, directly in front, and beside the tile
    directly in front. Then the tiles to the walls ahead, right, behind and left, and whether the
    tile in front is free.

    Args:
        carried: the thing carried, or None.
        offsets: as `state_of` takes them.
        walls: tiles from the agent to the wall ahead, right, behind and left, at least 1.
        world: whose things they are.
    """
    rows = np.zeros((len(world.things), _PER_THING), dtype=np.float32)
    for thing, (right, ahead) in offsets.items():
        if thing == carried:
            rows[thing, :2] = 1
            continue
        beside_front = abs(right) + abs(ahead - 1) == 1
        signs = (right > 0, right < 0, ahead > 0, ahead < 0, (right, ahead) == (0, 1), beside_front)
        rows[thing] = (1, 0, right / VIEW_TILES, ahead / VIEW_TILES, *signs)
    free = walls[0] > 1 and not rows[:, 8].any()
    around = np.array([*(tiles / VIEW_TILES for tiles in walls), free], dtype=np.float32)
    return np.concatenate([rows.ravel(), around])
