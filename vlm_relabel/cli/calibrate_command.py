"""`calibrate`: thresholds that labels speak for, parsed, run and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import (
    DryRun,
    Json,
    LabelsField,
    LabelTable,
    Overwrite,
    Threads,
    Trust,
    Where,
    Workers,
)
from vlm_relabel.cli.guard import guarded_job
from vlm_relabel.cli.typed import command_line

if TYPE_CHECKING:
    from relabel.evaluation.assessment import Figures
    from relabel.evaluation.calibration import Calibration, GoalCalibration, Verdict
    from relabel.jobs.calibrate import CalibrateReport

_GOALS_SHOWN = 12
_NAMED = 8  # goals in a note

Store = Annotated[str, typer.Argument(metavar="STORE", help="Store that holds the reward set.")]
Rewards = Annotated[str, typer.Option(metavar="NAME", help="Reward set to calibrate.")]
Name = Annotated[str, typer.Option(metavar="NAME", help="Name of the new reward set.")]
TestWhere = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of flags. The frames where it is true judge the result, and are not fitted "
        "to. By default the result is judged by cross-validation over episodes.",
    ),
]
MethodOption = Annotated[
    Literal["platt", "isotonic", "best-f1", "precision", "quantile", "valley"],
    typer.Option(
        parser=str,
        metavar="METHOD",
        help="How thresholds are found. With few labels: platt (one slope for all goals, and a "
        "shift for each). With many: isotonic, best-f1 or precision. Without labels: valley or "
        "quantile.",
    ),
]
Precision = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Precision that is wanted of platt, isotonic and precision: the share of the "
        "rewarded frames that shall be true. The default is 0.95.",
    ),
]
SuccessRate = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="With --method quantile: share of the episodes that reach a goal.",
    ),
]
DrawnOption = Annotated[
    Literal["by-score", "by-answer"] | None,
    typer.Option(
        parser=str,
        metavar="HOW",
        help="How the frames of --labels were chosen: by-score, the default, means without a look "
        "at the answer, at random or by score; by-answer means that successes and failures were "
        "looked for.",
    ),
]
OutputOption = Annotated[
    Literal["thresholds", "probabilities"],
    typer.Option(
        parser=str,
        metavar="WHAT",
        help="What the new reward set holds: thresholds keeps the scores and gives rewards of 0 "
        "and 1; probabilities makes scores and rewards the probability that the goal holds.",
    ),
]
Draws = Annotated[
    int,
    typer.Option(
        metavar="N", help="Number of times that episodes are resampled for the intervals."
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of the folds and of the resampling.")]


def calibrate(
    context: typer.Context,
    store: Store,
    rewards: Rewards = "v1",
    name: Name = "v1-calibrated",
    labels: LabelTable = None,
    labels_field: LabelsField = None,
    where: Where = None,
    test_where: TestWhere = None,
    method: MethodOption = "platt",
    precision: Precision = None,
    success_rate: SuccessRate = None,
    drawn: DrawnOption = None,
    output: OutputOption = "thresholds",
    draws: Draws = 200,
    seed: Seed = 0,
    workers: Workers = 1,
    threads: Threads = None,
    overwrite: Overwrite = False,
    trust: Trust = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Find the threshold of every goal by evidence, and write a reward set of them.

    Nothing is embedded: scores come from the store, and what is true from labels. Four labels per
    goal are enough for --method platt. The figures that are shown come from labels that were not
    fitted to. With --dry-run they are shown and nothing is written.
    """

    def run(show: console.Show) -> CalibrateReport:
        from vlm_relabel import calibration

        with console.stages(json) as each:
            return calibration.calibrate(
                store=store,
                rewards=rewards,
                name=name,
                labels=labels,
                labels_field=labels_field,
                where=where,
                test_where=test_where,
                method=method,
                precision=precision,
                success_rate=success_rate,
                drawn=drawn,
                output=output,
                draws=draws,
                seed=seed,
                workers=workers,
                threads=threads,
                overwrite=overwrite,
                trust=trust,
                dry_run=dry_run,
                beam_args=context.args,
                command=command_line(),
                show=show,
                each=each,
            )

    report = guarded_job(run, json)
    if not json:
        _show(report)
        report = report.model_copy(update={"goals": ()})  # they are shown with their thresholds
    console.show_job(report, json)


# --- for people -------------------------------------------------------------------------------


