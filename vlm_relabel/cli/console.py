"""What people and machines see: tables and progress on a terminal, JSON on request."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape
from rich.table import Table

from schemas.locations import redacted
from vlm_relabel.cli.terminal import standard_error, standard_output

if TYPE_CHECKING:
    from relabel.jobs.progress import Progress
    from relabel.jobs.report import GoalReport, JobReport
    from schemas.errors import RelabelError
    from schemas.verify import Problem
    from vlm_relabel.cli.doctor import DoctorReport

    Show = Callable[[Progress], None]

OUT = standard_output()
ERR = standard_error()
_GOALS_SHOWN = 12
_EVERY_S: Final = 5.0  # between lines of a stage that is not done


def say(text: str) -> None:
    """One line for people, on standard error."""
    ERR.print(escape(text))


def show_error(error: RelabelError, as_json: bool) -> None:
    """An error that the user can mend."""
    told = redacted(str(error))
    if as_json:
        print_json({"error": type(error).__name__, "message": told})
    ERR.print(f"[bold red]error[/]: {escape(told)}")


def print_json(content: Any) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")


def show_table(table: str, problems: Sequence[Problem]) -> None:
    """What is wrong with one table."""
    OUT.print(f"{'[red]✗[/]' if problems else '[green]✓[/]'} {escape(table)}")
    for problem in problems:
        where = f"{problem.file}: " if problem.file else ""
        OUT.print(f"    {escape(where + problem.text)}")


def show_nothing(table: str, problems: Sequence[Problem]) -> None:
    """Nothing, since all is shown at the end."""


def show_verification(
    store: str, results: Sequence[tuple[str, Sequence[Problem]]], as_json: bool
) -> None:
    """Outcome of `verify`."""
    problems = [problem for _, found in results for problem in found]
    if as_json:
        tables = {table: [p.model_dump() for p in found] for table, found in results}
        print_json({"store": store, "ok": not problems, "tables": tables})
        return
    count = len(problems)
    verdict = f"[red]{count} problem{'s' * (count != 1)}[/]" if count else "[green]all well[/]"
    OUT.print(f"{escape(store)}: {len(results)} tables, {verdict}")


def show_doctor(report: DoctorReport, as_json: bool) -> None:
    """Outcome of `doctor`."""
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    width = max(len(finding.name) for finding in report.findings)
    for finding in report.findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        cure = f"; [yellow]{escape(finding.cure)}[/]" if finding.cure else ""
        OUT.print(f"{mark} {escape(finding.name.ljust(width))}  {escape(finding.value)}{cure}")
    broken = sum(not finding.ok for finding in report.findings)
    OUT.print(f"[red]{counted(broken, 'problem')}[/]" if broken else "[green]all well[/]")


def show_job(report: JobReport, as_json: bool, encoder: str | None = None) -> None:
    """Outcome of `embed`, `score`, `relabel` and `build-goals`.

    Args:
        report: of the job.
        as_json: for machines.
        encoder: as the user named it.
    """
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    table = table_of(("table", "slices", "rows", "MB", "dead letters", ""), left=("table", ""))
    for row in report.tables:
        state = "would be written" if report.dry_run and not row.complete else ""
        table.add_row(
            escape(row.table),
            f"{row.slices_done}/{report.slices}",
            f"{row.rows:,}",
            f"{row.bytes / 1e6:.1f}",
            str(row.dead_letters),
            "complete" if row.complete else state or "[red]unfinished[/]",
        )
    OUT.print(f"[bold]{escape(report.source)}[/] → {escape(report.store)}")
    OUT.print(f"  {counted(report.episodes, 'episode')} in {counted(report.slices, 'slice')}")
    OUT.print(f"  last step: {escape(report.last_step)}")
    if report.encoder is not None:
        OUT.print(f"  encoder: {escape(report.encoder)}")
    OUT.print(table)
    _show_short_episodes(report)
    for note in report.notes:
        OUT.print(f"  [yellow]note[/]: {escape(note)}")
    _show_goals(report)
    if report.dry_run:
        _show_dry_run(report)
    elif report.part is not None:
        _show_part(report)
    elif not report.tables_new:
        OUT.print("nothing to do: every table is complete")
    elif not report.slices_new:
        OUT.print(f"every slice was there already; now complete: {', '.join(report.tables_new)}")
    else:
        OUT.print(_pace(report))
    _show_profile(report)
    from vlm_relabel.cli.next_steps import after_job  # pyarrow, which --help does without

    show_next(after_job(report, encoder))


def _show_dry_run(report: JobReport) -> None:
    if report.estimate is not None:
        from vlm_relabel.cli.estimate_console import show_estimate

        show_estimate(report.estimate)
    OUT.print("dry run: nothing was written")


def _show_part(report: JobReport) -> None:
    """What one part of a job did; the tables wait for the others."""
    OUT.print(f"part {report.part}: {counted(report.slices_new, 'new slice')}, {_pace(report)}")
    if report.unfinished:
        OUT.print(f"  when all parts have run: vlm-relabel finish {escape(report.store)}")


def _pace(report: JobReport) -> str:
    return (
        f"{report.frames_new:,} frames in {report.elapsed_s:.1f} s, "
        f"{report.frames_per_s:,.0f} frames/s"
    )


def show_next(lines: Sequence[str]) -> None:
    """What to type next; nothing if there is nothing to say."""
    if lines:
        OUT.print("\nnext:")
    for line in lines:
        OUT.print(f"  {escape(line)}")


def _show_profile(report: JobReport) -> None:
    profile = report.profile
    if profile is None:
        return
    columns = ("where a slice's time goes", "seconds", "ms/frame", "share")
    table = table_of(columns, left=columns[:1])
    for stage in profile.stages:
        table.add_row(
            f"{stage.stage} (behind)" if stage.background else stage.stage,
            f"{stage.seconds:.2f}",
            "" if stage.ms_per_frame is None else f"{stage.ms_per_frame:.3f}",
            f"{stage.seconds / profile.slices_s:.1%}",
        )
    table.add_row("all but those behind", f"{profile.slices_s:.2f}", "", "100.0%", style="bold")
    OUT.print(table)
    OUT.print(
        f"  {profile.slices_s:.1f} s in slices over {counted(profile.workers, 'worker')}, "
        f"{profile.elapsed_s:.1f} s for the whole job; kept in {escape(report.store)}/profile.json"
    )


def _show_short_episodes(report: JobReport) -> None:
    if report.episodes_empty:
        OUT.print(f"  {counted(report.episodes_empty, 'empty episode')}, kept with length 0")
    if report.episodes_of_one_step:
        OUT.print(
            f"  {counted(report.episodes_of_one_step, 'one-step episode')}, without transition"
        )


def counted(number: int, what: str) -> str:
    """A number of things: `1 slice`, `2,000 slices`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def _show_goals(report: JobReport) -> None:
    goals = report.goals
    if not goals:
        return
    shown = [column for column in _goal_columns(goals) if _is_known(column, goals)]
    names = ("goal", "family", *(title for title, _, _ in shown))
    table = table_of(names, left=names[:2])
    for goal in goals[:_GOALS_SHOWN]:
        figures = (_figure(getattr(goal, field), form) for _, field, form in shown)
        table.add_row(escape(goal.goal_id), escape(goal.family), *figures)
    OUT.print(table)
    more = len(goals) - _GOALS_SHOWN
    if more > 0:
        OUT.print(f"  and {more} goals more (--json lists all)")
    for note in _notes_of_goals(goals):
        OUT.print(f"  [yellow]note[/]: {note}")


