"""The subcommand `label`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import DryRun, Json
from vlm_relabel.cli.guard import guarded

if TYPE_CHECKING:
    from vlm_relabel.labelling.questions import LabelReport

_SEEDS: Final = 2**32 - 1  # the highest that NumPy takes
_SHOWN: Final = 6  # questions shown of a dry run


def label(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Store that holds the reward set.")],
    rewards: Annotated[str, typer.Option(help="Reward set whose goals are asked about.")] = "v1",
    budget: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of questions per goal. One question is one frame and one goal; what is "
            "labelled already does not count.",
        ),
    ] = 16,
    out: Annotated[str, typer.Option(help="HTML file to write.")] = "label.html",
    random: Annotated[
        bool,
        typer.Option("--random", help="Draw frames at random instead, to compare with."),
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=_SEEDS, help="Seed of what is left to chance.")
    ] = 0,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label table of earlier answers, .csv or .parquet. They are not asked again, and "
            "the questions follow from what they say."
        ),
    ] = None,
    goal: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a goal to ask about. Repeat the option for several goals. The default is "
            "all."
        ),
    ] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            help="Camera whose frames are shown. Repeat the option for several, which are shown "
            "side by side. The default is those that were scored."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Directory of the source, if it has moved. By default frames are those that the "
            "store has kept, or are read from where the store was made."
        ),
    ] = None,
    frame_pixels: Annotated[
        int, typer.Option(min=16, max=1024, help="Height of the frames in the page, at most.")
    ] = 224,
    max_mb: Annotated[
        float, typer.Option(help="Size of the page in megabytes, at most; an error beyond.")
    ] = 48,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --out.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write a page that shows the frames worth labelling and asks whether they show a goal.

    Open it in a browser, on a telephone too: it needs no server and no network. Answer with y, n
    and s (skip) or by touch, then download the label table. With --json, every question is listed
    with the reason why it is asked; with --dry-run, nothing is written.
    """

    def run() -> LabelReport:
        from vlm_relabel.labelling import questions

        with console.stages(json) as show:
            return questions.label(
                store=store,
                rewards=rewards,
                budget=budget,
                out=out,
                random=random,
                seed=seed,
                labels=labels,
                goal=goal,
                camera=camera,
                source=source,
                frame_pixels=frame_pixels,
                max_mb=max_mb,
                overwrite=overwrite,
                dry_run=dry_run,
                show=show,
            )

    _show(guarded(run, json), json)


def _show(report: LabelReport, as_json: bool) -> None:
    if as_json:
        console.print_json(report.model_dump(mode="json"))
        return
    asked = len(report.questions)
    console.OUT.print(
        f"{console.counted(asked, 'question')} about {console.counted(report.goals, 'goal')} in "
        f"{console.counted(report.frames, 'frame')}"
    )
    for note in report.notes:
        console.OUT.print(f"  [yellow]note[/]: {escape(note)}")
    if report.out is None:
        _show_some(report)
        console.OUT.print("dry run: nothing was written")
        return
    console.OUT.print(
        f"{escape(report.out)}: {report.bytes / 1e6:.1f} MB; open it in a browser, answer with y, "
        f"n and s or by touch, and download labels-{report.rewards}.csv"
    )


def _show_some(report: LabelReport) -> None:
    table = console.table_of(("episode", "step", "goal", "why"), left=("episode", "goal", "why"))
    for question in report.questions[:_SHOWN]:
        step = str(question.step)
        table.add_row(
            escape(question.episode_id), step, escape(question.goal_id), escape(question.why)
        )
    console.OUT.print(table)
    if (more := len(report.questions) - _SHOWN) > 0:
        console.OUT.print(f"  and {more:,} questions more (--json lists all)")