def _show(report: CalibrateReport) -> None:
    told = report.calibration
    by = f"{told.labels:,} labels, {told.positives:,} of them yes" if told.labels else "no labels"
    console.OUT.print(
        f"[bold]{escape(report.rewards)}[/] → [bold]{escape(report.name)}[/]: "
        f"{len(told.goals)} goals by {told.method} from {by}"
    )
    if told.verdict is None:
        console.OUT.print("  [yellow]no label was kept apart to judge the result by[/]")
    else:
        _show_verdict(told.verdict)
    _show_goals(told)
    for note in _notes(told):
        console.OUT.print(f"  [yellow]note[/]: {escape(note)}")


_COLUMNS = ("precision", "recall", "f1", "average_precision", "calibration_error", "brier")
_TITLES = ("precision", "recall", "F1", "AP", "ECE", "Brier")


def _show_verdict(verdict: Verdict) -> None:
    after, before = verdict.after, verdict.before
    table = console.table_of(("judged", "", "labels", "yes", *_TITLES), left=("judged", ""))
    rows: list[tuple[str, str, Figures]] = []
    for when, all_goals, families in (
        ("before", before, verdict.families_before),
        ("after", after, verdict.families_after),
    ):
        if all_goals is not None and families is not None:
            named = families.items() if len(families) > 1 else ()
            rows += [(name, when, family.macro) for name, family in named]
            rows.append(("mean of all goals", when, all_goals.macro))
            rows.append(("all frames together", when, all_goals.pooled))
    names = list(dict.fromkeys(name for name, _, _ in rows))
    for name, when, figures in sorted(rows, key=lambda row: names.index(row[0])):
        cells = (_interval(figures, column) for column in _COLUMNS)
        counts = (f"{figures.labels:,}", f"{figures.positives:,}")
        table.add_row(escape(name), when, *counts, *cells)
    console.OUT.print(f"  judged by {escape(verdict.how)}; in brackets 95 % intervals")
    console.OUT.print(table)
    random = after.macro.random_average_precision
    if random is not None and after.pooled.base_rate is not None:
        console.OUT.print(
            f"  a random score would have AP {random:.3f}, and precision "
            f"{after.pooled.base_rate:.3f}"
        )


def _interval(figures: Figures, name: str) -> str:
    value = getattr(figures, name)
    if value is None:
        return "–"
    ends = figures.intervals.get(name)
    return f"{value:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "").replace("[", r"\[")


def _show_goals(told: Calibration) -> None:
    columns = (
        *("goal", "family", "labels", "yes", "β before", "β"),
        *("rewarded before", "rewarded", "expected precision"),
    )
    table = console.table_of(columns, left=columns[:2])
    ordered = sorted(told.goals, key=lambda goal: goal.reached and not goal.silent)
    for goal in ordered[:_GOALS_SHOWN]:
        table.add_row(
            escape(goal.goal_id),
            escape(goal.family),
            f"{goal.labels:,}",
            f"{goal.positives:,}",
            _number(goal.beta_before, ".4g"),
            _number(goal.beta, ".4g"),
            _number(goal.rewarded_before, ".2%"),
            f"{goal.rewarded:.2%}",
            _number(goal.expected_precision, ".3f"),
        )
    console.OUT.print(table)
    if len(told.goals) > _GOALS_SHOWN:
        console.OUT.print(f"  and {len(told.goals) - _GOALS_SHOWN} goals more (--json lists all)")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _notes(told: Calibration) -> Iterator[str]:
    """Goals that something is the matter with, by name."""
    goals: Sequence[GoalCalibration] = told.goals
    short = [goal for goal in goals if not goal.reached]
    if short and told.precision is not None:
        yield (
            f"{_counted(short, 'cannot')} reach a precision of {told.precision:g}: "
            f"{_listed(short)}; no frame of the store is likely enough"
        )
    elif short:
        yield (
            f"{_counted(short, 'has', 'have')} no valley, and the threshold of the valley of all "
            f"goals together, or none if there is none: {_listed(short)}"
        )
    silent = [goal for goal in goals if goal.silent and goal.reached]
    if silent:
        told_of = _counted(silent, "stays", "stay")
        yield f"{told_of} silent, no frame is rewarded: {_listed(silent)}"
    unlabelled = [goal for goal in goals if not goal.labels]
    if unlabelled and told.labels:
        yield (
            f"{_counted(unlabelled, 'has', 'have')} no label, and the threshold that their family "
            f"or all goals speak for: {_listed(unlabelled)}"
        )


def _counted(goals: Sequence[GoalCalibration], one: str, more: str | None = None) -> str:
    """The number of goals, and the verb that goes with it."""
    return f"1 goal {one}" if len(goals) == 1 else f"{len(goals):,} goals {more or one}"


def _listed(goals: Sequence[GoalCalibration]) -> str:
    more = f" and {len(goals) - _NAMED} more" if len(goals) > _NAMED else ""
    return ", ".join(goal.goal_id for goal in goals[:_NAMED]) + more
