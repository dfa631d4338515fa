"""Pages in the system's Chromium, for the tests of what people look at.

A test takes the fixture `open_page`; it is skipped, and says why, where there is no browser:

    def test_the_page_has_a_title(open_page: OpenPage, tmp_path: Path) -> None:
        page = open_page(tmp_path / "index.html", phone=True)
        assert page.title() == "Labels"

When the test ends, it fails if a page wrote an error into its console, threw an exception, missed a
file, or asked for anything that is not on this disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

VARIABLE: Final = "CHROMIUM"  # environment variable: the executable, if it is none of NAMES
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DESKTOP: Final[Mapping[str, Any]] = {"viewport": {"width": 1280, "height": 800}}
PHONE: Final[Mapping[str, Any]] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
_LOCAL: Final = ("file:", "data:", "blob:", "about:")


class OpenPage(Protocol):
    """Opens a page of this disk in a window of its own."""

    def __call__(self, place: Path | str, *, phone: bool = False, dark: bool = False) -> Page:
        """A page that has loaded.

        Args:
            place: file, or a file:// URL such as one with a hash.
            phone: a telephone's window of 360 pixels that is touched, else a desktop's.
            dark: with dark colours preferred.
        """


def executable() -> str | None:
    """Path of the browser; None if there is none."""
    named = os.environ.get(VARIABLE)
    found = (shutil.which(name) for name in ([named] if named else NAMES))
    return next((path for path in found if path), None)


def missing() -> str:
    """Why no page can be opened here; "" if one can."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "the library playwright is not installed"
    if executable() is None:
        asked = os.environ.get(VARIABLE)
        return f"no browser: none of {', '.join([asked] if asked else NAMES)} is on the path"
    return ""


@contextmanager
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window.

    While it runs, this thread's asyncio loop counts as running: keep it within one test module.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as library:
        opened = library.chromium.launch(executable_path=executable(), args=list(ARGUMENTS))
        yield opened
        opened.close()


@dataclass
class Windows:
    """The pages of one test, and what went wrong on them."""

    browser: Browser
    problems: list[str] = field(default_factory=list)

    def __call__(self, place: Path | str, *, phone: bool = False, dark: bool = False) -> Page:
        """As `OpenPage`."""
        size = PHONE if phone else DESKTOP
        context = self.browser.new_context(**size, color_scheme="dark" if dark else "light")
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("response", self._response)
        page.goto(place.resolve().as_uri() if isinstance(place, Path) else place)
        return page

    def close(self) -> None:
        """Closes every window."""
        for context in self.browser.contexts:
            context.close()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(_LOCAL):
            self.problems.append(f"not on this disk: {request.url}")

    def _failed(self, request: Request) -> None:
        self.problems.append(f"failed: {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"failed: {response.url}: {response.status}")
