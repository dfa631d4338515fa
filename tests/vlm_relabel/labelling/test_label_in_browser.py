"""The labelling page in a browser: keys, touch, undo, reload, download; and what must not run."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from schemas.labels import read_labels
from tests.browser import OpenPage
from vlm_relabel.labelling.page import PageFrame, PageGoal, make_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

ODD = "a <script>window.ran = 1</script><img src=x onerror='window.ran = 1'> room"
GOALS = (
    PageGoal("red", ("a red room", "a room, all red")),
    PageGoal('o"d,\nd', (ODD, "😀 \u202eחדר")),
    PageGoal("blue", ("a blue room",)),
)
PLACES = (("train/0/0", 3), ('t"a,b/0/1', 0))
QUESTIONS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))


def picture(level: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), level, np.uint8)).save(stream, "WEBP")
    return stream.getvalue()


FRAMES = [PageFrame(*place, picture(80 * i)) for i, place in enumerate(PLACES)]


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    path = tmp_path / "label page é.html"
    path.write_bytes(make_page(FRAMES, GOALS, QUESTIONS, "v1"))
    return path


def press(page: Page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def count(page: Page) -> str:
    return page.inner_text("#count")


def asked(page: Page) -> tuple[str, str]:
    return page.inner_text("#place"), page.text_content("#goal") or ""


def downloaded(page: Page, tmp_path: Path, key: str | None = None) -> list[tuple[object, ...]]:
    with page.expect_download() as found:
        page.click("#download") if key is None else page.keyboard.press(key)
    assert found.value.suggested_filename == "labels-v1.csv"
    path = tmp_path / "labels.csv"
    found.value.save_as(path)
    return [tuple(row) for row in read_labels(str(path))]


def expected(*said: tuple[int, bool]) -> list[tuple[object, ...]]:
    rows = [(*PLACES[QUESTIONS[q][0]], GOALS[QUESTIONS[q][1]].goal_id, label) for q, label in said]
    return sorted(rows, key=lambda row: (row[2], row[0], row[1]))


def test_keys_answer_and_the_file_comes_back(
    open_page: OpenPage, place: Path, tmp_path: Path
) -> None:
    page = open_page(place)
    assert asked(page) == ("episode train/0/0, step 3 (1 of 2)", "a red room")
    assert page.get_attribute("#frame", "src").startswith("data:image/webp")  # type: ignore[union-attr]
    assert page.evaluate("document.getElementById('frame').naturalWidth") == 30
    press(page, "y")
    assert asked(page) == ("episode train/0/0, step 3 (2 of 2)", ODD)
    press(page, "N s Y")
    assert asked(page)[1] == "a blue room"
    assert count(page) == "4 of 5 questions: 2 yes, 1 no, 1 skipped"
    wanted = expected((0, True), (1, False), (3, True))
    assert downloaded(page, tmp_path) == wanted == downloaded(page, tmp_path, "d")
    press(page, "n")
    assert page.inner_text("#done-title") == "All is answered"
    press(page, "y n s ArrowRight")  # nothing is left to answer
    assert count(page) == "5 of 5 questions: 2 yes, 2 no, 1 skipped"
    assert downloaded(page, tmp_path) == expected((0, True), (1, False), (3, True), (4, False))


def test_undo_and_arrows(open_page: OpenPage, place: Path, tmp_path: Path) -> None:
    page = open_page(place)
    press(page, "u ArrowLeft y n ArrowLeft ArrowLeft")
    assert page.inner_text("#answered") == "answered: yes"
    assert page.get_attribute("#yes", "class") == "given"
    press(page, "n")  # another answer to the first question; the next one without any follows
    assert asked(page)[0].startswith('episode t"a,b/0/1')
    press(page, "Backspace")
    assert page.inner_text("#answered") == "answered: yes"
    press(page, "Control+z u u")
    assert count(page) == "0 of 5 questions: 0 yes, 0 no, 0 skipped"
    assert page.is_disabled("#download")
    assert page.is_disabled("#undo")
    press(page, "ArrowRight ArrowRight ArrowRight ArrowRight ArrowRight ArrowRight")
    assert page.inner_text("#done-title") == "5 questions left without an answer"
    press(page, "ArrowLeft y")  # then those that were passed over
    assert asked(page)[1] == "a red room"


def test_a_key_held_down_answers_once(open_page: OpenPage, place: Path) -> None:
    page = open_page(place)
    page.keyboard.down("y")
    page.keyboard.down("y")
    page.keyboard.down("y")
    page.keyboard.up("y")
    assert count(page).startswith("1 of 5")
    press(page, "Control+y Alt+n Shift+n")
    assert count(page).startswith("2 of 5")


def test_skipped_ones_are_asked_again(open_page: OpenPage, place: Path) -> None:
    page = open_page(place)
    press(page, "s y s y y")
    page.click("#skipped")
    assert count(page) == "3 of 5 questions: 3 yes, 0 no, 0 skipped"
    press(page, "n n")
    assert page.is_hidden("#skipped")
    assert count(page) == "5 of 5 questions: 3 yes, 2 no, 0 skipped"


def test_answers_outlive_a_reload_and_belong_to_their_page(
    open_page: OpenPage, place: Path, tmp_path: Path
) -> None:
    page = open_page(place)
    press(page, "y n")
    page.reload()
    assert count(page) == "2 of 5 questions: 1 yes, 1 no, 0 skipped"
    assert asked(page)[0].startswith('episode t"a,b/0/1')
    press(page, "u")
    assert count(page) == "1 of 5 questions: 1 yes, 0 no, 0 skipped"
    other = tmp_path / "other.html"
    other.write_bytes(make_page(FRAMES, GOALS, QUESTIONS[:3], "v1"))
    page.goto(other.as_uri())
    assert count(page) == "0 of 3 questions: 0 yes, 0 no, 0 skipped"


@pytest.mark.parametrize(
    "kept",
    ["no json", "null", "[]", '{"answers": "yyyyyyyyy", "trail": [], "at": 0}',
     '{"answers": "y----", "trail": [[9, "-"]], "at": 0}',
     '{"answers": "y----", "trail": [], "at": 99}', '{"answers": 1}'],
)  # fmt: skip
def test_what_is_kept_may_be_anything(open_page: OpenPage, place: Path, kept: str) -> None:
    page = open_page(place)
    press(page, "y")
    key = page.evaluate("Object.keys(localStorage)[0]")
    page.evaluate(f"localStorage.setItem({json.dumps(key)}, {json.dumps(kept)})")
    page.reload()
    assert count(page) == "0 of 5 questions: 0 yes, 0 no, 0 skipped"
    press(page, "y")
    assert count(page).startswith("1 of 5")


def test_without_storage_it_says_so(open_page: OpenPage, place: Path) -> None:
    page = open_page(place)
    assert page.is_hidden("#warning")
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no') } })"
    )
    page.reload()
    assert "download them before you leave" in page.inner_text("#warning")
    press(page, "y")
    assert count(page).startswith("1 of 5")


def test_it_works_by_thumb(open_page: OpenPage, place: Path, tmp_path: Path) -> None:
    page = open_page(place, phone=True)
    for button in ("#no", "#skip", "#yes"):
        box = page.locator(button).bounding_box()
        assert box is not None
        assert box["height"] >= 64
        assert box["width"] >= 64
        assert box["y"] + box["height"] <= 740  # in sight
    for button in ("#yes", "#skip", "#undo", "#no", "#yes"):
        page.tap(button)
    assert count(page) == "3 of 5 questions: 2 yes, 1 no, 0 skipped"
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert downloaded(page, tmp_path) == expected((0, True), (1, False), (2, True))


def test_the_labels_can_be_copied_as_text(open_page: OpenPage, place: Path, tmp_path: Path) -> None:
    page = open_page(place)
    press(page, "y n")
    page.click("#show")
    path = tmp_path / "pasted.csv"
    path.write_text(page.input_value("#table"), encoding="utf-8")
    assert [tuple(row) for row in read_labels(str(path))] == expected((0, True), (1, False))
    page.focus("#table")
    press(page, "y")  # typed into the field, which answers nothing
    assert count(page).startswith("2 of 5")


def test_texts_of_goals_stay_texts(open_page: OpenPage, place: Path) -> None:
    page = open_page(place)
    press(page, "y")
    assert page.text_content("#goal") == ODD
    assert page.locator("#goal *").count() == 0
    assert page.text_content("#texts li") == "😀 \u202eחדר"
    assert page.get_attribute("#texts li", "dir") == "auto"
    assert page.evaluate("window.ran") is None


@pytest.fixture(name="long_page")
def _long_page(tmp_path: Path) -> Iterator[Path]:
    goals = [PageGoal("g" * 300, ("word" * 500, *["x" * 200] * 30))]
    path = tmp_path / "long.html"
    path.write_bytes(make_page(FRAMES, goals, [(0, 0), (1, 0)], "v1"))
    return path


def test_long_texts_do_not_push_the_buttons_away(open_page: OpenPage, long_page: Path) -> None:
    page = open_page(long_page, phone=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.documentElement.scrollHeight") < 1000
