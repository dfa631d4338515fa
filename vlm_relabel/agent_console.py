"""What `train` and `evaluate` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from vlm_relabel.console import OUT, print_json, table_of

if TYPE_CHECKING:
    from offline_rl.evaluation import EvaluationReport, GoalValues, Outcome
    from vlm_relabel.agents import TrainReport

_GOALS_SHOWN = 12


def show_training(report: TrainReport, as_json: bool) -> None:
    """Outcome of `train`."""
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    losses = ", ".join(f"{name} {value:.4g}" for name, value in report.losses.items())
    OUT.print(f"{escape(report.algo)}: {report.steps:,} steps; {losses}")
    OUT.print(f"  checkpoint {escape(report.checkpoint)}")
    OUT.print(f"\nnext:\n  vlm-relabel evaluate {escape(report.run)}")


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


def _values(values: tuple[GoalValues, ...]) -> Table:
    columns = ("goal", "trajectories", "initial value", "FQE initial value", "TD error")
    table = table_of(columns, left=("goal",))
    for row in values[:_GOALS_SHOWN]:
        numbers = (row.initial_value, row.fqe_initial_value, row.td_error)
        table.add_row(escape(row.goal), str(row.trajectories), *map(_number, numbers))
    return table


def _outcomes(report: EvaluationReport) -> Table:
    columns = ("policy", "family", "success", "95 %", "true return", "VLM return", "episodes")
    table = table_of(columns, left=("policy", "family"))
    for row in report.outcomes:
        table.add_row(*_outcome(row), style="bold" if row.family == "all" else "")
    for family, found in report.behaviour.items():
        interval = f"{found.low:.3f}–{found.high:.3f}"
        shown = (f"{found.mean:.3f}", interval, "", "", str(found.count))
        table.add_row("in the data, by its rewards", escape(family), *shown)
    return table


def _outcome(row: Outcome) -> tuple[str, ...]:
    return (
        escape(row.policy),
        escape(row.family),
        f"{row.success.mean:.3f}",
        f"{row.success.low:.3f}–{row.success.high:.3f}",
        f"{row.true_return.mean:.3f}",
        _number(None if row.vlm_return is None else row.vlm_return.mean),
        str(row.success.count),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
