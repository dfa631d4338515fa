"""What makes the hard playroom hard: every room has floors, walls, litter, light and a camera.

    tiles, litter ─▶ things on floors ─▶ light ─▶ bars before the lens ─▶ noise ─▶ frame

Things are drawn small enough that the floor shows around them. Litter lies on floors in the colours
of things and means nothing. Rooms that are held out have hues and a pattern that no other has.
"""

from __future__ import annotations

import colorsys
import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from examples.playroom.goals import Thing, World
from examples.playroom.view import (
    ARROW,
    FIRST_THING,
    FRAME_PIXELS,
    TILE_PIXELS,
    VIEW_TILES,
    WALL,
)

Pictures = npt.NDArray[np.float32]
Tiles = npt.NDArray[np.uint8]

LITTER: Final = 4  # kinds of it; 0 is none
PATTERNS: Final = ("plain", "checks", "stripes", "dots")  # of floors; the last is held out
RGB: Final = {
    "red": (205, 50, 45),
    "green": (50, 155, 60),
    "blue": (50, 85, 205),
    "yellow": (215, 185, 50),
}
_HELD_OUT_ROOM: Final = 4  # one in so many
_P_LITTER: Final = 0.2  # per tile
_SHARPER: Final = 8  # things are drawn so many times larger
_BARS: Final = (0, 3)  # before the lens, at least and less than


@dataclass(frozen=True)
class Surroundings:
    """One room's looks, which say nothing of any goal."""

    seed: int
    floor: tuple[float, float, float]  # 0 to 255
    wall: tuple[float, float, float]
    pattern: str
    light: tuple[float, float, float]  # factors of red, green and blue
    slope: tuple[float, float]  # of the light, over the frame's height and width
    noise: float  # deviation of the camera's, in 255ths

    @property
    def held_out(self) -> bool:
        """Whether no encoder is trained on rooms that look like this."""
        return is_held_out_room(self.seed)


def is_held_out_room(seed: int) -> bool:
    """Says whether the room of this seed is of the held-out kind."""
    return seed % _HELD_OUT_ROOM == 0


def surroundings(seed: int) -> Surroundings:
    """Returns the looks of the room of this seed."""
    rng = np.random.default_rng([seed, 77])
    held_out = is_held_out_room(seed)
    hue = rng.uniform(0.75, 1.0) if held_out else rng.uniform(0.0, 0.75)
    floor = colorsys.hsv_to_rgb(hue, rng.uniform(0.05, 0.45), rng.uniform(0.25, 0.8))
    wall = colorsys.hsv_to_rgb((hue + rng.uniform(0.1, 0.3)) % 1, 0.3, rng.uniform(0.15, 0.6))
    tint = rng.uniform(0.82, 1.18, 3) * rng.uniform(0.55, 1.25)
    return Surroundings(
        seed=seed,
        floor=tuple(255 * np.array(floor)),
        wall=tuple(255 * np.array(wall)),
        pattern=PATTERNS[-1] if held_out else PATTERNS[int(rng.integers(len(PATTERNS) - 1))],
        light=tuple(tint),
        slope=tuple(rng.uniform(-0.35, 0.35, 2)),
        noise=float(rng.uniform(4, 18)),
    )


def litter(seed: int, shape: tuple[int, int]) -> Tiles:
    """Returns what lies on each tile of a room: ``shape uint8``, 0 for nothing."""
    rng = np.random.default_rng([seed, 78])
    kinds = rng.integers(1, LITTER + 1, shape)
    return np.where(rng.random(shape) < _P_LITTER, kinds, 0).astype(np.uint8)


