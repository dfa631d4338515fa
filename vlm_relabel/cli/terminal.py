"""A terminal that shows texts of data as they are: none can move its cursor or set its title."""

from __future__ import annotations

import sys
from typing import Any, Final

from rich.console import Console
from rich.text import Text

_WIDE: Final = 200  # columns where there is no terminal, so that no name is cut
# Every control character but tab and line feed, as a visible stand-in; bidirectional marks too,
# which make a text look like another.
_CONTROLS: Final = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD),
}


def visible(text: str) -> str:
    """A text with its control characters made visible.

    Example:
        >>> visible("a\\x1b[31mred")
        'a␛[31mred'
    """
    return text.translate(_CONTROLS)


class Terminal(Console):
    """A console of rich whose texts, of tables too, pass through `visible`."""

    def render_str(self, text: str, **how: Any) -> Text:
        """As rich's own."""
        return super().render_str(visible(text), **how)


def standard_output() -> Terminal:
    """Lines are not wrapped, so that what is printed can be copied."""
    return Terminal(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def standard_error() -> Terminal:
    """As `standard_output`, for what is not the result."""
    return Terminal(stderr=True, soft_wrap=True, highlight=False)
