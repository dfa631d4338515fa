"""`finish`: completes the tables that a job array has made slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import Json
from vlm_relabel.cli.guard import guarded
from vlm_relabel.cli.job_arguments import MaxDead, SkipBlank
from vlm_relabel.cli.typed import command_line

if TYPE_CHECKING:
    from relabel.jobs.report import JobReport


def finish(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Store to finish.")],
    max_dead_ratio: MaxDead = 0.0,
    skip_blank_cameras: SkipBlank = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Compare only the sizes of slices that were touched since they were made. By "
            "default their checksums are compared too. Of tables that are complete already, sizes "
            "of slices are compared, and `vlm-relabel verify` compares the rest.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Complete the tables whose slices are all there, after jobs with --slices.

    Slices that are missing are named, with the command that makes them.
    """

    def run() -> JobReport:
        from vlm_relabel import jobs

        return jobs.finish(
            store=store,
            max_dead_ratio=max_dead_ratio,
            skip_blank_cameras=skip_blank_cameras,
            trust=trust,
            command=command_line(),
        )

    console.show_job(guarded(run, json), json)
