"""What the phone shows: a launcher page or an app, 96x96 pixels, drawn with Pillow.

rows 0-8     status bar: clock, notifications, battery
rows 9-85    launcher page (4 x 3 icons), or the app: a bar with its picture, and its content
rows 86-95   buttons: back on the left, home in the middle
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from examples.phone.apps import APPS, App, Colour, Draw

PIXELS: Final = 96
COLUMNS, ROWS = 4, 3  # of icons on a launcher page
PER_PAGE: Final = COLUMNS * ROWS
STATUS, BUTTONS = 9, 86  # first row below the status bar, first row of the buttons
ICON: Final = 16  # side of an icon
_CELL = (PIXELS // COLUMNS, (BUTTONS - STATUS - 5) // ROWS)
_BAR: Final = 13  # height of an app's bar

Rng = np.random.Generator


@dataclass(frozen=True)
class Look:
    """What differs from phone to phone, and says nothing of any goal."""

    dark: bool
    wallpaper: int  # seed of its colours and shapes
    minute: int  # of the day, as the status bar shows it
    notifications: int  # dots in the status bar
    battery: float  # 0 to 1


@dataclass(frozen=True)
class Shown:
    """What is on the screen."""

    layout: tuple[tuple[int | None, ...], ...]  # per launcher page, the app of each place
    page: int
    app: int | None  # in the foreground; None: the launcher
    content: int  # seed of what the app shows
    banner: int | None  # app of a notification that covers the top
    look: Look


def icon_centre(place: int) -> tuple[float, float]:
    """Returns the pixel (x, y) in the middle of a place of a launcher page."""
    column, row = place % COLUMNS, place // COLUMNS
    return (column + 0.5) * _CELL[0], STATUS + 2 + (row + 0.5) * _CELL[1]


def place_at(x: float, y: float) -> int | None:
    """Returns the place of a launcher page whose icon is at a pixel, or None."""
    for place in range(PER_PAGE):
        cx, cy = icon_centre(place)
        if abs(x - cx) <= ICON / 2 + 1 and abs(y - cy) <= ICON / 2 + 1:
            return place
    return None


def draw(shown: Shown) -> npt.NDArray[np.uint8]:
    """Draws the screen: ``(96, 96, 3) uint8``. The same screen has the same pixels."""
    image = Image.new("RGB", (PIXELS, PIXELS))
    d = ImageDraw.Draw(image)
    d.fontmode = "1"
    if shown.app is None:
        _launcher(image, d, shown)
    else:
        _app(d, APPS[shown.app], shown)
    _status(d, shown)
    _buttons(d, shown)
    if shown.banner is not None:
        _banner(d, APPS[shown.banner], shown.look.dark)
    return np.asarray(image).copy()


def _ink(dark: bool) -> Colour:
    return (232, 232, 236) if dark else (32, 34, 40)


def _paper(dark: bool) -> Colour:
    return (24, 26, 32) if dark else (246, 246, 248)


def _faint(dark: bool) -> Colour:
    return (70, 74, 84) if dark else (196, 200, 208)


# --- launcher -----------------------------------------------------------------------------------


def _launcher(image: Image.Image, d: Draw, shown: Shown) -> None:
    image.paste(Image.fromarray(_wallpaper(shown.look.wallpaper, shown.look.dark)))
    for place, index in enumerate(shown.layout[shown.page]):
        if index is not None:
            x, y = icon_centre(place)
            _icon(d, APPS[index], x - ICON / 2, y - ICON / 2, ICON)
    for page in range(len(shown.layout)):
        x = PIXELS / 2 + 6 * (page - (len(shown.layout) - 1) / 2)
        size = 1.6 if page == shown.page else 0.8
        d.ellipse((x - size, 83 - size, x + size, 83 + size), fill=(255, 255, 255))


def _icon(d: Draw, app: App, x: float, y: float, side: float) -> None:
    d.rounded_rectangle((x, y, x + side, y + side), side / 5, fill=app.colour)
    app.glyph(d, x + 1.5, y + 1.5, side - 3, (255, 255, 255), app.colour)


@functools.lru_cache(maxsize=512)
def _wallpaper(seed: int, dark: bool) -> npt.NDArray[np.uint8]:
    """Two colours that run into each other, and some discs."""
    rng = np.random.default_rng(seed)
    low, high = (10, 90) if dark else (120, 225)
    ends = rng.integers(low, high, (2, 3))
    share = np.linspace(0, 1, PIXELS)[:, None, None]
    ground = np.broadcast_to((1 - share) * ends[0] + share * ends[1], (PIXELS, PIXELS, 3))
    image = Image.fromarray(ground.astype(np.uint8))
    d = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(5))):
        x, y, radius = rng.integers((0, 0, 6), (PIXELS, PIXELS, 30)).tolist()
        colour = tuple(rng.integers(low, high, 3).tolist())
        d.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return np.asarray(image).copy()


# --- bars ---------------------------------------------------------------------------------------


def _status(d: Draw, shown: Shown) -> None:
    ink = (255, 255, 255) if shown.app is None else _ink(shown.look.dark)
    if shown.app is not None:
        d.rectangle((0, 0, PIXELS, STATUS - 1), fill=_paper(shown.look.dark))
    hours, minutes = divmod(shown.look.minute, 60)
    d.text((3, -1), f"{hours:02d}:{minutes:02d}", fill=ink, font_size=8)
    for dot in range(shown.look.notifications):
        d.rectangle((34 + 4 * dot, 3, 35 + 4 * dot, 5), fill=ink)
    d.rectangle((82, 2, 92, 6), outline=ink)
    d.rectangle((82, 2, 82 + round(10 * shown.look.battery), 6), fill=ink)


def _buttons(d: Draw, shown: Shown) -> None:
    dark = shown.look.dark
    d.rectangle((0, BUTTONS, PIXELS, PIXELS), fill=_paper(dark))
    d.polygon([(26, 91), (31, 88), (31, 94)], fill=_ink(dark))
    d.ellipse((45, 88, 51, 94), outline=_ink(dark))
    d.rectangle((66, 88, 71, 93), outline=_faint(dark))


def _banner(d: Draw, app: App, dark: bool) -> None:
    d.rounded_rectangle((4, 10, 91, 25), 3, fill=_paper(dark), outline=_faint(dark))
    _icon(d, app, 7, 12, 11)
    for row, width in ((14, 52), (19, 38)):
        d.rectangle((22, row, 22 + width, row + 1), fill=_faint(dark))


def _app(d: Draw, app: App, shown: Shown) -> None:
    dark = shown.look.dark
    d.rectangle((0, 0, PIXELS, PIXELS), fill=_paper(dark))
    d.rectangle((0, STATUS, PIXELS, STATUS + _BAR - 1), fill=app.colour)
    app.glyph(d, 3, STATUS + 1.5, 10, (255, 255, 255), app.colour)
    rng = np.random.default_rng([shown.content, APPS.index(app)])
    d.rectangle((18, STATUS + 5, 18 + int(rng.integers(20, 60)), STATUS + 7), fill=(255, 255, 255))
    _KINDS[app.kind](d, rng, app, dark)


# --- what apps show, between rows 22 and 85 -------------------------------------------------------

_TOP: Final = STATUS + _BAR


def _dial(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    d.ellipse((20, 26, 76, 82), outline=_ink(dark), width=2)
    for angle in rng.random(2) * 2 * np.pi:
        x, y = 48 + 20 * np.sin(angle), 54 - 20 * np.cos(angle)
        d.line((48, 54, x, y), fill=app.colour, width=2)


def _month(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    today = int(rng.integers(35))
    for day in range(35):
        x, y = 6 + 12 * (day % 7), _TOP + 5 + 11 * (day // 7)
        fill = app.colour if day == today or rng.random() < 0.08 else _faint(dark)
        d.rectangle((x, y, x + 8, y + 6), fill=fill)


def _scene(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    d.rectangle((0, _TOP, PIXELS, 70), fill=tuple(rng.integers(60, 220, 3).tolist()))
    for _ in range(int(rng.integers(2, 6))):
        x, y, w = rng.integers((0, _TOP, 8), (90, 64, 34)).tolist()
        d.ellipse((x, y, x + w, min(70, y + w)), fill=tuple(rng.integers(0, 255, 3).tolist()))
    d.rectangle((0, 70, PIXELS, BUTTONS), fill=(0, 0, 0))
    d.ellipse((41, 71, 55, 85), outline=(255, 255, 255), width=2)


def _tiles(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    for tile in range(12):
        x, y = 4 + 23 * (tile % 4), _TOP + 3 + 20 * (tile // 4)
        d.rectangle((x, y, x + 19, y + 16), fill=tuple(rng.integers(40, 240, 3).tolist()))


def _map(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    d.rectangle((0, _TOP, PIXELS, BUTTONS), fill=(60, 74, 66) if dark else (214, 232, 214))
    for _ in range(6):
        x0, x1 = rng.integers(0, PIXELS, 2).tolist()
        d.line((x0, _TOP, x1, BUTTONS), fill=_paper(not dark if dark else dark), width=2)
    for y in rng.integers(_TOP, BUTTONS, 3).tolist():
        d.line((0, y, PIXELS, int(y + rng.integers(-12, 12))), fill=(240, 200, 90), width=2)
    x, y = rng.integers((20, 40), (76, 76)).tolist()
    d.ellipse((x - 3, y - 3, x + 3, y + 3), fill=app.colour, outline=(255, 255, 255))


def _bubbles(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    y = _TOP + 4
    while y < 74:
        width, height, mine = (
            int(rng.integers(20, 62)),
            int(rng.integers(7, 13)),
            rng.random() < 0.5,
        )
        x = 91 - width if mine else 5
        d.rounded_rectangle((x, y, x + width, y + height), 3,
                            fill=app.colour if mine else _faint(dark))  # fmt: skip
        y += height + 4


def _list(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    for y in range(_TOP + 4, 82, 12):
        d.rectangle((5, y, 13, y + 8), fill=app.colour if rng.random() < 0.5 else _faint(dark))
        d.rectangle((18, y, 18 + int(rng.integers(20, 70)), y + 2), fill=_ink(dark))
        d.rectangle((18, y + 5, 18 + int(rng.integers(20, 70)), y + 6), fill=_faint(dark))


def _keypad(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    digits = "".join(str(digit) for digit in rng.integers(0, 10, int(rng.integers(3, 9))))
    d.text((8, _TOP + 1), digits, fill=_ink(dark), font_size=10)
    for key in range(12):
        x, y = 16 + 24 * (key % 3), _TOP + 17 + 12 * (key // 3)
        fill = app.colour if key == 11 else _faint(dark)
        d.rounded_rectangle((x, y, x + 17, y + 9), 3, fill=fill)


def _people(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    for y in range(_TOP + 3, 80, 13):
        d.ellipse((6, y, 16, y + 10), fill=tuple(rng.integers(60, 220, 3).tolist()))
        d.rectangle((22, y + 4, 22 + int(rng.integers(20, 60)), y + 6), fill=_ink(dark))


def _player(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    d.rectangle((14, _TOP + 5, 81, 62), fill=tuple(rng.integers(30, 230, 3).tolist()))
    done = int(rng.integers(14, 81))
    d.rectangle((14, 67, 81, 68), fill=_faint(dark))
    d.rectangle((14, 67, done, 68), fill=app.colour)
    d.polygon([(44, 72), (44, 82), (53, 77)], fill=_ink(dark))


def _days(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    d.text((10, _TOP + 2), f"{int(rng.integers(-9, 36))}°", fill=_ink(dark), font_size=18)
    if rng.random() < 0.5:
        d.ellipse((64, _TOP + 4, 82, _TOP + 22), fill=(245, 190, 60))
    heights = rng.integers(6, 30, 7).tolist()
    for day, height in enumerate(heights):
        d.rectangle((8 + 12 * day, 82 - height, 15 + 12 * day, 82), fill=app.colour)


def _text(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    d.rectangle((6, _TOP + 5, 6 + int(rng.integers(30, 80)), _TOP + 8), fill=_ink(dark))
    for y in range(_TOP + 14, 82, 6):
        d.rectangle((6, y, 6 + int(rng.integers(30, 84)), y + 1), fill=_faint(dark))


def _switches(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    for y in range(_TOP + 4, 80, 12):
        d.rectangle((6, y + 3, 6 + int(rng.integers(20, 54)), y + 5), fill=_ink(dark))
        on = rng.random() < 0.5
        d.rounded_rectangle((74, y, 88, y + 7), 3, fill=(67, 160, 91) if on else _faint(dark))
        x = 82 if on else 75
        d.ellipse((x, y + 1, x + 5, y + 6), fill=(255, 255, 255))


def _cards(d: Draw, rng: Rng, app: App, dark: bool) -> None:
    for y in range(_TOP + 4, 70, 20):
        d.rounded_rectangle((8, y, 87, y + 26), 4, fill=tuple(rng.integers(40, 220, 3).tolist()))
        d.rectangle((14, y + 5, 24, y + 10), fill=(240, 220, 140))


_KINDS: Final[dict[str, Callable[[Draw, Rng, App, bool], None]]] = {
    "dial": _dial,
    "month": _month,
    "scene": _scene,
    "tiles": _tiles,
    "map": _map,
    "bubbles": _bubbles,
    "list": _list,
    "keypad": _keypad,
    "people": _people,
    "player": _player,
    "days": _days,
    "text": _text,
    "switches": _switches,
    "cards": _cards,
}
