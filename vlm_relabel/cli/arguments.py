"""Options that several subcommands take."""

from __future__ import annotations

from typing import Annotated, Final

import typer

PASS_THROUGH: Final = {"allow_extra_args": True, "ignore_unknown_options": False}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Workers = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Worker processes on this machine. Other runners have options of their own, after --.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Native threads of each worker. The default is cores / workers."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace tables that were made of other inputs.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Compare sizes of stored files only; without it, checksums too, once each.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
]
