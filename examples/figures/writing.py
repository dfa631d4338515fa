"""Pieces of Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from examples.figures.runs import Record
from examples.playroom.recipe import Estimate

_WIDTH: Final = 110
_MANY: Final = 1000


def prose(text: str) -> str:
    """A paragraph."""
    return _wrapped(text) + "\n"


def item(text: str) -> str:
    """One of a list."""
    return _wrapped(text, initial_indent="- ", subsequent_indent="  ") + "\n"


def _wrapped(text: str, **indents: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False, **indents)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def picture(pictures: Mapping[str, Path], name: str, title: str) -> str:
    """A picture beside the page, or nothing where it was not drawn."""
    return f"![{title}](images/{pictures[name].name})\n" if name in pictures else ""


def command(options: str, lead: str = "Not run yet:") -> str:
    """The command that makes what is missing."""
    words = f"{lead}\n\n" if lead else ""
    return f"{words}```text\npython -m examples.figures --work DIR {options}\n```\n"


def shown(found: Estimate) -> str:
    """`.431 (.380 to .482)`."""
    return f"{_short(found.value)} ({_short(found.low)} to {_short(found.high)})"


def _short(value: float) -> str:
    """Three digits, without a zero before the point, and without a sign of nothing."""
    if abs(value) >= _MANY:
        return "many"  # a share of next to nothing
    digits = f"{abs(value):.3f}"
    sign = "−" if value < 0 and float(digits) else ""
    return sign + digits.removeprefix("0")


def sure(found: Estimate) -> str:
    """Whether an interval says anything."""
    return "excludes 0" if found.low > 0 or found.high < 0 else "includes 0"


def seeds_of(records: Sequence[Record]) -> str:
    """`seeds 0, 1, 2`."""
    seeds = sorted({record.seed for record in records})
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
