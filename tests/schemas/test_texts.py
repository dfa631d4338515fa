"""Texts that say the same to people, and how errors quote a long one."""

from __future__ import annotations

import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given

from schemas.texts import QUOTED, brief, normalised

SAME = [
    ("open the drawer", "  Open\tTHE \n drawer"),
    ("open the drawer", "Open the drawer."),
    ("open the drawer", "open the drawer ..."),
    ("open the drawer", "open the drawer\N{HORIZONTAL ELLIPSIS}"),
    ("open the drawer", "open\N{NO-BREAK SPACE}the drawer!"),
    ("open the drawer", "open the \N{ZERO WIDTH SPACE}drawer"),
    ("open the drawer", "ｏｐｅｎ the drawer"),
    ("don't open it", "don\N{RIGHT SINGLE QUOTATION MARK}t open it"),
    ("don't open it", "don&#39;t open it"),
    ("don't open it", "Don&amp;rsquo;t open it"),
    ('the "red" cup', "the \N{LEFT DOUBLE QUOTATION MARK}red\N{RIGHT DOUBLE QUOTATION MARK} cup"),
    ("salt & pepper", "salt &amp; pepper"),
    ("the café", unicodedata.normalize("NFD", "the café")),
    ("the café", "the CAFÉ"),
    ("the café", "the cafÃ©"),  # UTF-8 that was read as Latin-1
    ("the file", "the \N{LATIN SMALL LIGATURE FI}le"),
]
DIFFERENT = [
    ("open the drawer", "open the drawers"),
    ("turn to 1.5", "turn to 15"),
    ("the café", "the cafe"),
    ("it's", "its"),
    ("?", ""),
    ("?", "!"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_texts_that_say_the_same(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_do_not(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")).filter("&".__ne__)))
def test_plain_texts_lose_case_spaces_and_end_marks_only(text: str) -> None:
    words = " ".join(text.lower().split())
    bare = words.rstrip(" .,;:!?")
    assert normalised(text) == (bare or words)


def test_a_quote_is_short_and_one_line() -> None:
    assert brief("a\n b") == "a b"
    assert brief(7) == "7"
    assert brief("x" * QUOTED) == "x" * QUOTED
    for long in ("x" * 10**6, ["x"] * 10**5, "\n" * 10**6 + "end"):
        assert len(brief(long)) <= QUOTED
        assert "…" in brief(long)