def frame_of(
    tiles: Tiles, lying: Tiles, world: World, look: Surroundings, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Draws what the camera sees: ``(84, 84, 3) uint8``.

    Args:
        tiles: the view, ``(7, 7) uint8`` tile ids.
        lying: litter of the same tiles.
        world: whose things the ids name.
        look: of the room.
        rng: of the bars and the noise of this frame.
    """
    ground = _floor(look)
    canvas = _over(ground, _litter_pictures()[lying])
    canvas = np.where((tiles == WALL)[..., None, None, None], _wall(look), canvas)
    canvas = _over(canvas, _thing_pictures(world)[tiles])
    frame = canvas.transpose(0, 2, 1, 3, 4).reshape(FRAME_PIXELS, FRAME_PIXELS, 3)
    frame = frame * np.array(look.light, np.float32) * _slope(look)
    _cover(frame, rng)
    frame += rng.normal(0, look.noise, frame.shape).astype(np.float32)
    drawn: npt.NDArray[np.uint8] = frame.clip(0, 255).astype(np.uint8)
    return drawn


def _over(ground: Pictures, pictures: Pictures) -> Pictures:
    """Lays pictures with an opacity, (..., 12, 12, 4), on ground, (..., 12, 12, 3)."""
    opacity = pictures[..., 3:]
    return ground * (1 - opacity) + pictures[..., :3] * opacity


def _floor(look: Surroundings) -> Pictures:
    """(7, 7, 12, 12, 3)."""
    y, x = np.mgrid[:TILE_PIXELS, :TILE_PIXELS]
    row, column = np.mgrid[:VIEW_TILES, :VIEW_TILES]
    shade = {
        "plain": np.zeros((VIEW_TILES, VIEW_TILES, TILE_PIXELS, TILE_PIXELS)),
        "checks": np.broadcast_to(
            ((row + column) % 2)[..., None, None], (VIEW_TILES, VIEW_TILES, 12, 12)
        ),
        "stripes": np.broadcast_to((y % 6 < 2)[None, None], (VIEW_TILES, VIEW_TILES, 12, 12)),
        "dots": np.broadcast_to(
            ((x % 6 - 3) ** 2 + (y % 6 - 3) ** 2 < 4)[None, None], (VIEW_TILES, VIEW_TILES, 12, 12)
        ),
    }[look.pattern]
    edge = ((y == 0) | (x == 0)).astype(np.float32) * 0.15
    factor = 1 - 0.25 * shade - edge
    return (factor[..., None] * np.array(look.floor)).astype(np.float32)


def _wall(look: Surroundings) -> Pictures:
    y = np.mgrid[:TILE_PIXELS, :TILE_PIXELS][0]
    factor = np.where(y % 6 == 0, 0.7, 1.0)[..., None]
    return (factor * np.array(look.wall)).astype(np.float32)


def _slope(look: Surroundings) -> Pictures:
    along = np.linspace(-0.5, 0.5, FRAME_PIXELS, dtype=np.float32)
    both = 1 + look.slope[0] * along[:, None] + look.slope[1] * along[None]
    return np.asarray(both[..., None], np.float32)


def _cover(frame: Pictures, rng: np.random.Generator) -> None:
    """Bars before the lens, never as wide as half a tile."""
    for _ in range(int(rng.integers(*_BARS))):
        width, at = int(rng.integers(2, TILE_PIXELS // 2)), int(rng.integers(FRAME_PIXELS))
        colour = rng.uniform(10, 90, 3).astype(np.float32)
        if rng.random() < 0.5:
            frame[at : at + width] = colour
        else:
            frame[:, at : at + width] = colour


# --- pictures of a tile, (ids, 12, 12, 4): red, green, blue, opacity ------------------------------


@functools.cache
def _thing_pictures(world: World) -> Pictures:
    pictures = np.zeros((FIRST_THING + len(world.things), TILE_PIXELS, TILE_PIXELS, 4), np.float32)
    pictures[ARROW] = _picture(lambda d, u: d.polygon(
        [(6 * u, 2 * u), (10 * u, 10 * u), (6 * u, 8 * u), (2 * u, 10 * u)], fill=(235, 235, 235)
    ))  # fmt: skip
    for index, thing in enumerate(world.things):
        pictures[FIRST_THING + index] = _picture(lambda d, u, own=thing: _draw(d, u, own))
    return pictures


@functools.cache
def _litter_pictures() -> Pictures:
    pictures = np.zeros((LITTER + 1, TILE_PIXELS, TILE_PIXELS, 4), np.float32)
    for kind, colour in enumerate(RGB.values(), start=1):
        corner = 1 + 2 * (kind % 3)
        box = (corner, 10 - corner, corner + 2.5, 11 - corner + 1.5)
        pictures[kind] = _picture(
            lambda d, u, own=(box, colour): d.rectangle([v * u for v in own[0]], fill=own[1])
        )
    return pictures


def _picture(draw: object) -> Pictures:
    image = Image.new("RGBA", (TILE_PIXELS * _SHARPER,) * 2, (0, 0, 0, 0))
    draw(ImageDraw.Draw(image), _SHARPER)  # type: ignore[operator]
    small = image.resize((TILE_PIXELS, TILE_PIXELS), Image.Resampling.BOX)
    found = np.asarray(small, np.float32).copy()
    found[..., 3] /= 255
    return found


def _draw(d: ImageDraw.ImageDraw, u: int, thing: Thing) -> None:
    colour = RGB[thing.colour]
    if thing.shape == "ball":
        d.ellipse((2 * u, 2 * u, 10 * u, 10 * u), fill=colour)
    elif thing.shape == "box":
        d.rectangle((2 * u, 2 * u, 10 * u, 10 * u), fill=colour)
        d.rectangle((4 * u, 5.5 * u, 8 * u, 6.5 * u), fill=(20, 20, 20))
    elif thing.shape == "key":
        d.ellipse((2 * u, 1 * u, 7 * u, 6 * u), outline=colour, width=round(1.5 * u))
        d.rectangle((6 * u, 5 * u, 7.5 * u, 11 * u), fill=colour)
        d.rectangle((6 * u, 9 * u, 9.5 * u, 10.5 * u), fill=colour)
    elif thing.shape == "cone":
        d.polygon([(6 * u, 1.5 * u), (10.5 * u, 10.5 * u), (1.5 * u, 10.5 * u)], fill=colour)
    else:
        d.ellipse((1.5 * u, 1.5 * u, 10.5 * u, 10.5 * u), outline=colour, width=round(2.2 * u))
