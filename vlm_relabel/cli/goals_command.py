"""The subcommand `build-goals`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from schemas.enums import Kind, Timing
from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import (
    EstimatedRun,
    Json,
    Overwrite,
    Price,
    Slices,
    Threads,
    Trust,
    Workers,
)
from vlm_relabel.cli.guard import guarded_job
from vlm_relabel.cli.typed import command_line

if TYPE_CHECKING:
    from relabel.jobs.dataset_report import GoalJobReport


def build_goals(
    context: typer.Context,
    store: Annotated[str, typer.Argument(help="Store that holds the reward set.")],
    rewards: Annotated[
        str | None,
        typer.Option(
            help="Reward set to make the dataset from. The default is v1.", show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the goal dataset in the store.")] = "gc1",
    end_on_success: Annotated[
        bool,
        typer.Option(
            " /--no-end-on-success",
            help="Let trajectories go on after their first success. By default they end "
            "there, and are terminal.",
            show_default=False,
        ),
    ] = True,
    step_reward: Annotated[
        int,
        typer.Option(
            help="Reward of a transition without success: with 0, rewards are 0 and 1; with "
            "-1, they are -1 and 0."
        ),
    ] = 0,
    success_above: Annotated[
        float, typer.Option(help="Reward above which a transition is a success.")
    ] = 0.5,
    discount: Annotated[
        float, typer.Option(help="Discount with which the column return is computed, in (0, 1].")
    ] = 0.99,
    min_length: Annotated[
        int, typer.Option(help="Number of transitions that a trajectory must have at least.")
    ] = 1,
    failed_per_achieved: Annotated[
        float,
        typer.Option(
            help="Number of failed goals to sample for each goal that an episode achieves."
        ),
    ] = 1.0,
    failed_at_least: Annotated[
        int,
        typer.Option(
            help="Number of failed goals to sample for an episode at least, however few "
            "goals it achieves."
        ),
    ] = 1,
    hindsight_most: Annotated[
        int,
        typer.Option(
            help="Largest number of hindsight trajectories for one episode and goal. Each "
            "ends with another later success."
        ),
    ] = 4,
    commands_hold: Annotated[
        bool,
        typer.Option(
            "--commands-hold",
            help="Let a command stay in force during the steps without a text that follow it.",
        ),
    ] = False,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(
            metavar="KIND",
            help=f"Kind of trajectory to make: {', '.join(Kind)}. Repeat the option for "
            "several kinds. The default is all.",
        ),
    ] = None,
    goal: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a goal to use. Repeat the option for several goals. The default is all."
        ),
    ] = None,
    episode: Annotated[
        list[str] | None,
        typer.Option(
            help="Pattern of the ids of episodes to use, such as train/0/*. With !PATTERN, "
            "matching episodes are left out. Repeat the option for several patterns."
        ),
    ] = None,
    validation: Annotated[
        float,
        typer.Option(
            help="Share of the episodes that is kept back for validation, chosen by a hash "
            "of their ids."
        ),
    ] = 0.1,
    test: Annotated[
        float,
        typer.Option(
            help="Share of the episodes that is kept back for the test, chosen in the same way."
        ),
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed with which failed goals are sampled.")] = 0,
    truth: Annotated[
        str | None,
        typer.Option(
            help="Column of the steps table that says which goals hold. A second dataset, "
            "NAME.true, is made from it."
        ),
    ] = None,
    no_rewards: Annotated[
        bool,
        typer.Option(
            "--no-rewards",
            help="Make the dataset from the column of --truth alone, without a reward set.",
        ),
    ] = False,
    goals: Annotated[
        list[str] | None,
        typer.Option(
            help="With --no-rewards: the goals that the values of the column belong to, in "
            "the same order, given as for score."
        ),
    ] = None,
    timing: Annotated[
        Timing | None,
        typer.Option(
            metavar="FRAME",
            help="With --no-rewards: the frame whose value is the reward of a transition, "
            "next-frame or same-frame. The default is same-frame for the column "
            "reward, and next-frame for any other.",
        ),
    ] = None,
    materialize: Annotated[
        bool,
        typer.Option(
            "--materialize",
            help="Also write every transition as a row of its own, with its observations.",
        ),
    ] = False,
    workers: Workers = 1,
    threads: Threads = None,
    overwrite: Overwrite = False,
    slices: Slices = None,
    trust: Trust = False,
    dry_run: EstimatedRun = False,
    price_per_hour: Price = None,
    json: Json = False,
) -> None:
    """Make a goal dataset to train on: trajectories with goals, from a reward set or a column.

    Beam options go after `--`, as with relabel.
    """

    def run(show: console.Show) -> GoalJobReport:
        from vlm_relabel import jobs

        return jobs.build_goals(
            store=store,
            rewards=rewards,
            name=name,
            end_on_success=end_on_success,
            step_reward=step_reward,
            success_above=success_above,
            discount=discount,
            min_length=min_length,
            failed_per_achieved=failed_per_achieved,
            failed_at_least=failed_at_least,
            hindsight_most=hindsight_most,
            commands_hold=commands_hold,
            kind=kind,
            goal=goal,
            episode=episode,
            validation=validation,
            test=test,
            seed=seed,
            truth=truth,
            no_rewards=no_rewards,
            goals=goals,
            timing=timing,
            materialize=materialize,
            workers=workers,
            threads=threads,
            overwrite=overwrite,
            slices=slices,
            trust=trust,
            dry_run=dry_run,
            price_per_hour=price_per_hour,
            beam_args=context.args,
            command=command_line(),
            show=show,
        )

    _show(guarded_job(run, json), json)


def _show(report: GoalJobReport, as_json: bool) -> None:
    if not as_json:
        for dataset in report.datasets:
            made_of = f" of {dataset.source_column}" if dataset.source_column else ""
            console.OUT.print(f"[bold]{escape(dataset.name)}[/]{escape(made_of)}")
            console.OUT.print(_count_table(dataset.counts))
        for warning in report.warnings:
            console.OUT.print(f"  [yellow]note[/]: {escape(warning)}")
    console.show_job(report, as_json)


def _count_table(counts: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    kinds = [kind.value for kind in Kind]
    if any(name.endswith("/left_out") for name in counts):
        kinds.append("left_out")
    table.add_column("  trajectories")
    for kind in kinds:
        table.add_column(kind.replace("_", " "), justify="right")
    for split in dict.fromkeys(name.split("/")[0] for name in counts):
        table.add_row(f"  {split}", *(f"{counts.get(f'{split}/{kind}', 0):,}" for kind in kinds))
    return table
