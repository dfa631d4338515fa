"""`repair`: makes anew what `verify` finds damaged, by the commands that made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.errors import RelabelError
from vlm_relabel.cli import console
from vlm_relabel.cli.arguments import DryRun, Json
from vlm_relabel.cli.guard import guarded

if TYPE_CHECKING:
    from schemas.repair import Damage
    from schemas.store import Store
    from vlm_relabel.cli.repairs import Rerun


_BY_HAND = "  [dim](has Beam options: for you to type)[/]"


def repair(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Store to repair.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Run the recorded commands without asking first.")
    ] = False,
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code",
            help="Also run recorded commands that import an encoder or a reward as MODULE:NAME.",
        ),
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make damaged and missing slices again, by the commands that made them.

    Slices that are whole stay as they are. Commands work on STORE, wherever it was when they were
    recorded; those with Beam options are shown for you to type. The source and the encoder must be
    where they were. The exit code is 1 if anything is still wrong.
    """
    outcome = guarded(lambda: _run(store, yes, allow_code, dry_run, json), json)
    if json:
        console.print_json(outcome)
    if not outcome["ok"] and not dry_run:
        raise typer.Exit(1)


def _run(
    location: str, yes: bool, allow_code: bool, dry_run: bool, as_json: bool
) -> dict[str, Any]:
    from schemas.repair import find_damage
    from schemas.store import Store
    from vlm_relabel.cli.checking import checking
    from vlm_relabel.cli.repairs import reruns

    if as_json and not (yes or dry_run):
        raise RelabelError("repair --json: expected --yes or --dry-run, since nobody can be asked")
    store = Store.open(location)
    with checking(as_json) as show:
        damages = find_damage(store, show)
    commands = reruns(store, damages, allow_code=allow_code or dry_run)
    if not as_json:
        _show(location, damages, commands)
    content: dict[str, Any] = {
        "store": location,
        "ok": not damages,
        "dry_run": dry_run,
        "damaged": {damage.table: list(damage.problems) for damage in damages},
        "commands": [rerun.line for rerun in commands],
    }
    if dry_run or not commands or not (yes or typer.confirm("Run these commands now?")):
        return content
    failed = _repair(store, damages, commands, as_json)
    return {**content, **_verified(location, as_json), "failed": failed}


def _show(location: str, damages: Sequence[Damage], commands: Sequence[Rerun]) -> None:
    for damage in damages:
        console.OUT.print(f"[red]✗[/] {escape(damage.table)}")
        for problem in damage.problems:
            console.OUT.print(f"    {escape(problem)}")
    if not damages:
        console.OUT.print(f"{escape(location)}: [green]all well[/]")
    if commands:
        console.OUT.print("\nto run, in this order:")
    for rerun in commands:
        console.OUT.print(f"  {escape(rerun.line)}{_BY_HAND * rerun.by_hand}")


def _repair(
    store: Store, damages: Sequence[Damage], commands: Sequence[Rerun], as_json: bool
) -> dict[str, str]:
    """Why commands failed, by their lines; the first that fails is the last that runs."""
    from relabel.jobs.leases import leased
    from schemas.repair import reopen
    from vlm_relabel.cli.repairs import run_again

    known = [damage for damage in damages if damage.command is not None]
    with leased(store.folder, [damage.table for damage in known], "vlm-relabel repair"):
        for damage in known:
            reopen(store, damage)
    for rerun in commands:
        if all(store.is_complete(table) for table in rerun.tables):
            continue  # an earlier command made them too
        if rerun.by_hand:
            told = "has Beam options: type it yourself, then repair again"
            if not as_json:
                console.OUT.print(f"\n{escape(rerun.line)}\n  {told}")
            return {rerun.line: told}
        if failure := run_again(rerun, as_json):
            return {rerun.line: failure}
    return {}


def _verified(location: str, as_json: bool) -> dict[str, Any]:
    from vlm_relabel.cli.checking import verified

    results = verified(location, as_json)
    if not as_json:
        console.show_verification(location, results, as_json)
    tables = {table: [problem.model_dump() for problem in found] for table, found in results}
    return {"ok": not any(found for _, found in results), "tables": tables}
