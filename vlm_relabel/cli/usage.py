"""How a command line is read, and how misuse of it is told to people and to machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from schemas.errors import LocationError
from schemas.locations import check_no_secret
from vlm_relabel.cli import console

# Some versions of typer bring click along, others import it; either way this is its UsageError.
_UsageError: Final[Any] = typer.BadParameter.__mro__[1]
_JSON: Final = "--json"


class Command(TyperCommand):
    """A subcommand that takes no option of one value twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the words after the subcommand.

        Raises:
            UsageError: an option of one value has several, or a switch is on and off.
        """
        if not ctx.resilient_parsing:  # of shell completion
            _refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


def spread(words: Sequence[str], option: str) -> list[str]:
    """Repeats an option before each of several words that follow it.

    Example:
        >>> spread(["x.store", "--rewards", "a", "b", "--json"], "--rewards")
        ['x.store', '--rewards', 'a', '--rewards', 'b', '--json']
    """
    found: list[str] = []
    inside = False
    for place, word in enumerate(words):
        if word == "--":
            return [*found, *words[place:]]
        if word.startswith("-"):
            inside = word == option or word.startswith(f"{option}=")
            found.append(word)
        elif inside and found[-1] != option:
            found += [option, word]
        else:
            found.append(word)
    return found


class Program(TyperGroup):
    """The group of all subcommands; with --json, misuse is told as JSON too."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs the command line; ends the process in standalone mode."""
        words = sys.argv[1:] if args is None else list(args)
        _refuse_secrets(words)
        run = (words, prog_name, complete_var)
        if not standalone_mode:
            return super().main(*run, False, windows_expand_args, **extra)
        try:
            ended = super().main(*run, False, windows_expand_args, **extra)
        except _UsageError as error:
            if wants_json(words):
                console.print_json({"error": "UsageError", "message": error.format_message()})
            error.show()
            sys.exit(error.exit_code)
        sys.exit(ended if isinstance(ended, int) else 0)


def wants_json(words: Sequence[str]) -> bool:
    """Whether `--json` is among the program's own words; those after `--` are Beam's."""
    own = words[: words.index("--")] if "--" in words else words
    return _JSON in own


def _refuse_secrets(words: Sequence[str]) -> None:
    """Ends the process before a word with a secret in it is shown or stored by anything."""
    try:
        for word in words:
            check_no_secret(word)
    except LocationError as error:
        console.show_error(error, wants_json(words))
        sys.exit(2)


def _refuse_repeated(command: Any, ctx: Any, args: Sequence[str]) -> None:
    """Parses once more, with every option of one value as one of several."""
    parser = command.make_parser(ctx)
    single = [p for p in command.params if p.param_type_name == "option" and _is_single(p)]
    for param in single:
        shared: dict[str, Any] = {"obj": param, "dest": param.name}
        if not param.is_flag:
            parser.add_option(opts=param.opts, action="append", nargs=param.nargs, **shared)
            continue
        for opts in (param.opts, param.secondary_opts):
            if opts:
                parser.add_option(opts=opts, action="append_const", const=opts[-1], **shared)
    given, _, _ = parser.parse_args(args=list(args))
    for param in single:
        _check_once(param, given.get(param.name) or [], ctx)


def _is_single(param: Any) -> bool:
    return not (param.multiple or param.count)


def _check_once(param: Any, values: Sequence[Any], ctx: Any) -> None:
    if param.is_flag:
        if len(set(values)) > 1:
            raise _UsageError(f"{' and '.join(dict.fromkeys(values))} contradict each other", ctx)
    elif len(values) > 1:
        told = ", ".join(map(repr, values))
        raise _UsageError(
            f"{param.opts[-1]} takes one value, got {len(values)}: {told}; leave out all but one",
            ctx,
        )
