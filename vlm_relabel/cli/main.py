"""The command line: each subcommand is `parse → run`; heavy imports wait for the run."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

import vlm_relabel
from vlm_relabel.cli import (
    agent_commands,
    audit_command,
    calibrate_command,
    compare_command,
    console,
    finish_command,
    goals_command,
    interruption,
    job_commands,
    label_command,
    plan_command,
    redaction,
    repair_command,
    report_command,
)
from vlm_relabel.cli.arguments import PASS_THROUGH, Json
from vlm_relabel.cli.guard import guarded
from vlm_relabel.cli.job_arguments import Directory, Exclude, KeepMerged
from vlm_relabel.cli.usage import Command, Program

app = typer.Typer(
    name="vlm-relabel",
    no_args_is_help=True,
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # with rich, --help takes two thirds longer
    pretty_exceptions_enable=False,
    help="Rewards for any goal you can say in words, on stored trajectories.\n\n"
    "A typical session: inspect a source, relabel it into a store, verify the "
    "store, then score it again for other goals, which reads no image.",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vlm-relabel {vlm_relabel.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """What comes before a subcommand."""


@app.command(cls=Command)
def inspect(
    source: Directory,
    exclude: Exclude = None,
    keep_merged: KeepMerged = False,
    json: Json = False,
) -> None:
    """Show what a source holds, and the command to type next.

    The exit code is 2 if the source cannot be read.
    """
    from vlm_relabel import checks
    from vlm_relabel.cli.source_console import show_source

    report = guarded(lambda: checks.inspect(source, exclude=exclude, keep_merged=keep_merged), json)
    show_source(report, json)
    if report.error is not None:
        raise typer.Exit(2)


for command in (job_commands.relabel, job_commands.embed, job_commands.score):
    app.command(cls=Command, context_settings=PASS_THROUGH)(command)


@app.command(cls=Command)
def verify(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Store to check.")],
    json: Json = False,
) -> None:
    """Check every manifest, checksum, row count, join and range of a store.

    The exit code is 1 if anything is wrong.
    """
    from vlm_relabel.cli.checking import verified

    results = guarded(lambda: verified(store, json), json)
    console.show_verification(store, results, json)
    if any(problems for _, problems in results):
        if not json:
            console.show_next([shlex.join(["vlm-relabel", "repair", store])])
        raise typer.Exit(1)
    if not json:
        from schemas.store import Store
        from vlm_relabel.cli.next_steps import after_verify

        console.show_next(after_verify(Store.open(store)))


@app.command(cls=Command)
def doctor(json: Json = False) -> None:
    """Check Python, packages, hardware and paths.

    The exit code is 1 if something does not work.
    """
    from vlm_relabel.cli.doctor import examine

    report = guarded(examine, json)
    console.show_doctor(report, json)
    if not report.ok:
        raise typer.Exit(1)


app.command("plan", cls=Command)(plan_command.plan)
app.command("finish", cls=Command)(finish_command.finish)
app.command("repair", cls=Command)(repair_command.repair)
app.command("report", cls=Command)(report_command.report)
app.command("build-goals", cls=Command, context_settings=PASS_THROUGH)(goals_command.build_goals)
app.command("audit", cls=Command)(audit_command.audit)
app.command("calibrate", cls=Command, context_settings=PASS_THROUGH)(calibrate_command.calibrate)
app.command("compare", cls=compare_command.CompareCommand)(compare_command.compare)
app.command("label", cls=Command)(label_command.label)
app.command("train", cls=Command)(agent_commands.train)
app.command("evaluate", cls=Command)(agent_commands.evaluate)
app.command("export-agent", cls=Command)(agent_commands.export_agent)


def main() -> None:
    """Entry point of `vlm-relabel`."""
    interruption.listen()
    redaction.log_errors()
    try:
        app(prog_name="vlm-relabel", args=sys.argv[1:])
    except Exception as error:
        sys.exit(redaction.show_unexpected(error))
    finally:
        interruption.ignore()


if __name__ == "__main__":
    main()
