"""Options that several subcommands take."""

from __future__ import annotations

from typing import Annotated, Final

import typer

PASS_THROUGH: Final = {"allow_extra_args": True, "ignore_unknown_options": False}

Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on standard output.")
]
Workers = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of worker processes on this machine. Other runners take options of "
        "their own, after --.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of native threads in each worker. The default is the number of "
        "cores divided by the number of workers. With a runner that is named behind --, it "
        "must be given.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace tables that were made from other inputs or with other options."
    ),
]
Slices = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Work only on the I-th of N parts of the slices, from 1/N to N/N, as an element of a "
        "job array does. `vlm-relabel finish` then completes the tables.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Compare only the sizes of stored files. By default their checksums are "
        "compared too, once each.",
    ),
]
LabelTable = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Label table that says what is true, a .csv or .parquet file. `vlm-relabel label` "
        "helps to make one.",
    ),
]
LabelsField = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of the steps table that says what is true, with one value per goal: what a "
        "simulator knows.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="With --labels-field: column of flags; only frames where it is true count.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, without writing anything.")
]
EstimatedRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be done and, by two slices that are done in a temporary folder, what "
        "it will take: slices, bytes, frames, hours. Nothing is kept.",
    ),
]
Price = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="PRICE",
        help="With --dry-run: price of one worker for an hour, in any currency, for which costs "
        "are told.",
    ),
]
