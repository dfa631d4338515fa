"""A figure of matplotlib as files: the same figure has the same bytes, in PNG and SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: Final = ("png", "svg")


def figure_files(
    name: str, draw: Callable[[], Figure], style: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file.

    Args:
        name: of the files, without ending.
        draw: makes the figure; called with the style in force.
        style: parameters of matplotlib; texts, which come from data, are never read as formulas.
    """
    import matplotlib

    used: Any = {**style, "text.parse_math": False, "svg.hashsalt": name}
    with warnings.catch_warnings(), matplotlib.rc_context(used):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # emoji are shown as boxes
        figure = draw()
        for kind in FORMATS:
            content = io.BytesIO()
            dated = {"Date": None} if kind == "svg" else {}
            figure.savefig(content, format=kind, bbox_inches="tight", metadata=dated)
            yield f"{name}.{kind}", content.getvalue()
