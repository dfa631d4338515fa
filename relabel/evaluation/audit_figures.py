"""The confusion matrix as a picture and as a table. PNG and SVG, by matplotlib."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from relabel.evaluation.confusions import Confusion
from relabel.evaluation.figure_files import figure_files
from schemas.texts import brief

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMED: Final = 60  # goals whose names fit beside the matrix
_STYLE: Final[Any] = {
    "font.size": 8,
    "savefig.dpi": 120,
}
_WHOSE: Final = {
    "truth": "episodes in which this goal holds",
    "commands": "episodes that are told to reach this goal",
    "claims": "episodes in which this goal claims a frame",
}
_WHAT: Final = {
    "truth": "share of them with a frame that the goal claims\n(beside the diagonal: wrongly)",
    "commands": "share of them with a frame that the goal claims",
    "claims": "share of them with a frame that the goal claims",
}


def confusion_files(confusion: Confusion) -> Iterator[tuple[str, bytes]]:
    """Name and content of the table and of the pictures."""
    yield "confusion.csv", _table(confusion)
    yield from figure_files("confusion", lambda: _matrix(confusion), _STYLE)


def _matrix(confusion: Confusion) -> Figure:
    from matplotlib.figure import Figure

    count = len(confusion.goal_ids)
    named = count <= _NAMED
    side = 2.5 + (0.16 * count if named else 6)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.add_subplot()
    shown = np.ma.masked_invalid(confusion.share)
    image = axis.imshow(shown, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axis.set_facecolor("#d8d8d8")  # no such episode
    axis.set_xlabel(_WHOSE[confusion.basis])
    axis.set_ylabel("the goal that claims")
    places = range(count) if named else []
    names = [brief(confusion.goal_ids[place]) for place in places]
    axis.set_xticks(places, names, rotation=90)
    axis.set_yticks(places, names)
    figure.colorbar(image, ax=axis, shrink=0.7, label=_WHAT[confusion.basis])
    return figure


def _table(confusion: Confusion) -> bytes:
    """One row per pair of goals that have an episode to be looked at."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("goal", "episodes_of", "episodes", "share", "rise"))
    for i, j in np.argwhere(confusion.episodes > 0).tolist():
        figures = (f"{confusion.share[i, j]:.6g}", f"{confusion.rise[i, j]:.6g}")
        ids = (confusion.goal_ids[i], confusion.goal_ids[j])
        rows.writerow((*ids, int(confusion.episodes[i, j]), *figures))
    return text.getvalue().encode()
