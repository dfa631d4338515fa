"""The subcommand `compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import Json, LabelsField, LabelTable, Trust, Where
from vlm_relabel.cli.guard import guarded
from vlm_relabel.cli.usage import Command, spread

if TYPE_CHECKING:
    from relabel.evaluation.comparison_report import Comparison

_SEEDS = 2**32 - 1  # the highest that NumPy takes
_DRAWS = (2, 10_000)


class CompareCommand(Command):
    """`--rewards a b c` means `--rewards a --rewards b --rewards c`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of `Command`."""
        return super().parse_args(ctx, spread(args, "--rewards"))


def compare(
    store: Annotated[str, typer.Argument(help="Store that holds the reward sets.")],
    rewards: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...",
            help="Reward sets to compare, the first of which is what the others are held "
            "against. The default is all of the store that have scores.",
        ),
    ] = None,
    labels: LabelTable = None,
    labels_field: LabelsField = None,
    where: Where = None,
    tricks: Annotated[
        bool,
        typer.Option(
            "--tricks",
            help="Also try what is known to help or hurt, on the stored embeddings: centring, "
            "whitening, prompt bias, temperatures, windows, potentials, ensembles.",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the curves as PNG and SVG and all numbers as JSON. Files of the "
            "same name are replaced.",
        ),
    ] = None,
    listed: Annotated[
        int,
        typer.Option(min=0, help="Number of frames to list that the reward sets disagree on most."),
    ] = 10,
    draws: Annotated[
        int,
        typer.Option(
            min=_DRAWS[0],
            max=_DRAWS[1],
            help="Number of times that episodes are drawn anew, for the intervals.",
        ),
    ] = 200,
    seed: Annotated[
        int, typer.Option(min=0, max=_SEEDS, help="Seed of the draws, and of what is sampled.")
    ] = 0,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Hold reward sets side by side: other encoders, prompts, reward functions, temperatures.

    With labels, or with a column that tells what is true, it shows how well each set ranks frames
    (average precision, curves) and episodes (AUC), with intervals and paired differences. Without
    either it shows how the sets order time, how far they agree, and the frames that they disagree
    on most. Two controls stand beside them: a ramp, which orders time perfectly and has seen
    nothing, and a random score.

    For example: vlm-relabel compare my.store --rewards v1 v2 --labels labels.csv
    """
    from vlm_relabel.cli.compare_console import show_comparison

    def run() -> Comparison:
        from vlm_relabel import comparisons

        with console.stages(json) as show:
            return comparisons.compare(
                store=store,
                rewards=rewards,
                labels=labels,
                labels_field=labels_field,
                where=where,
                tricks=tricks,
                out=out,
                listed=listed,
                draws=draws,
                seed=seed,
                trust=trust,
                show=show,
            )

    show_comparison(guarded(run, json), out, json)