def _goal_columns(goals: Sequence[GoalReport]) -> tuple[tuple[str, str, str], ...]:
    """Heading, field and form of what may be shown of goals."""
    return (
        ("highest score", "max_score", ".3f"),
        ("mean", "mean_score", ".3f"),
        ("lowest", "min_score", ".3f"),
        (f"above {goals[0].success_bound:g}" if _dense(goals) else "", "above_bound", ".1%"),
        ("raised", "raised", ".1%"),
        ("rewarded", "rewarded", ".1%"),
        ("yes", "head_positives", "d"),
        ("no", "head_negatives", "d"),
        ("AP zero-shot", "zero_shot_ap", ".3f"),
        ("AP head", "head_ap", ".3f"),
        ("blend", "head_blend", ".2g"),
        ("by", "head_reason", ""),
    )


def _dense(goals: Sequence[GoalReport]) -> bool:
    return goals[0].success_bound is not None


def _is_known(column: tuple[str, str, str], goals: Sequence[GoalReport]) -> bool:
    return any(getattr(goal, column[1]) is not None for goal in goals)


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _notes_of_goals(goals: Sequence[GoalReport]) -> Iterator[str]:
    """What is unusual about rewards, kind by kind."""
    never = sum(goal.rewarded == 0 for goal in goals)
    if never:
        yield (
            f"{never} of {len(goals)} goals are never rewarded: absent from the source, or the "
            "threshold is too high for this encoder (--threshold)"
        )
    below = sum(goal.above_bound == 0 for goal in goals)
    if below:
        yield (
            f"{below} of {len(goals)} goals never score above {goals[0].success_bound:g}, which "
            "build-goals takes for a success; give it a bound within these scores (--success-above)"
        )


