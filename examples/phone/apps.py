"""The apps of the phone: a name, a colour, the picture of its icon, and the kind of its screen.

No colour and no kind of screen belongs to one app alone, so that neither is enough to tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import ImageDraw

Draw = ImageDraw.ImageDraw
Colour = tuple[int, int, int]
Glyph = Callable[[Draw, float, float, float, Colour, Colour], None]
"""Draws on a square: left, top, side; the colour of the lines, and that of the ground."""

RED: Final[Colour] = (214, 69, 65)
ORANGE: Final[Colour] = (230, 145, 56)
GREEN: Final[Colour] = (67, 160, 91)
BLUE: Final[Colour] = (57, 120, 210)
VIOLET: Final[Colour] = (132, 88, 190)
GREY: Final[Colour] = (105, 115, 125)


@dataclass(frozen=True)
class App:
    """What can be opened."""

    name: str  # as people say it: "clock"
    colour: Colour
    glyph: Glyph
    kind: str  # of its screen; see `examples.phone.screens`


# --- pictures: u is the side divided by 14 ------------------------------------------------------


def _clock(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.ellipse((x + u, y + u, x + 13 * u, y + 13 * u), outline=line, width=max(1, round(u)))
    d.line((x + 7 * u, y + 3 * u, x + 7 * u, y + 7 * u, x + 10 * u, y + 9 * u), fill=line)


def _calendar(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + u, y + 2 * u, x + 13 * u, y + 13 * u), outline=line)
    d.rectangle((x + u, y + 2 * u, x + 13 * u, y + 5 * u), fill=line)
    for column in (4, 7, 10):
        d.point(((x + column * u, y + 8 * u), (x + column * u, y + 11 * u)), fill=line)


def _camera(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + u, y + 4 * u, x + 13 * u, y + 12 * u), fill=line)
    d.rectangle((x + 5 * u, y + 2 * u, x + 9 * u, y + 4 * u), fill=line)
    d.ellipse((x + 4.5 * u, y + 5.5 * u, x + 9.5 * u, y + 10.5 * u), fill=ground)


def _photos(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + u, y + 2 * u, x + 13 * u, y + 12 * u), outline=line)
    d.polygon(
        [(x + 2 * u, y + 11 * u), (x + 6 * u, y + 5 * u), (x + 9 * u, y + 9 * u),
         (x + 11 * u, y + 7 * u), (x + 12 * u, y + 11 * u)], fill=line,
    )  # fmt: skip


def _maps(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.ellipse((x + 3.5 * u, y + u, x + 10.5 * u, y + 8 * u), fill=line)
    d.polygon([(x + 4 * u, y + 6 * u), (x + 10 * u, y + 6 * u), (x + 7 * u, y + 13 * u)], fill=line)
    d.ellipse((x + 5.5 * u, y + 3 * u, x + 8.5 * u, y + 6 * u), fill=ground)


def _messages(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rounded_rectangle((x + u, y + 2 * u, x + 13 * u, y + 10 * u), 2 * u, fill=line)
    d.polygon([(x + 3 * u, y + 9 * u), (x + 7 * u, y + 9 * u), (x + 3 * u, y + 13 * u)], fill=line)


def _mail(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + u, y + 3 * u, x + 13 * u, y + 11 * u), outline=line)
    d.line((x + u, y + 3 * u, x + 7 * u, y + 8 * u, x + 13 * u, y + 3 * u), fill=line)


def _phone(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    width = max(2, round(3 * u))
    d.line((x + 3 * u, y + 3 * u, x + 6 * u, y + 9 * u, x + 11 * u, y + 11 * u), fill=line,
           width=width, joint="curve")  # fmt: skip


def _contacts(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.ellipse((x + 4.5 * u, y + u, x + 9.5 * u, y + 6 * u), fill=line)
    d.pieslice((x + 2 * u, y + 7 * u, x + 12 * u, y + 18 * u), 180, 360, fill=line)


def _music(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.line((x + 5 * u, y + 11 * u, x + 5 * u, y + 2 * u, x + 12 * u, y + 2 * u, x + 12 * u,
            y + 9 * u), fill=line, width=max(1, round(u)))  # fmt: skip
    d.ellipse((x + 2 * u, y + 9 * u, x + 6 * u, y + 13 * u), fill=line)
    d.ellipse((x + 9 * u, y + 7 * u, x + 13 * u, y + 11 * u), fill=line)


def _weather(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.ellipse((x + 7 * u, y + u, x + 13 * u, y + 7 * u), outline=line)
    d.ellipse((x + u, y + 6 * u, x + 7 * u, y + 12 * u), fill=line)
    d.ellipse((x + 5 * u, y + 5 * u, x + 11 * u, y + 12 * u), fill=line)


def _notes(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + 2 * u, y + u, x + 12 * u, y + 13 * u), outline=line)
    for row in (4, 7, 10):
        d.line((x + 4 * u, y + row * u, x + 10 * u, y + row * u), fill=line)


def _calculator(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.line((x + 2 * u, y + 4 * u, x + 6 * u, y + 4 * u), fill=line)
    d.line((x + 4 * u, y + 2 * u, x + 4 * u, y + 6 * u), fill=line)
    d.line((x + 8 * u, y + 4 * u, x + 12 * u, y + 4 * u), fill=line)
    d.line((x + 2 * u, y + 9 * u, x + 6 * u, y + 13 * u), fill=line)
    d.line((x + 2 * u, y + 13 * u, x + 6 * u, y + 9 * u), fill=line)
    d.line((x + 8 * u, y + 10 * u, x + 12 * u, y + 10 * u), fill=line)
    d.line((x + 8 * u, y + 12 * u, x + 12 * u, y + 12 * u), fill=line)


def _settings(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    for row, knob in ((3, 9), (7, 4), (11, 8)):
        d.line((x + 2 * u, y + row * u, x + 12 * u, y + row * u), fill=line)
        d.ellipse((x + (knob - 1.5) * u, y + (row - 1.5) * u, x + (knob + 1.5) * u,
                   y + (row + 1.5) * u), fill=line)  # fmt: skip


def _browser(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.ellipse((x + u, y + u, x + 13 * u, y + 13 * u), outline=line)
    d.ellipse((x + 4.5 * u, y + u, x + 9.5 * u, y + 13 * u), outline=line)
    d.line((x + u, y + 7 * u, x + 13 * u, y + 7 * u), fill=line)


def _store(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + 2 * u, y + 5 * u, x + 12 * u, y + 13 * u), fill=line)
    d.arc((x + 4 * u, y + u, x + 10 * u, y + 9 * u), 180, 360, fill=line)


def _files(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + u, y + 3 * u, x + 6 * u, y + 6 * u), fill=line)
    d.rectangle((x + u, y + 5 * u, x + 13 * u, y + 12 * u), fill=line)


def _video(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + u, y + 3 * u, x + 13 * u, y + 11 * u), outline=line)
    d.polygon([(x + 5 * u, y + 4 * u), (x + 5 * u, y + 10 * u), (x + 10 * u, y + 7 * u)], fill=line)


def _fitness(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.ellipse((x + u, y + 2 * u, x + 7.5 * u, y + 8 * u), fill=line)
    d.ellipse((x + 6.5 * u, y + 2 * u, x + 13 * u, y + 8 * u), fill=line)
    d.polygon([(x + u, y + 6 * u), (x + 13 * u, y + 6 * u), (x + 7 * u, y + 13 * u)], fill=line)


def _wallet(d: Draw, x: float, y: float, s: float, line: Colour, ground: Colour) -> None:
    u = s / 14
    d.rectangle((x + u, y + 3 * u, x + 13 * u, y + 12 * u), fill=line)
    d.rectangle((x + 8 * u, y + 6 * u, x + 13 * u, y + 9 * u), fill=ground)


APPS: Final = (
    App("clock", GREY, _clock, "dial"),
    App("calendar", RED, _calendar, "month"),
    App("camera", GREY, _camera, "scene"),
    App("photos", ORANGE, _photos, "tiles"),
    App("maps", GREEN, _maps, "map"),
    App("messages", GREEN, _messages, "bubbles"),
    App("mail", BLUE, _mail, "list"),
    App("phone", GREEN, _phone, "keypad"),
    App("contacts", ORANGE, _contacts, "people"),
    App("music", RED, _music, "player"),
    App("weather", BLUE, _weather, "days"),
    App("notes", ORANGE, _notes, "text"),
    App("calculator", ORANGE, _calculator, "keypad"),
    App("settings", GREY, _settings, "switches"),
    App("browser", BLUE, _browser, "text"),
    App("store", VIOLET, _store, "tiles"),
    App("files", BLUE, _files, "list"),
    App("video", RED, _video, "player"),
    App("fitness", VIOLET, _fitness, "dial"),
    App("wallet", VIOLET, _wallet, "cards"),
)
"""All 20 apps, in the order of the goals and of every ``(A,)`` array."""

NAMES: Final = tuple(app.name for app in APPS)
