"""The file that asks: what stands in it, and what could not be run in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from schemas.errors import LabelError
from vlm_relabel.labelling.page import (
    PageFrame,
    PageGoal,
    check_size,
    json_in_html,
    make_page,
)

ODD = (
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "a, \"b\" & 'c'\nd",
    "{{script}} {{data}}",
    "\u2028 😀 \u202eשלום",
)
FRAMES = [PageFrame("train/0/0", 3, b"RIFF"), PageFrame("<b>", 0, b"RIFX")]
GOALS = [PageGoal(text, (text, "other")) for text in ODD]
QUESTIONS = [(0, 0), (0, 1), (1, 4)]


class Parts(HTMLParser):
    """Scripts and styles of a page as a browser takes them apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.policy = ""
        self.text: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        if tag in self.text:
            self.text[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in self.text:
            self.text[self.tags[-1]][-1] += data


def page(rewards: str = "v1") -> Parts:
    return Parts(make_page(FRAMES, GOALS, QUESTIONS, rewards).decode())


def test_texts_of_data_stand_in_the_json_alone() -> None:
    found = page()
    data, script = found.text["script"]
    assert found.tags.count("script") == 2
    content: dict[str, Any] = json.loads(data)
    assert [goal["texts"][0] for goal in content["goals"]] == list(ODD)
    assert content["questions"] == [list(question) for question in QUESTIONS]
    assert content["file"] == "labels-v1.csv"
    assert base64.b64decode(content["frames"][1]["image"].partition(",")[2]) == b"RIFX"
    assert "alert" not in script
    assert not re.search("[<>&]", data)


def test_only_its_own_script_and_style_may_run() -> None:
    found = page()
    for kind, text in (("script", found.text["script"][1]), ("style", found.text["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in found.policy
    assert "default-src 'none'" in found.policy
    assert "unsafe" not in found.policy
    assert "http" not in found.policy


def test_pages_keep_their_answers_apart() -> None:
    def page_id(*how: Any) -> str:
        text = Parts(make_page(*how).decode()).text["script"][0]
        return str(json.loads(text)["id"])

    one = page_id(FRAMES, GOALS, QUESTIONS, "v1")
    assert one == page_id(FRAMES, GOALS, QUESTIONS, "v1")
    others = (
        (FRAMES, GOALS, QUESTIONS[:2], "v1"),
        (FRAMES, GOALS, QUESTIONS, "v2"),
        (FRAMES[:1], GOALS, QUESTIONS[:2], "v1"),
        ([PageFrame("train/0/0", 3, b"other"), FRAMES[1]], GOALS, QUESTIONS, "v1"),
    )
    assert all(page_id(*other) != one for other in others)


@pytest.mark.parametrize("text", ODD)
def test_json_in_html_is_the_same_json(text: str) -> None:
    assert json.loads(json_in_html([text])) == [text]


def test_pages_that_would_be_too_large_are_refused() -> None:
    check_size(700_000, 100, 2)
    with pytest.raises(LabelError, match=r"--max-mb 2: .*100 questions; give a smaller --budget"):
        check_size(1_400_000, 100, 2)