@contextmanager
def counting(what: str, as_json: bool) -> Iterator[Callable[[int, int, dict[str, float]], None]]:
    """As `progress`, of anything that counts up to a total, with some figures beside it."""
    if as_json:
        yield lambda step, steps, figures: None
        return
    tenth = [-1]

    def show(step: int, steps: int, figures: dict[str, float]) -> None:
        if 10 * step // steps > tenth[0]:
            tenth[0] = 10 * step // steps
            told = "".join(f", {name} {value:.4g}" for name, value in figures.items())
            say(f"{step:,}/{steps:,} {what}{told}")

    yield show


@contextmanager
def stages(as_json: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Shows work in stages: told what is being done, how much of it, and of how much.

    A bar on a terminal; elsewhere a line when a stage is done, and now and then before.
    """
    if as_json:
        yield lambda what, done, total: None
    elif ERR.is_terminal:
        with _stage_bar() as show:
            yield show
    else:
        yield StageLines().show


class StageLines:
    """A line when a stage is done, and every few seconds before.

    Args:
        clock: seconds; injected in tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock() + _EVERY_S

    def show(self, what: str, done: int, total: int) -> None:
        """Says how far it is, if a line is due."""
        if done == total or self._clock() >= self._due:
            self._due = self._clock() + _EVERY_S
            say(f"{what}: {done:,} of {total:,}")


@contextmanager
def _stage_bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=ERR, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=escape(what), completed=done, total=total
        )


def table_of(columns: Sequence[str], left: Sequence[str]) -> Table:
    """An empty plain table; columns not in `left` are numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    return table


@contextmanager
def progress(as_json: bool) -> Iterator[Show]:
    """A progress bar on a terminal, a line now and then elsewhere, nothing with JSON."""
    if as_json:
        yield lambda _: None
    elif ERR.is_terminal:
        with _bar() as show:
            yield show
    else:
        yield _Lines().show


@contextmanager
def _bar() -> Iterator[Show]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("slices"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[frames]:,} frames  {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Bar(*columns, console=ERR, transient=True) as bar:
        task = bar.add_task("", total=None, frames=0, rate=0.0, left="")

        def show(now: Progress) -> None:
            bar.update(
                task,
                total=now.slices,
                completed=now.slices_done,
                frames=now.frames,
                rate=now.frames_per_s,
                left="" if now.left_s is None else f"{now.left_s:,.0f} s left",
            )

        yield show


class _Lines:
    """One line whenever a further tenth of the slices is done."""

    def __init__(self) -> None:
        self._tenth = -1

    def show(self, now: Progress) -> None:
        tenth = 10 * now.slices_done // max(now.slices, 1)
        if tenth > self._tenth:
            self._tenth = tenth
            left = "" if now.left_s is None else f", {now.left_s:,.0f} s left"
            rate = f", {now.frames_per_s:,.0f} frames/s" if now.frames else ""
            say(f"{now.slices_done}/{now.slices} slices, {now.frames:,} frames{rate}{left}")
