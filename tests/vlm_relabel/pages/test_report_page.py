"""The report in a browser: clicks, sliders, keys, links, telephones, and hostile texts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vlm_relabel
from relabel.source.source import Source
from tests import browser, small
from tests.browser import OpenPage
from tests.relabel import goal_dataset_stores
from tests.relabel.goal_dataset_stores import How, make_store
from tests.vlm_relabel.pages.report_files import content, episodes, told_by

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = (
    '<script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">',
    '</script><b id=hurt>commas, "quotes" and\nnew\u2028lines',
    "שלום עולם 🤖 \u202eturned",
)
VIEWS = ("#/", "#/goals", "#/goal/v1/g0", "#/confusion", "#/episodes", "#/episode/train%2F0%2F2")
NAMELESS = """() => {
  const named = (e) => e.textContent.trim() || e.getAttribute("aria-label")
    || (e.labels && e.labels.length) || e.querySelector("[aria-label]");
  const used = document.querySelectorAll("a[href], button, input, select, canvas[tabindex]");
  return [...used].filter((e) => !named(e)).map((e) => e.outerHTML);
}"""
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a store whose goals and instructions have hostile texts, with truth."""
    folder = tmp_path_factory.mktemp("report")
    told = [replace(e, language=HOSTILE[0]) for e in episodes([6, 1, 9, 4], 3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(goal_dataset_stores, "TEXTS", HOSTILE)
        store = make_store(folder / "hostile.store", told, How(threshold=(0.5, 0.6, 0.99)))
    out = folder / "out"
    vlm_relabel.report(store=store.location, out=out, labels_field="truth", no_plots=True)
    return out


@pytest.fixture
def opened(open_page: OpenPage, site: Path) -> Open:
    """Opens a view of the report."""

    def visit(view: str = "#/", *, place: Path = site, **how: bool) -> Page:
        page = open_page((place / "index.html").resolve().as_uri() + view, **how)
        page.wait_for_selector("body[data-view]")
        return page

    return visit


def texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_a_telephone_and_keeps_hostile_texts_texts(opened: Open, view: str) -> None:
    for phone in (False, True):
        page = opened(view, phone=phone)
        width = "[document.documentElement.scrollWidth, window.innerWidth]"
        scroll, inner = page.evaluate(width)
        assert scroll <= inner
        assert page.evaluate("window.hurt") is None
        assert page.locator("#hurt, main script, main img, main b").count() == 0
        assert page.locator("h1").count() == 1
    if view not in ("#/", "#/confusion"):
        assert HOSTILE[0] in page.inner_text("main")


def test_the_policy_forbids_what_is_written_into_the_page(
    chromium: browser.Browser, site: Path
) -> None:
    windows = browser.Windows(chromium)
    page = windows(site / "index.html")
    policy = page.get_attribute("meta[http-equiv]", "content")
    assert policy is not None and "unsafe" not in policy and "default-src 'none'" in policy
    link = "<a id=bad href='javascript:window.hurt=1'>x</a>"
    page.evaluate("text => document.body.insertAdjacentHTML('beforeend', text)", link)
    page.evaluate("document.getElementById('bad').click()")
    assert page.evaluate("window.hurt") is None
    windows.close()
    assert any("Content Security Policy" in problem for problem in windows.problems)


def test_views_are_reached_by_clicks(opened: Open) -> None:
    page = opened()
    page.click("nav >> text=Goals")
    page.wait_for_selector("body[data-view=goals]")
    page.click("table.goals tbody tr:first-child a")
    page.wait_for_selector("body[data-view=goal]")
    assert "#/goal/v1/" in page.url
    page.click(".frames a >> nth=0")
    page.wait_for_selector("body[data-view=episode]")
    page.click("nav >> text=Confusion")
    page.wait_for_selector("body[data-view=confusion]")
    page.go_back()
    page.wait_for_selector("body[data-view=episode]")


def test_goals_are_sorted_by_their_headings(opened: Open, site: Path) -> None:
    page = opened("#/goals")
    rows = content(site, "sets/0")["rows"]
    ids = [f"g{n}" for n in range(3)]

    def shown() -> list[str]:
        return texts(page, "table.goals td.wide small")

    assert shown() == sorted(ids, key=lambda g: rows[ids.index(g)]["precision"])
    page.focus("[data-sort=true]")
    page.keyboard.press("Enter")
    number = {g: rows[place]["true"] for place, g in enumerate(ids)}
    by_true = sorted(ids, key=lambda g: -number[g])
    assert shown() == by_true
    assert page.get_attribute("th:has([data-sort=true])", "aria-sort") == "descending"
    page.click("[data-sort=true]")
    by_false = sorted(ids, key=lambda g: number[g])
    assert shown() == by_false and "sort=true&up=1" in page.url
    again = opened("#" + page.url.split("#")[1])
    assert texts(again, "table.goals td.wide small") == by_false
    page.fill("#find", "שלום")
    assert shown() == ["g2"]


def test_the_slider_says_what_a_threshold_gives(opened: Open, site: Path) -> None:
    page = opened("#/goal/v1/g1")
    table = content(site, "sets/0")
    row = table["rows"][1]

    def cards() -> dict[str, str]:
        return dict(zip(texts(page, ".live dt"), texts(page, ".live dd"), strict=True))

    hits, alarms = row["ownKnown"]
    assert cards()["Precision"] == f"{hits / (hits + alarms):.3f}"
    assert cards()["Claimed frames"] == str(hits + alarms)
    page.focus("#beta")
    page.keyboard.press("ArrowRight")
    place = int(page.input_value("#beta"))
    hits, alarms = row["trueAbove"][place], row["falseAbove"][place]
    assert cards()["Precision"] == f"{hits / (hits + alarms):.3f}"
    assert cards()["Recall"] == f"{hits / row['true']:.3f}"
    assert page.inner_text(".slider output") == f"{table['thresholds'][place]:g}"
    assert "beta=" in page.url
    page.keyboard.press("End")
    assert (cards()["Claimed frames"], cards()["Precision"]) == ("0", "–")
    assert set(texts(page, ".verdict")) <= {"missed", "quiet"}
    page.click("button.own")
    assert page.get_attribute("button.own", "aria-pressed") == "true" and "beta=" not in page.url
    page.locator(".choosable").last.click(position={"x": 30, "y": 30})
    assert float(page.inner_text(".slider output")) < 0.2


def test_one_threshold_for_all_goals(opened: Open, site: Path) -> None:
    page = opened("#/goals?beta=0.7")
    table = content(site, "sets/0")
    place = int(np.argmin(np.abs(np.array(table["thresholds"]) - 0.7)))
    precision = [
        row["trueAbove"][place] / (row["trueAbove"][place] + row["falseAbove"][place])
        for row in table["rows"]
    ]
    assert f"mean precision {np.mean(precision):.3f}" in page.inner_text(".summary")


def test_an_episode_is_walked_through_by_keys(opened: Open) -> None:
    page = opened("#/episode/train%2F0%2F2?goals=g0")
    assert texts(page, "figcaption bdi") == [HOSTILE[0]]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".now p").startswith("Step 2 of 8") and "t=2" in page.url
    page.keyboard.press("End")
    assert page.inner_text(".now p").startswith("Step 8 of 8")
    page.keyboard.press("]")
    page.wait_for_selector("h1 bdi:text-is('train/0/3')")
    assert page.inner_text(".now p").startswith("Step 0 of 3")
    page.click("summary")
    page.check("input[value=g1]")
    assert "goals=g0%2Cg1" in page.url and len(texts(page, "figure")) == 2


def test_the_chart_of_an_episode_follows_the_mouse(opened: Open) -> None:
    page = opened("#/episode/train%2F0%2F2")
    chart = page.locator(".curves .u-over").first
    box = chart.bounding_box()
    assert box is not None
    chart.hover(position={"x": box["width"] * 0.5, "y": 20})
    assert page.inner_text(".now p").startswith("Step 4 of 8")


def test_the_cell_of_the_matrix_moves_by_keys(opened: Open, site: Path) -> None:
    page = opened("#/confusion?row=g0&column=g0")
    data = content(site, "confusion/0")
    told = [
        f"in {round(data['share'][n][n] * data['episodes'][n][n])} of the {data['episodes'][n][n]}"
        for n in (0, 1)
    ]
    assert told[0] in page.inner_text(".summary")
    page.focus("canvas")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert "row=g1&column=g1" in page.url
    assert told[1] in page.inner_text(".summary")


@pytest.mark.parametrize("view", VIEWS)
def test_everything_that_can_be_used_is_reached_by_tab_and_has_a_name(
    opened: Open, view: str
) -> None:
    page = opened(view)
    nameless = page.evaluate(NAMELESS)
    assert nameless == []
    page.keyboard.press("Tab")
    style = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(style) == "solid"


def test_an_address_of_nothing_says_so(opened: Open) -> None:
    for view in ("#/goal/v1/gone", "#/episode/gone", "#/goal/%E0%A4%A"):
        assert texts(opened(view), "h1") == ["Not here"]
    assert texts(opened("#/constructor"), "h1") == ["told 1.0.0, train"]


def test_frames_are_drawn(opened: Open, source_dir: Path, tmp_path: Path) -> None:
    source = Source.open(str(source_dir), "train")
    store = told_by(small.build_store(tmp_path / "small.store", source), source_dir)
    out = tmp_path / "out"
    vlm_relabel.report(store=store.location, out=out, no_plots=True)
    page = opened("#/episode/train%2F1%2F0?t=3", place=out)
    picture = page.locator(".big .tile")
    assert "frames/episode-" in picture.evaluate("e => getComputedStyle(e).backgroundImage")
    assert page.get_attribute(".film button[aria-current]", "data-step") == "3"
    assert page.locator(".film button[aria-current]").is_visible()
    page.click(".film button[data-step='1']")
    assert page.inner_text(".now p").startswith("Step 1 of 4")


@pytest.mark.slow
def test_a_hundred_episodes_and_fifty_goals_open(
    opened: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts_of = tuple(f"goal number {n}" for n in range(50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(goal_dataset_stores, "TEXTS", texts_of)
        store = make_store(tmp_path / "large.store", episodes([30] * 100, 50))
    out = tmp_path / "out"
    vlm_relabel.report(store=store.location, out=out, labels_field="truth", no_plots=True)
    for view in ("#/", "#/goals", "#/goal/v1/g7", "#/episodes", "#/episode/train%2F0%2F5"):
        began = time.perf_counter()
        page = opened(view, place=out)
        seconds = time.perf_counter() - began
        assert page.locator("h1").count() == 1
        with capsys.disabled():
            sys.stdout.write(f"\n100 episodes, 50 goals, {view}: open after {seconds:.2f} s\n")
