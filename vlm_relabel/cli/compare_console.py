"""What people see of a comparison."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from schemas.texts import brief
from vlm_relabel.cli import console

if TYPE_CHECKING:
    from relabel.evaluation.comparison_report import Comparison, DisputedFrame
    from relabel.evaluation.measured import Difference, Figure

_FAMILIES: Final = 5  # shown
_GOALS: Final = 5  # whose average precision differs most
_COLOURS: Final = {"helps": "green", "hurts": "red", "higher": "green", "lower": "red"}


def show_comparison(found: Comparison, out: str | None, as_json: bool) -> None:
    """The most important numbers, or all as JSON."""
    if as_json:
        console.print_json(found.model_dump(mode="json"))
        return
    _head(found)
    _figures(found)
    _families(found)
    _differences(found)
    _goals(found)
    _agreement(found)
    _disputed(found)
    _tricks(found)
    for note in found.notes:
        console.OUT.print(f"  [yellow]note[/]: {escape(note)}")
    if out is not None:
        console.OUT.print(f"numbers and pictures are in {escape(out)}")
    console.show_next(list(_next(found)))


def _head(found: Comparison) -> None:
    sets = [one for one in found.sets if not one.control]
    goals = console.counted(len(found.goals), "goal")
    shared = f"{goals} in common" if len(sets) > 1 else goals
    console.OUT.print(
        f"[bold]{escape(found.store)}[/]: {console.counted(len(sets), 'reward set')}, {shared}, "
        f"{console.counted(found.frames, 'frame')} in {console.counted(found.episodes, 'episode')}"
    )
    console.OUT.print(f"  truth: {escape(_truth(found))}")
    for one in sets:
        cameras = ", ".join(one.cameras) or "no camera"
        how = " ".join(_function(one.function))
        console.OUT.print(f"  {escape(one.name)}: {escape(f'{how}; {one.encoder}; {cameras}')}")
    console.OUT.print("")


def _truth(found: Comparison) -> str:
    truth, first = found.truth, found.sets[0]
    if not truth:
        return "none; the reward sets are held against each other alone"
    known = f"{first.positives:,} of {first.frames_known:,} pairs of frame and goal are true"
    if "labels" in truth:
        return f"{truth['count']:,} labels; {known}"
    where = f" where {truth['where']}" if truth.get("where") else ""
    return f"column {truth['field']}{where}; {known}"


def _function(content: dict[str, Any]) -> Iterator[str]:
    inner = content.get("of")
    own = {key: value for key, value in content.items() if key not in ("name", "of")}
    yield str(content.get("name"))
    for key, value in own.items():
        if isinstance(value, float | int | str):
            yield f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
    if isinstance(inner, dict):
        yield "of"
        yield from _function(inner)


def _figures(found: Comparison) -> None:
    measures = [
        ("average precision", found.average_precision),
        ("episode AUC", found.episode_auc),
        ("order of time, τ", found.time_order),
    ]
    shown = [(title, figures) for title, figures in measures if figures]
    if not shown:
        return
    columns = ("mean over goals, 95 % interval", *(title for title, _ in shown))
    table = console.table_of(columns, left=columns[:1])
    for one in found.sets:
        cells = (_told(_of(figures, one.name, "all")) for _, figures in shown)
        style = "dim" if one.control else None
        table.add_row(f"{escape(one.name)}{' (control)' * one.control}", *cells, style=style)
    console.OUT.print(table)
    if found.base_rates:
        mean = sum(found.base_rates.values()) / len(found.base_rates)
        console.OUT.print(f"  base rate: {mean:.3f} of a goal's frames are true")


def _of(figures: Sequence[Figure], rewards: str, scope: str, name: str = "all") -> Figure | None:
    wanted = (rewards, scope, name)
    return next((f for f in figures if (f.rewards, f.scope, f.name) == wanted), None)


def _told(figure: Figure | Difference | None, form: str = ".3f") -> str:
    if figure is None or figure.value is None:
        return "—"
    if figure.low is None or figure.high is None:
        return f"{figure.value:{form}}"
    return f"{figure.value:{form}} \\[{figure.low:{form}}, {figure.high:{form}}]"


def _families(found: Comparison) -> None:
    """Average precision by family; the largest ones."""
    first = found.sets[0].name
    own = [f for f in found.average_precision if (f.rewards, f.scope) == (first, "family")]
    shown = sorted((f for f in own if f.goals), key=lambda f: -f.goals)[:_FAMILIES]
    if len(shown) < 2:
        return
    titles = [f"{escape(brief(f.name))} ({f.goals})" for f in shown]
    columns = ("average precision by family (goals)", *titles)
    table = console.table_of(columns, left=columns[:1])
    for one in found.sets:
        cells = (
            _told(_of(found.average_precision, one.name, "family", family.name)) for family in shown
        )
        table.add_row(escape(one.name), *cells, style="dim" if one.control else None)
    console.OUT.print(table)
    if len(own) > len(shown):
        console.OUT.print(f"  and {len(own) - len(shown)} families more (--json lists all)")


def _differences(found: Comparison) -> None:
    measures = (
        ("average precision", found.precision_differences),
        ("episode AUC", found.auc_differences),
        ("order of time, τ", found.order_differences),
    )
    rows = [(title, d) for title, own in measures for d in own if d.scope == "all" and d.goals]
    if not rows:
        return
    columns = ("paired differences", "measure", "change", "")
    table = console.table_of(columns, left=("paired differences", "measure", ""))
    for title, difference in rows:
        names = f"{escape(difference.rewards)} against {escape(difference.than)}"
        table.add_row(names, title, _told(difference, "+.3f"), _coloured(difference.verdict))
    console.OUT.print(table)


def _coloured(verdict: str) -> str:
    colour = _COLOURS.get(verdict)
    return escape(verdict) if colour is None else f"[{colour}]{verdict}[/]"


def _goals(found: Comparison) -> None:
    """The goals that differ most."""
    own = [d for d in found.precision_differences if d.scope == "goal" and d.value is not None]
    own = [d for d in own if d.verdict in ("higher", "lower")]
    own.sort(key=lambda d: -abs(d.value or 0))
    if not own:
        return
    columns = ("goals that differ most", "sets", "average precision")
    table = console.table_of(columns, left=columns[:2])
    for one in own[:_GOALS]:
        sets = f"{escape(one.rewards)} against {escape(one.than)}"
        table.add_row(escape(one.name), sets, _told(one, "+.3f"))
    console.OUT.print(table)
    if len(own) > _GOALS:
        more = console.counted(len(own) - _GOALS, "further goal")
        console.OUT.print(f"  and {more} that differ (--json lists all)")


def _agreement(found: Comparison) -> None:
    rows = [a for a in found.rank_agreement if a.scope == "all"]
    if not rows:
        return
    columns = ("rank agreement, mean over goals", "Spearman's ρ", "Kendall's τ", "goals")
    table = console.table_of(columns, left=columns[:1])
    for one in rows:
        cells = ("—" if v is None else f"{v:.3f}" for v in (one.spearman, one.kendall))
        table.add_row(f"{escape(one.rewards)} and {escape(one.other)}", *cells, str(one.goals))
    console.OUT.print(table)


def _disputed(found: Comparison) -> None:
    if not found.disputed:
        return
    names = list(found.disputed[0].scores)
    columns = ("frames they disagree on most", "step", "goal", *names, "true")
    left = ("frames they disagree on most", "goal", "true")
    table = console.table_of([escape(column) for column in columns], left=left)
    for one in found.disputed:
        cells = (_place(one, name) for name in names)
        true = {None: "?", True: "yes", False: "no"}[one.truth]
        table.add_row(escape(one.episode_id), str(one.step), escape(one.goal_id), *cells, true)
    console.OUT.print(table)
    console.OUT.print(f"  score, and its rank among {found.frames_ranked:,} frames; 1 is the top")


def _place(one: DisputedFrame, name: str) -> str:
    return f"{one.scores[name]:.3f} ({one.ranks[name]:,.0f})"


def _tricks(found: Comparison) -> None:
    if not found.tricks:
        return
    columns = ("trick", "on", "average precision", "change", "better", "worse", "")
    table = console.table_of(columns, left=("trick", "on", ""))
    for one in sorted(found.tricks, key=lambda t: (t.rewards, -(t.change or 0), t.change is None)):
        if one.change is None:
            cells = ["—", "—", "", ""]
        else:
            interval = "" if one.low is None else f" \\[{one.low:+.3f}, {one.high:+.3f}]"
            precision = f"{one.average_precision:.3f}"
            counts = (str(one.goals_better), str(one.goals_worse))
            cells = [precision, f"{one.change:+.3f}{interval}", *counts]
        table.add_row(escape(one.trick), escape(one.rewards), *cells, _coloured(one.verdict))
    console.OUT.print(table)
    console.OUT.print("  better, worse: goals whose average precision changes by more than 0.01")


def _next(found: Comparison) -> Iterator[str]:
    names = [one.name for one in found.sets if not one.control]
    words = ["vlm-relabel", "compare", found.store, "--rewards", *names]
    if not found.truth:
        yield shlex.join(["vlm-relabel", "label", found.store, "--rewards", names[0]])
        yield f"{shlex.join(words)} --labels labels-{names[0]}.csv"
    elif "field" in found.truth and not found.tricks:
        where = ["--where", found.truth["where"]] if found.truth.get("where") else []
        field = ["--labels-field", found.truth["field"]]
        yield shlex.join([*words, *field, *where, "--tricks"])
