"""Reads the pages of the documentation and runs their blocks.

Above a block, an HTML comment may say `not run: reason` (it is only checked for commands and
options that do not exist) or `fails: text` (its last command must end with code 2 and that text).
A python block whose first line is `# NAME.py` is also written to that file.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import typer
from typer.testing import CliRunner

from vlm_relabel.cli.main import app

_MARK: Final = re.compile(r"^<!--\s*(not run|fails):\s*(.+?)\s*-->$")
_FILE: Final = re.compile(r"# (\w+\.py)\n")
_FENCE: Final = re.compile(r"^```(\w*)\s*$")
_SHELL: Final = ("console", "sh")
_NUMBER: Final = re.compile(r"-[0-9a-f]{8}\b|\d[\d,.]*")  # digests and figures differ by machine
_UNCHECKED: Final = frozenset({"git", "cd"})  # harmless words of a shell block
_FAILED: Final = 2  # exit code of an error that the user can mend


class BlockError(AssertionError):
    """A block that does not do what the page says."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int  # of the opening fence, from 1
    language: str
    text: str
    mark: str | None  # "not run" or "fails"
    argument: str  # of the mark

    @property
    def place(self) -> str:
        """For error texts."""
        return f"{self.page.name}:{self.line}"

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command of a shell block, without its prompt, with the output lines below it."""
        if self.language not in _SHELL:
            return
        command, output = None, list[str]()
        for line in self.text.replace("\\\n", " ").splitlines():
            if self.language == "console" and not line.startswith("$ "):
                output.append(line)
                continue
            if command is not None:
                yield command, output
            command, output = line.removeprefix("$ ").strip(), []
        if command is not None:
            yield command, output


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text("utf-8").splitlines()
    opened: tuple[int, str] | None = None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened = (number, fence[1])
        elif opened is not None and line == "```":
            start, language = opened
            mark = _MARK.match(lines[start - 2]) if start > 1 else None
            text = "\n".join(lines[start : number - 1])
            kind, argument = (mark[1], mark[2]) if mark else (None, "")
            found.append(Block(page, start, language, text, kind, argument))
            opened = None
    if opened is not None:
        raise BlockError(f"{page.name}:{opened[0]}: the block is not closed")
    return found


def run_page(page: Path) -> int:
    """Runs the blocks of a page in the working directory; how many ran.

    Raises:
        BlockError: a block failed, or did not fail where it should.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for block in blocks(page):
        if block.mark == "not run":
            continue
        if block.language == "python":
            _run_python(block, names)
            count += 1
        for command, output in block.commands():
            count += _run_command(block, command, output)
    return count


def _run_python(block: Block, names: dict[str, Any]) -> None:
    named = _FILE.match(block.text)
    if named:
        Path(named[1]).write_text(block.text + "\n", "utf-8")
    padding = "\n" * block.line  # so that a traceback names the page's own line
    try:
        exec(compile(padding + block.text, str(block.page), "exec"), names)
    except Exception as error:
        raise BlockError(f"{block.place}: {type(error).__name__}: {error}") from error


def _run_command(block: Block, command: str, output: list[str]) -> bool:
    words = shlex.split(command, comments=True)
    if not words or words[0] != "vlm-relabel":
        return False  # `check_command` has looked at it
    kept, sys.argv = sys.argv, words  # kept in manifests
    try:
        result = CliRunner().invoke(app, words[1:])
    finally:
        sys.argv = kept
    told = result.stdout + result.stderr
    expected = _FAILED if block.mark == "fails" else 0
    if result.exit_code != expected or (expected and block.argument not in told):
        wanted = f" and {block.argument!r}" if expected else ""
        raise BlockError(
            f"{block.place}: {command}\nexpected exit code {expected}{wanted}, "
            f"got {result.exit_code} ({result.exception!r})\n{told}"
        ) from result.exception
    plain = _plain(told)
    missing = [line for line in output if _plain(line) not in plain]
    if missing:
        raise BlockError(f"{block.place}: {command}\ndoes not print {missing}, but\n{told}")
    return True


def _plain(text: str) -> str:
    """Text without what differs by machine: figures, digests and the width of columns."""
    return " ".join(_NUMBER.sub("0", text).split())


# --- what can be checked without running ------------------------------------------------------


def cli_options() -> dict[str, set[str]]:
    """Every option of each subcommand, and of the program itself under ""."""
    group = typer.main.get_command(app)
    commands: dict[str, click.Command] = {"": group, **getattr(group, "commands")}  # noqa: B009
    return {
        name: {"--help", *(o for p in _shown(command) for o in (*p.opts, *p.secondary_opts))}
        for name, command in commands.items()
    }


def _shown(command: click.Command) -> list[click.Parameter]:
    """Those that are no spelling of the past."""
    return [p for p in command.params if not getattr(p, "hidden", False)]


def check_command(block: Block, command: str, targets: set[str]) -> None:
    """A command of a shell block names only what exists.

    Args:
        block: where it stands.
        command: one line.
        targets: of the Makefile.

    Raises:
        BlockError: no such subcommand, option or target, or a program that no test knows.
    """
    words = shlex.split(command, comments=True)
    if not words or words[0] in _UNCHECKED:
        return
    if words[0] == "make":
        asked = {word for word in words[1:] if "=" not in word}
        if asked - targets:
            raise BlockError(f"{block.place}: no make target {sorted(asked - targets)}")
    elif words[0] == "vlm-relabel":
        _check_options(block, words[1:])
    elif block.mark != "not run":
        raise BlockError(f"{block.place}: {words[0]} is not run here; mark it <!-- not run: … -->")


def _check_options(block: Block, words: list[str]) -> None:
    known = cli_options()
    if not words or words[0] not in known:
        raise BlockError(f"{block.place}: no subcommand {words[:1]}, there are {sorted(known)}")
    own = words[: words.index("--")] if "--" in words else words
    unknown = {w.split("=")[0] for w in own if w.startswith("--")} - known[words[0]]
    if unknown:
        raise BlockError(f"{block.place}: {words[0]} has no option {sorted(unknown)}")


def make_targets(makefile: Path) -> set[str]:
    """Names that `make` accepts."""
    return set(re.findall(r"^([a-z][\w-]*):", makefile.read_text("utf-8"), re.MULTILINE))


def prose(page: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def mentioned_options(page: Path) -> set[str]:
    """Options named in the text of a page, outside its blocks and comments."""
    text = re.sub(r"<!--.*?-->", "", prose(page), flags=re.DOTALL)
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead to no file, or to no heading."""
    return [link for link in _links(page) if not _resolves(page, link)]


def _links(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [t for t in targets if not t.startswith(("http://", "https://", "mailto:"))]


def _resolves(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Headings as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
