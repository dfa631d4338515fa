"""Views to train an encoder on: invented scenes, rich in true goals, and frames of real episodes.

Views are kept as 7x7 tile ids (49 bytes) and drawn when needed. Held-out frames never get in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from examples.playroom.episodes import ABSENT_PROBABILITY, Behaviour
from examples.playroom.goals import THINGS, truth
from examples.playroom.room import Cell, Playroom, make_env
from examples.playroom.view import FIRST_THING, VIEW_TILES, frames_of, is_held_out

_SIDES = ((1, 0), (0, 1), (-1, 0), (0, -1))
_P_BESIDE, _P_FACING, _P_CARRYING = 0.6, 0.8, 0.4
_MOST_THINGS = 6


@dataclass(frozen=True)
class Views:
    """Views and what is true in them."""

    tiles: npt.NDArray[np.uint8]  # (N, 7, 7)
    truth: npt.NDArray[np.uint8]  # (N, G)

    @property
    def nothing_seen(self) -> npt.NDArray[np.bool_]:
        """Whether no thing is in view and none is carried: ``(N,) bool``."""
        return np.asarray((self.tiles < FIRST_THING).all(axis=(1, 2)))


def training_views(count: int, seed: int) -> Views:
    """Returns `count` views, none held out: four invented ones to one played.

    No view comes twice within a kind; a played one may by chance equal an invented one.
    """
    rng = np.random.default_rng(seed)
    invented = _unique(_invented(rng), count - count // 5)
    played = _unique(_played(rng), count // 5)
    tiles = np.concatenate([invented.tiles, played.tiles])
    return Views(tiles, np.concatenate([invented.truth, played.truth]))


def _unique(rooms: Iterator[Playroom], count: int) -> Views:
    found: dict[bytes, npt.NDArray[np.uint8]] = {}
    for room in rooms:
        tiles = room.tiles()
        key = tiles.tobytes()
        if key not in found and not is_held_out(frames_of(tiles)):
            found[key] = truth(room.scene())
        if len(found) == count:
            break
    keys = np.frombuffer(b"".join(found), dtype=np.uint8)
    return Views(keys.reshape(-1, VIEW_TILES, VIEW_TILES), np.stack(list(found.values())))


def _invented(rng: np.random.Generator) -> Iterator[Playroom]:
    room = make_env()
    while True:
        invent(room, range(len(THINGS)), rng)
        yield room


def invent(room: Playroom, things: Sequence[int], rng: np.random.Generator) -> None:
    """Scatters things, often side by side; the agent often faces one and carries another.

    Args:
        room: to set up.
        things: some of which are in it.
        rng: of all that is drawn.
    """
    picked = rng.permutation(len(things))[: rng.integers(_MOST_THINGS + 1)]
    chosen = [things[int(place)] for place in picked]
    carried = chosen.pop() if chosen and rng.random() < _P_CARRYING else None
    free = [(x, y) for x in range(1, room.width - 1) for y in range(1, room.height - 1)]
    places: dict[int, Cell] = {}
    for thing in chosen:
        near = _around(list(places.values()), free) if rng.random() < _P_BESIDE else []
        cell = _pick(near or free, rng)
        free.remove(cell)
        places[thing] = cell
    facing = [(x, y, h) for x, y in free for h in range(4) if _ahead(x, y, h) in places.values()]
    anywhere = [(*_pick(free, rng), int(rng.integers(4)))]
    poses = facing if facing and rng.random() < _P_FACING else anywhere
    x, y, heading = poses[int(rng.integers(len(poses)))]
    room.arrange(places, (x, y), heading, carried)


def _around(cells: list[Cell], free: list[Cell]) -> list[Cell]:
    beside = {(x + dx, y + dy) for x, y in cells for dx, dy in _SIDES}
    return [cell for cell in free if cell in beside]


def _ahead(x: int, y: int, heading: int) -> Cell:
    return x + _SIDES[heading][0], y + _SIDES[heading][1]


def _pick(cells: list[Cell], rng: np.random.Generator) -> Cell:
    return cells[int(rng.integers(len(cells)))]


def _played(rng: np.random.Generator) -> Iterator[Playroom]:
    room = make_env(absent_probability=ABSENT_PROBABILITY, end_on_success=False)
    while True:
        room.reset(seed=int(rng.integers(2**31)))
        behave = Behaviour("play", room, rng)
        truncated = False
        while not truncated:
            yield room
            truncated = room.step(behave())[3]
