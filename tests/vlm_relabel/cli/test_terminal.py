"""What a text of data can do to a terminal: nothing."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from vlm_relabel.cli.terminal import Terminal, visible

HOSTILE = "a\x1b[31mred\x1b]0;title\x07 \x9b2J\x08\r\u202etxt.exe\x00"


def shown(content: object) -> str:
    stream = io.StringIO()
    Terminal(file=stream, force_terminal=False, highlight=False, width=100).print(content)
    return stream.getvalue()


def table(cell: str) -> Table:
    made = Table(box=None)
    made.add_column("goal")
    made.add_row(cell)
    return made


@pytest.mark.parametrize("wrap", [str, table], ids=["text", "table"])
def test_no_control_character_passes(wrap: type) -> None:
    told = shown(wrap(HOSTILE))
    assert "a␛[31mred␛]0;title␇ " in told
    assert not [c for c in told if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
    assert "\u202e" not in told


def test_other_texts_stay() -> None:
    text = "ünï\tcode 語\nline “quoted” 🙂"
    assert visible(text) == text


def test_markup_of_our_own_still_works() -> None:
    assert shown("[bold]x[/] \\[y]") == "x [y]\n"
