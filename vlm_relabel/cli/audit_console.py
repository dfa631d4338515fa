"""What people see of an audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.markup import escape

from vlm_relabel.cli import console

if TYPE_CHECKING:
    from relabel.evaluation.audit_report import AuditReport, GoalAudit

_GOALS_SHOWN: Final = 12
_PAIRS_SHOWN: Final = 8
_KINDS: Final = {
    "absent": "absent: the goal holds nowhere in the episode",
    "before": "before the first frame that shows it",
    "after": "after it held, when it no longer does",
}
_BASIS: Final = {
    "truth": "goals that claim frames wrongly in episodes in which another holds",
    "commands": "goals that claim frames in episodes that are told to reach another (they may have "
    "reached both)",
    "claims": "goals that claim frames in the same episodes (nothing says whose they are)",
}


def show_audit(report: AuditReport, out: str | None, as_json: bool) -> None:
    """The outcome of `audit`."""
    if as_json:
        console.print_json(report.model_dump(mode="json"))
        return
    title = f"[bold]{escape(report.rewards)}[/] of {escape(report.store)}"
    console.OUT.print(f"{title}, {len(report.goals):,} goals under {escape(report.encoder)}")
    console.OUT.print(f"  what a goal claims: frames with {escape(report.claims_are)}")
    _show_claims(report)
    _show_coverage(report)
    _show_kinds(report)
    _show_swaps(report)
    _show_confusion(report)
    _show_goals(report)
    for warning in report.warnings:
        console.OUT.print(f"  [bold yellow]warning[/]: {escape(warning)}")
    if not report.warnings:
        console.OUT.print("  [green]no warning[/]")
    for note in report.notes:
        console.OUT.print(f"  [yellow]note[/]: {escape(note)}")
    if out is not None:
        console.OUT.print(f"  the confusion matrix and all figures are in {escape(out)}")


def _show_claims(report: AuditReport) -> None:
    claims = report.claims
    console.OUT.print(
        f"  {claims.frames:,} frames: {_figure(claims.mean_goals, '.2f')} goals claim one on "
        f"average, none claims {_share(claims.none)}; exclusive goals claim "
        f"{_share(claims.at_once)} at once ({claims.exclusive_pairs:,} pairs)"
    )
    for rivals in claims.rivals[:_PAIRS_SHOWN]:
        names = " and ".join(map(escape, rivals.goals))
        console.OUT.print(f"    {names}: {rivals.frames:,} frames")


def _show_coverage(report: AuditReport) -> None:
    for coverage in report.coverage:
        told = []
        if coverage.outside is not None:
            told.append(
                f"{_share(coverage.outside)} of {coverage.frames:,} frames lie outside of what the "
                f"encoder knows ({_share(coverage.expected)} expected), held against "
                f"{coverage.reference}"
            )
        if coverage.unfit is not None:
            told.append(f"no prompt fits {_share(coverage.unfit)}")
        if told:
            console.OUT.print(f"  {escape(coverage.embeddings)}: {escape('; '.join(told))}")
    found = report.instructions
    if found is not None:
        console.OUT.print(
            f"  instructions: an episode scores higher for what it is told than "
            f"{found.lift:.0%} of the others (50% is chance; p = {found.p:.2g}, "
            f"{found.instructions:,} instructions, {found.episodes:,} episodes)"
        )


def _show_kinds(report: AuditReport) -> None:
    if not report.kinds:
        return
    columns = ("false positives", "frames", "claimed", "rate", "episodes", "with one")
    table = console.table_of(columns, left=columns[:1])
    for kind in report.kinds:
        table.add_row(
            _KINDS[kind.kind],
            f"{kind.frames:,}",
            f"{kind.claimed:,}",
            _share(kind.rate, 2),
            f"{kind.episodes:,}",
            _share(_part(kind.fooled, kind.episodes), 2),
        )
    console.OUT.print(table)


def _show_swaps(report: AuditReport) -> None:
    if not report.swaps:
        return
    known = report.truth is not None
    columns = ["one word exchanged", "texts", "claimed frames", "it fits better"]
    columns += ["frames of such a goal", "claimed", "rate"] if known else []
    table = console.table_of(columns, left=columns[:1])
    for swap in report.swaps:
        row = [swap.kind, f"{swap.texts:,}", f"{swap.frames:,}", _share(swap.rate)]
        if known:
            row += [_count(swap.shown), _count(swap.claimed), _share(swap.false_rate, 2)]
        table.add_row(*row)
    if known and report.swaps_elsewhere is not None:
        table.add_row("elsewhere", *[""] * 5, _share(report.swaps_elsewhere, 2))
    console.OUT.print(table)
    told = [f"{count:,} {_SOURCES[name]}" for name, count in report.swaps_from.items() if count]
    if told:
        console.OUT.print(f"  texts: {', '.join(told)}")


_SOURCES: Final = {
    "goals": "are other goals",
    "stored": "are stored",
    "encoder": "were embedded by the encoder",
    "missing": "are left out",
}


def _show_confusion(report: AuditReport) -> None:
    found = report.confusion
    if found.others is None:
        return
    columns = ("goal", "in episodes of", "episodes", "claims", "rises")
    table = console.table_of(columns, left=columns[:2])
    for pair in found.worst[:_PAIRS_SHOWN]:
        table.add_row(
            escape(pair.goal),
            escape(pair.episodes_of),
            f"{pair.episodes:,}",
            _share(pair.share),
            _share(pair.rise),
        )
    console.OUT.print(
        f"  confusion: in {_share(found.others)} of the episodes of others, in {_share(found.own)} "
        "of their own, on average over goals"
    )
    if found.worst:
        console.OUT.print(f"  {_BASIS[found.basis]}:")
        console.OUT.print(table)
        more = len(found.worst) - _PAIRS_SHOWN
        if more > 0:
            console.OUT.print(f"  and {more} pairs more (--json lists them, --out has all)")


def _show_goals(report: AuditReport) -> None:
    known = report.truth is not None
    columns = ["goal", "family", "claims"]
    columns += ["precision", "recall", "absent", "before", "after"] if known else []
    columns += ["other text fits", ""]
    table = console.table_of(columns, left=(*columns[:2], ""))
    shown = sorted(report.goals, key=_badness)[:_GOALS_SHOWN]
    for goal in shown:
        row = [escape(goal.goal_id), escape(goal.family), _share(goal.claimed)]
        if known:
            row += [_figure(goal.precision, ".3f"), _figure(goal.recall, ".3f")]
            row += [_count(n) for n in (goal.false_positives or {}).values()]
        table.add_row(*row, _share(goal.counterfactual), goal.state)
    console.OUT.print(table)
    more = len(report.goals) - len(shown)
    if more > 0:
        console.OUT.print(f"  and {more:,} goals more, with less to say (--json lists all)")


def _badness(goal: GoalAudit) -> tuple[bool, float, float]:
    """Goals with the most to say come first."""
    precision = 1.0 if goal.precision is None else goal.precision
    return not goal.state, precision, -(goal.counterfactual or 0.0)


def _share(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}%}"


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _part(part: int, whole: int) -> float | None:
    return part / whole if whole else None
