"""What `train` and `evaluate` show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from vlm_relabel.cli.console import OUT, print_json, say, table_of

if TYPE_CHECKING:
    from offline_rl.evaluation import EvaluationReport, GoalValues, Outcome
    from offline_rl.training import Plan
    from vlm_relabel.agents import TrainReport

_GOALS_SHOWN = 12


def show_plan(plan: Plan, left_out: Mapping[str, str], *, run: str, as_json: bool) -> None:
    """What an agent is going to see and do, before it is trained."""
    if as_json:
        return
    if plan.resumed_from:
        say(f"{run}: goes on from its checkpoint after {plan.resumed_from:,} steps")
    say("sees: " + ", ".join(f"{name} [{width}]" for name, width in plan.sees))
    for name, why in left_out.items():
        say(f"left out: {name}, which {why} (--observation {name} takes it)")
    kind = "one choice" if plan.does.discrete else f"{plan.does.width} values, scaled to [-1, 1]"
    say(f"does: {plan.does}; {kind}")
    for note in plan.notes:
        say(f"note: {note}")


def show_training(report: TrainReport, as_json: bool) -> None:
    """Outcome of `train`."""
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    losses = ", ".join(f"{name} {value:.4g}" for name, value in report.losses.items())
    OUT.print(f"{escape(report.algo)}: {report.steps:,} steps; {losses}")
    OUT.print(f"  checkpoint {escape(report.checkpoint)}")
    OUT.print(f"\nnext:\n  {escape(report.next_command)}")


def show_export(file: str, as_json: bool) -> None:
    """Outcome of `export-agent`."""
    if as_json:
        print_json({"file": file})
        return
    OUT.print(f"{escape(file)}: opens with d3rlpy.load_learnable")
    say("a .d3 file is a pickle: whoever opens it runs what it says; open only what you made")


def show_evaluation(report: EvaluationReport, as_json: bool) -> None:
    """Outcome of `evaluate`."""
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    OUT.print(f"[bold]{escape(report.run)}[/] after {report.step:,} steps, {report.split} split")
    if report.values:
        OUT.print(_values(report.values))
        if len(report.values) > _GOALS_SHOWN:
            OUT.print(f"  and {len(report.values) - _GOALS_SHOWN} goals more (--json lists all)")
    if report.outcomes:
        OUT.print(_outcomes(report))
    for note in report.notes:
        OUT.print(f"  [yellow]note[/]: {escape(note)}")
    OUT.print(f"kept in {escape(report.saved)}")


def _values(values: tuple[GoalValues, ...]) -> Table:
    columns = ("goal", "trajectories", "initial value", "FQE initial value", "of fits", "TD error")
    table = table_of(columns, left=("goal",))
    for row in values[:_GOALS_SHOWN]:
        fitted = row.fqe_fits
        spread = f"{min(fitted):.3f} to {max(fitted):.3f}" if fitted else ""
        table.add_row(
            escape(row.goal),
            str(row.trajectories),
            _number(row.initial_value),
            _number(row.fqe_initial_value),
            spread,
            _number(row.td_error),
        )
    return table


def _outcomes(report: EvaluationReport) -> Table:
    columns = ("policy", "family", "success", "95 %", "true return", "VLM return", "episodes")
    table = table_of(columns, left=("policy", "family"))
    heat = report.options.get("temperature", 0)
    for row in report.outcomes:
        name = f"{row.policy}, T = {heat:g}" if heat and row.policy == "agent" else row.policy
        shown = (name, *_outcome(row))
        table.add_row(*shown, style="bold" if row.family == "all" else "")
    for family, found in report.behaviour.items():
        interval = f"{found.low:.3f}–{found.high:.3f}"
        told = (f"{found.mean:.3f}", interval, "", "", str(found.count))
        table.add_row("in the data, by its rewards", escape(family), *told)
    return table


def _outcome(row: Outcome) -> tuple[str, ...]:
    return (
        escape(row.family),
        f"{row.success.mean:.3f}",
        f"{row.success.low:.3f}–{row.success.high:.3f}",
        f"{row.true_return.mean:.3f}",
        _number(None if row.vlm_return is None else row.vlm_return.mean),
        str(row.success.count),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
