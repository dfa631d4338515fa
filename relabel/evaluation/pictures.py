"""A comparison as pictures: precision by recall, and what tricks do. PNG and SVG, by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from relabel.evaluation.comparison_report import Comparison, Curve, Trick
from relabel.evaluation.figure_files import figure_files
from schemas.texts import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS: Final = 6  # all goals, and the largest families
_COLOURS: Final = {"helps": "#117733", "hurts": "#aa3344"}
_GREY: Final = "#888888"
_STYLE: Final[Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 110,
}


def pictures(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """Name and content of every picture that there is something to show in."""
    if comparison.curves:
        yield from figure_files("precision_recall", lambda: _precision_recall(comparison), _STYLE)
    if any(trick.change is not None for trick in comparison.tricks):
        yield from figure_files("tricks", lambda: _tricks(comparison), _STYLE)


# --- precision by recall ----------------------------------------------------------------------


def _precision_recall(comparison: Comparison) -> Figure:
    from matplotlib.figure import Figure

    names = panel_names(comparison.curves)
    columns = 2 if len(names) == 4 else min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.3 * columns, 3.1 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, comparison, name)
    for axis in axes[::columns]:
        axis.set_ylabel("precision, mean over goals")
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    return figure


def panel_names(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """Kind and name of each panel: all goals, then families of more and more few goals."""
    first = curves[0].rewards
    own = [curve for curve in curves if curve.rewards == first]
    families = sorted((c for c in own if c.scope == "family"), key=lambda c: -c.goals)
    shown = [("all", "all"), *(("family", curve.name) for curve in families)]
    return shown[:PANELS] if len(families) > 1 else shown[:1]


def _panel(axis: Axes, comparison: Comparison, panel: tuple[str, str]) -> None:
    controls = {one.name for one in comparison.sets if one.control}
    drawn = [curve for curve in comparison.curves if (curve.scope, curve.name) == panel]
    for place, curve in enumerate(drawn):
        told = _legend(comparison, curve)
        # The later ones are thinner, so that curves on top of each other are all seen.
        width = max(1.2, 3 - 0.8 * place)
        style: dict[str, Any] = {"color": f"C{place}", "linewidth": width}
        if curve.rewards in controls:
            style = {"color": _GREY, "linewidth": 1, "linestyle": _dashes(curve.rewards)}
        axis.plot(curve.recall, curve.precision, drawstyle="steps-pre", label=told, **style)
    goals = f"{drawn[0].goals} goal{'s' * (drawn[0].goals != 1)}"
    title = "all goals" if panel[0] == "all" else brief(panel[1])
    axis.set_title(f"{title} ({goals})", fontsize=9)
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall")
    axis.legend(
        fontsize=7, loc="center right", title="average precision", title_fontsize=7, framealpha=0.8
    )


def _dashes(control: str) -> str:
    return "--" if control == "ramp" else ":"


def _legend(comparison: Comparison, curve: Curve) -> str:
    found = (
        figure
        for figure in comparison.average_precision
        if (figure.rewards, figure.scope, figure.name) == (curve.rewards, curve.scope, curve.name)
    )
    figure = next(found, None)
    if figure is None or figure.value is None:
        return curve.rewards
    if figure.low is None or figure.high is None:
        return f"{curve.rewards} {figure.value:.3f}"
    return f"{curve.rewards} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


# --- tricks -----------------------------------------------------------------------------------


def _tricks(comparison: Comparison) -> Figure:
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(trick.rewards for trick in comparison.tricks))
    tried = {
        name: [t for t in comparison.tricks if t.rewards == name and t.change is not None]
        for name in sets
    }
    most = max(len(own) for own in tried.values())
    figure = Figure(figsize=(4.2 * len(sets), 0.22 * most + 1.1), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False, sharex=True).ravel()
    for axis, name in zip(axes, sets, strict=True):
        _forest(axis, name, tried[name])
    return figure


def _forest(axis: Axes, rewards: str, tricks: Sequence[Trick]) -> None:
    axis.axvline(0, color=_GREY, linewidth=0.8)
    for place, trick in enumerate(tricks):
        colour = _COLOURS.get(trick.verdict, _GREY)
        if trick.low is not None and trick.high is not None:
            axis.plot([trick.low, trick.high], [place, place], color=colour, linewidth=1.5)
        axis.plot([trick.change or 0.0], [place], "o", color=colour, markersize=4)
    axis.set_yticks(range(len(tricks)), [brief(trick.trick) for trick in tricks], fontsize=8)
    axis.invert_yaxis()
    axis.set_title(rewards, fontsize=9)
    axis.set_xlabel("change of average precision")
