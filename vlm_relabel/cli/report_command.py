"""The subcommand `report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import Json, LabelsField, LabelTable, Trust, Where
from vlm_relabel.cli.guard import guarded

if TYPE_CHECKING:
    from vlm_relabel.reports import PageReport


def report(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Store to report on.")],
    out: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="Folder to write. An earlier report that is there is replaced."
        ),
    ],
    rewards: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Reward set to show. Repeat the option for several sets, whose curves lie over "
            "each other. The default is all that have scores.",
        ),
    ] = None,
    labels: LabelTable = None,
    labels_field: LabelsField = None,
    where: Where = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Source to read frames from, where it has moved. The default is the one that "
            "the store was made from, or the frames that the store kept.",
        ),
    ] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            help="Camera to show. Repeat the option for several cameras, side by side. The "
            "default is all that were embedded."
        ),
    ] = None,
    no_frames: Annotated[
        bool, typer.Option("--no-frames", help="Show no frames; no source is read.")
    ] = False,
    episodes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of episodes to show, chosen so that there are successes, false alarms, "
            "misses and disagreements among them.",
        ),
    ] = 100,
    goals: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of goals of each reward set to show in full: the worst and the most "
            "rewarded of every family. The table lists all.",
        ),
    ] = 100,
    examples: Annotated[
        int, typer.Option(min=1, help="Number of frames of each kind to show for a goal.")
    ] = 8,
    frame_size: Annotated[
        int, typer.Option(min=16, max=1024, help="Height of a frame in pixels, at most.")
    ] = 160,
    frames_per_episode: Annotated[
        int, typer.Option(min=1, help="Number of frames to show of an episode, at most.")
    ] = 48,
    max_mb: Annotated[
        float,
        typer.Option(
            help="Megabytes of frames and data, at most. What has no room is left out, and the "
            "page says so."
        ),
    ] = 100.0,
    no_plots: Annotated[
        bool, typer.Option("--no-plots", help="Write no plots as PNG and SVG files.")
    ] = False,
    rerun: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Also write the shown episodes as a recording (.rrd) for the Rerun viewer.",
        ),
    ] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Write pages that show what is in a store, and whether its rewards are right.

    DIR/index.html opens from disk, on a telephone too: goals with their curves and a threshold
    that can be moved, the best and the worst frames, and episodes frame by frame. With --labels
    or --labels-field it says what is right; without, it shows what there is.
    """

    def run() -> PageReport:
        import vlm_relabel

        with console.stages(json) as show:
            return vlm_relabel.report(
                store=store,
                out=out,
                rewards=rewards,
                labels=labels,
                labels_field=labels_field,
                where=where,
                source=source,
                camera=camera,
                no_frames=no_frames,
                episodes=episodes,
                goals=goals,
                examples=examples,
                frame_size=frame_size,
                frames_per_episode=frames_per_episode,
                max_mb=max_mb,
                no_plots=no_plots,
                rerun=rerun,
                trust=trust,
                show=show,
            )

    _show(guarded(run, json), json)


def _show(report: PageReport, as_json: bool) -> None:
    if as_json:
        console.print_json(report.model_dump(mode="json"))
        return
    sets = ", ".join(
        name if precision is None else f"{name} (average precision {precision:.3f})"
        for name, precision in report.precision.items()
    )
    console.OUT.print(f"[bold]{escape(report.store)}[/]: {escape(sets)}")
    console.OUT.print(
        f"  {console.counted(report.goals, 'goal')}, {console.counted(report.episodes, 'episode')} "
        f"shown, {report.megabytes:.1f} MB in {report.elapsed_s:.1f} s"
    )
    for note in report.notes:
        console.OUT.print(f"  [yellow]note[/]: {escape(note)}")
    if report.rerun is not None:
        console.OUT.print(f"  recording: {escape(report.rerun)}")
    console.OUT.print(f"open {escape(report.page)} in a browser")
