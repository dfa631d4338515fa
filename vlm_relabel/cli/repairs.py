"""Commands that a store recorded, run again: only our own, only on this store, never by a shell."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer

from schemas.errors import RelabelError, StoreError
from schemas.repair import Damage, is_source_table
from schemas.store import Store
from vlm_relabel.cli import typed

_MAKERS: Final = ("relabel", "embed", "score", "build-goals", "calibrate")
# Of a command that runs again:
_LEFT_OUT: Final = ("overwrite", "retry_dead_letters", "trust", "dry_run", "profile", "json")
_THREADS: Final = "threads"


@dataclass(frozen=True)
class Rerun:
    """A command that makes some tables again."""

    words: tuple[str, ...]  # after the program's name
    recorded: str  # as the tables keep it
    tables: tuple[str, ...]
    by_hand: bool = False  # it has Beam options: it is for people to look at and to type

    @property
    def line(self) -> str:
        """As it would be typed."""
        return shlex.join(["vlm-relabel", *self.words])


def reruns(store: Store, damages: Sequence[Damage], *, allow_code: bool = False) -> list[Rerun]:
    """The commands that make anew what is damaged, each once, in an order that works.

    Args:
        store: damaged.
        damages: of its tables.
        allow_code: commands may import modules that the store names.

    Raises:
        StoreError: a store recorded something else than a command of ours, or one that imports
            code, which is not allowed.
    """
    tables: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for damage in damages:
        if damage.command is not None:
            words = _words(store, damage, damage.command, allow_code)
            tables.setdefault((words, damage.command), []).append(damage.table)
    return [
        Rerun(words, command, tuple(own), by_hand="--" in words)
        for (words, command), own in tables.items()
    ]


def run_again(rerun: Rerun, as_json: bool) -> str | None:
    """Runs a command in this process.

    Args:
        rerun: which.
        as_json: it shall print nothing.

    Returns:
        Why it failed; None: it is done.
    """
    from vlm_relabel.cli.main import app

    said = io.StringIO()
    quiet = contextlib.redirect_stdout(said) if as_json else contextlib.nullcontext()
    words = [*rerun.words, *(["--json"] if as_json else [])]
    with typed.recorded(rerun.recorded), quiet:
        code = app(words, prog_name="vlm-relabel", standalone_mode=False)
    if not code:
        return None
    told = said.getvalue().strip().rpartition("\n")[2]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(told)["message"])
    return f"exit code {code}"


def _words(store: Store, damage: Damage, command: str, allow_code: bool) -> tuple[str, ...]:
    """The words of a recorded command on this store, without what a repair must not do.

    A store that was moved or copied recorded where it was: what is mended is the one at hand.
    """
    name, context = _parsed(damage.table, command)
    context.params["store"] = store.location
    words = [*_again(damage, name, context), *(["--", *context.args] if context.args else [])]
    if (code := _code(context.params)) and not allow_code:
        raise StoreError(
            f"{store.location}/{damage.table}: its command imports and runs {' and '.join(code)}, "
            "which the store names; look at the command, and give --allow-code if you trust it, or "
            f"type it yourself:\n  {shlex.join(['vlm-relabel', *words])}"
        )
    return tuple(words)


def _again(damage: Damage, name: str, context: Any) -> list[str]:
    """The words of a parsed command that makes what is damaged, and replaces nothing else."""
    # Rewards that were replaced since are not to be made again for the sake of a source's tables.
    wanted = "embed" if name == "relabel" and is_source_table(damage.table) else name
    made_by = {} if damage.manifest is None else damage.manifest.made_by
    words = [wanted, *_options(_subcommand(wanted), context)]
    if context.params.get(_THREADS) is None and _THREADS in made_by:  # for the same bytes
        words += ["--threads", made_by[_THREADS]]
    return words


def _code(params: Mapping[str, Any]) -> list[str]:
    """Modules that the options of a command would import: never because a file says so."""
    from relabel.encoders.factory import FactoryLoader

    encoder, reward = (str(params.get(option) or "") for option in ("encoder", "reward"))
    named = [encoder] if FactoryLoader.takes(encoder) else []
    return [*named, *([reward] if ":" in reward else [])]


def _parsed(table: str, command: str) -> tuple[str, Any]:
    """Subcommand and parsed options of a recorded command."""
    try:
        program, name, *rest = shlex.split(command)
        if program != "vlm-relabel" or name not in _MAKERS:
            raise ValueError(f"expected vlm-relabel and one of {', '.join(_MAKERS)}")
        subcommand = _subcommand(name)
        return name, subcommand.make_context(name, list(rest))
    except (ValueError, RelabelError, typer.Exit, typer.BadParameter.__mro__[1]) as error:  # type: ignore[misc]
        raise StoreError(
            f"{table}: its command cannot be run again ({error}); look at it and type it "
            f"yourself:\n  {command}"
        ) from error


def _subcommand(name: str) -> Any:
    from vlm_relabel.cli.main import app

    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


def _options(subcommand: Any, context: Any) -> list[str]:
    """Those options of a parsed command that another subcommand takes too, as words."""
    words: list[str] = []
    for param in subcommand.params:
        source = context.get_parameter_source(param.name)
        if param.name in _LEFT_OUT or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[param.name]
        if getattr(param, "is_flag", False):
            words.append((param.opts if value else param.secondary_opts)[-1])
            continue
        name = [] if param.param_type_name == "argument" else [param.opts[-1]]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            words += [*name, str(getattr(one, "value", one))]
    return words
