"""Pages are opened in a browser, and what goes wrong on them is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import browser
from tests.browser import OpenPage, Windows


def written(folder: Path, body: str, name: str = "page.html") -> Path:
    path = folder / name
    path.write_text(f"<!doctype html><meta charset=utf-8><title>a é</title>{body}")
    return path


@pytest.mark.parametrize(("phone", "width"), [(False, 1280), (True, 360)])
def test_a_page_runs_its_scripts(
    open_page: OpenPage, tmp_path: Path, phone: bool, width: int
) -> None:
    (tmp_path / "own.js").write_text("document.body.textContent = 'ran';")
    view = '<meta name=viewport content="width=device-width"><body><script src=own.js></script>'
    page = open_page(written(tmp_path, view), phone=phone)
    assert (page.title(), page.inner_text("body")) == ("a é", "ran")
    assert page.evaluate("window.innerWidth") == width


def test_dark_colours_can_be_preferred(open_page: OpenPage, tmp_path: Path) -> None:
    asked = "matchMedia('(prefers-color-scheme: dark)').matches"
    place = written(tmp_path, "")
    assert [open_page(place, dark=dark).evaluate(asked) for dark in (False, True)] == [False, True]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>null.x</script>", "exception: "),
        ("<script src=missing.js></script>", "failed: file:"),
        ("<img src=http://127.0.0.1:9/a.png>", "not on this disk: http://127.0.0.1:9/a.png"),
        (
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'self'\">"
            "<script>1</script>",
            "console: ",
        ),
    ],
)
def test_what_goes_wrong_is_noticed(
    chromium: browser.Browser, tmp_path: Path, body: str, told: str
) -> None:
    windows = Windows(chromium)
    windows(written(tmp_path, body)).wait_for_timeout(50)
    windows.close()
    assert [problem for problem in windows.problems if problem.startswith(told)]


def test_without_a_browser_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser.VARIABLE, "no-such-browser")
    assert browser.missing() == "no browser: none of no-such-browser is on the path"


def test_the_executable_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.touch(mode=0o755)
    monkeypatch.setenv(browser.VARIABLE, str(own))
    assert (browser.executable(), browser.missing()) == (str(own), "")
