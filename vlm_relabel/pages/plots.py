"""The curves of a report as PNG and SVG files, for papers and slides."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlm_relabel.pages.gathering import Gathered
from vlm_relabel.pages.grids import BINS
from vlm_relabel.pages.reward_sets import GatheredSet

_ROWS, _COLUMNS = 5, 4  # of small charts on a page
_LISTED: Final = 40  # goals of one chart of average precisions
_COLOURS: Final = ("#0b6cc4", "#d1570a", "#7b3fb5", "#00806a", "#6b7280")
_TRUE, _OTHER = "#007a57", "#8b93a1"
_WIDTH: Final = 8.0  # inches
_DPI: Final = 120
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # texts stay texts
    "svg.hashsalt": "vlm-relabel",  # the same bytes every time
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 7,
}
Tell = Callable[[int, int], None]


def write_plots(gathered: Gathered, folder: Path, tell: Tell) -> int:
    """Writes every curve of a report; returns the number of files.

    Args:
        gathered: what the report shows.
        folder: gets a folder for each reward set.
        tell: told of every figure.
    """
    figures = [
        (f"{gathered_set.name}/{name}", draw)
        for gathered_set in gathered.sets
        for name, draw in _figures(gathered, gathered_set)
    ]
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # shown as a box
        for done, (name, draw) in enumerate(figures):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            figure = draw()
            figure.savefig(path.with_suffix(".png"), dpi=_DPI)
            figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
            tell(done + 1, len(figures))
    return 2 * len(figures)


def _figures(gathered: Gathered, own: GatheredSet) -> Iterator[tuple[str, Callable[[], Figure]]]:
    if own.measured is not None:
        goals = [g for g in own.shown if own.measured.goals[g].true]
        for number, page in enumerate(_pages(goals, _ROWS * _COLUMNS)):
            yield (
                f"precision-recall-{number}",
                partial(_small, own, page, _draw_curve, ("recall", "precision")),
            )
        ranked = sorted(goals, key=lambda g: own.measured.goals[g].precision)  # type: ignore[union-attr]
        for number, page in enumerate(_pages(ranked, _LISTED)):
            yield f"average-precision-{number}", partial(_precisions, own, page)
    if own.grid is not None:
        for number, page in enumerate(_pages(own.shown, _ROWS * _COLUMNS)):
            yield (
                f"scores-{number}",
                partial(_small, own, page, _draw_histogram, ("score", "frames")),
            )
    yield "confusion", partial(_confusion, gathered, own)


def _pages(goals: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    yield from (tuple(goals[start : start + size]) for start in range(0, len(goals), size))


def _small(
    own: GatheredSet,
    page: Sequence[int],
    draw: Callable[[Axes, GatheredSet, int], None],
    labels: tuple[str, str],
) -> Figure:
    """Small charts of some goals, four in a row."""
    rows = -(-len(page) // _COLUMNS)
    figure = Figure(figsize=(_WIDTH, 0.7 + 1.5 * rows))
    for place, goal in enumerate(page):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        draw(axes, own, goal)
        axes.set_title(_title(own, goal), parse_math=False, loc="left")
    figure.supxlabel(labels[0], fontsize=8)
    figure.supylabel(labels[1], fontsize=8)
    figure.suptitle(_printable(own.name), parse_math=False, fontsize=9)
    figure.tight_layout()
    return figure


def _draw_curve(axes: Axes, own: GatheredSet, goal: int) -> None:
    if own.measured is None:
        return
    measured = own.measured.goals[goal]
    axes.plot(*measured.curve.T, color=_COLOURS[0], linewidth=1.4)
    hits, alarms = measured.own or (0, 0)
    if hits + alarms:
        axes.plot(hits / measured.true, hits / (hits + alarms), "o", color=_COLOURS[1], ms=4)
    axes.set_xlim(-0.02, 1.04)
    axes.set_ylim(-0.02, 1.08)


def _draw_histogram(axes: Axes, own: GatheredSet, goal: int) -> None:
    if own.grid is None or own.scanned.tally is None:
        return
    width = (own.grid.high - own.grid.low) / BINS
    centres = own.grid.low + width * (np.arange(BINS) + 0.5)
    known = None if own.measured is None else own.measured.goals[goal]
    if known is None or not known.known:
        axes.bar(centres, own.scanned.tally.histogram[goal], width, color=_COLOURS[0])
    else:
        axes.bar(centres, known.histogram[0], width, color=_OTHER, alpha=0.6)
        axes.bar(centres, known.histogram[1], width, color=_TRUE, alpha=0.8)
    threshold = own.thresholds[goal]
    if threshold is not None:
        axes.axvline(threshold, color="black", linewidth=0.8, linestyle="--")
    axes.set_yscale("symlog", linthresh=1)


def _precisions(own: GatheredSet, page: Sequence[int]) -> Figure:
    """Average precisions with their intervals, the worst on top."""
    figure = Figure(figsize=(_WIDTH, 0.8 + 0.19 * len(page)))
    axes = figure.add_subplot()
    for place, goal in enumerate(page):
        if own.measured is None:
            break
        measured = own.measured.goals[goal]
        low, high = measured.interval
        axes.plot([low, high], [place, place], color=_OTHER, linewidth=3, solid_capstyle="butt")
        axes.plot(measured.precision, place, "o", color=_COLOURS[0], ms=4)
    axes.set_yticks(
        range(len(page)), [_text(own, goal, 60) for goal in page], parse_math=False, fontsize=7
    )
    axes.set_ylim(len(page) - 0.5, -0.5)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("average precision, with its 95 % interval")
    figure.suptitle(_printable(own.name), parse_math=False, fontsize=9)
    figure.tight_layout()
    return figure


def _confusion(gathered: Gathered, own: GatheredSet) -> Figure:
    """Shares of episodes, as the page has them."""
    found = gathered.confusions[own.name]
    share = found.share[np.ix_(own.shown, own.shown)]
    side = min(14.0, 2.5 + 0.16 * len(own.shown))
    figure = Figure(figsize=(side + 0.8, side))
    axes = figure.add_subplot()
    image = axes.imshow(share, vmin=0, vmax=1, cmap="OrRd", interpolation="nearest")
    names = [_text(own, goal, 60) for goal in own.shown]
    small: dict[str, Any] = {"fontsize": 6, "parse_math": False}
    axes.set_yticks(range(len(names)), names, **small)
    axes.set_xticks(range(len(names)), names, rotation=90, **small)
    axes.set_ylabel("this goal claims frames")
    axes.set_xlabel(f"in episodes of this one ({found.basis})")
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the episodes")
    figure.tight_layout()
    return figure


def _title(own: GatheredSet, goal: int) -> str:
    """In two lines at most."""
    return "\n".join(textwrap.wrap(_text(own, goal, 60), 32, max_lines=2, placeholder="…"))


def _text(own: GatheredSet, goal: int, most: int) -> str:
    texts = own.texts[goal]
    text = _printable(texts[0] if texts else own.goal_ids[goal])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _printable(text: str) -> str:
    """Without line ends and other signs that XML does not have."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
