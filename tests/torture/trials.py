"""Kills, what must hold after each, and what must have come out at the end."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from schemas.errors import RelabelError
from schemas.store import Store
from schemas.verify import verify_store
from tests.torture.commands import COMMANDS, Command, Target, write_inputs
from tests.torture.processes import Moment, Run

PROGRAM: Final = (sys.executable, "-m", "vlm_relabel.cli.entry")
_TOO_LATE: Final = 20  # trials in a row in which every command has ended before it is killed
_AT_START: Final = 0.2  # share of the kills that come before the first sign of work
_UNFINISHED: Final = ("unfinished (", "there is no such table")


@dataclass
class Tally:
    """Kills of one kind of process of one command."""

    command: str
    target: Target
    tried: int = 0
    survived: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Whole:
    """A command that nobody disturbed."""

    content: dict[str, Any]  # of every file
    start_s: float
    work_s: float


class Torture:
    """Commands, killed.

    Args:
        folder: for everything.
        seed: of the moments, and of the workers that are hit.
        say: told of every kill.
        in_a_row: kills before a command may come to its end, at most.
        program: that takes the commands' words.
        patience_s: that a worker may need to miss its parent.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        say: Callable[[str], object],
        *,
        in_a_row: int = 3,
        program: Sequence[str] = PROGRAM,
        patience_s: float = 30.0,
    ) -> None:
        self._folder = folder
        self._rng = random.Random(seed)
        self._say = say
        self._in_a_row = in_a_row
        self._program = list(program)
        self._patience_s = patience_s
        self._whole: dict[str, Whole] = {}
        self.losses: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        write_inputs(folder)

    def run(self, kills: int, commands: Sequence[Command] = COMMANDS) -> list[Tally]:
        """Kills `kills` times, those commands and kinds of process first that were killed least."""
        needed = self._with_given(commands)
        for command in needed:
            self._undisturbed(command)
        tallies = {c.name: _tallies(c, place) for place, c in enumerate(commands)}
        too_late = 0
        while (left := kills - sum(map(_tried, tallies.values()))) > 0:
            command = min(commands, key=lambda c: _tried(tallies[c.name]))
            hit = self._trial(command, min(left, self._in_a_row), tallies[command.name])
            too_late = 0 if hit else too_late + 1
            if too_late > _TOO_LATE:
                raise RuntimeError(f"{command.name} ends before it can be killed: {self.losses}")
        return [tally for own in tallies.values() for tally in own]

    def _with_given(self, commands: Sequence[Command]) -> list[Command]:
        """The commands and those that they start from, in order."""
        names = {command.name for command in commands}
        for command in reversed(COMMANDS):
            if command.name in names and command.given is not None:
                names.add(command.given)
        known = [command for command in COMMANDS if command.name in names]
        return [*known, *(command for command in commands if command not in known)]

    @property
    def _place(self) -> Path:
        """Where commands run, one after the other, so that all paths are the same."""
        return self._folder / "now"

    def _begin(self, command: Command) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        if command.given is None:
            self._place.mkdir()
        else:
            shutil.copytree(self._folder / "whole" / command.given, self._place)
        if command.prepare is not None:
            command.prepare(self._place)

    def begin(self, command: Command, workers: int) -> Run:
        """Starts a command from where it is to start, in an emptied place."""
        self._begin(command)
        return self._start(command, workers)

    def _start(self, command: Command, workers: int) -> Run:
        words = command.words.split()
        words += ["--workers", str(workers)] if command.workers else []
        return Run(self._place, [*self._program, *words], self._folder / "log.txt")

    def _undisturbed(self, command: Command) -> None:
        self._begin(command)
        run = self._start(command, workers=1)
        if run.finish() != 0:
            raise RuntimeError(f"{command.name} fails undisturbed: {run.told()}")
        start_s = run.elapsed if run.worked_after is None else run.worked_after
        whole = Whole(content(self._place), start_s, run.elapsed - start_s)
        self._whole[command.name] = whole
        shutil.copytree(self._place, self._folder / "whole" / command.name)
        self._say(f"{command.name}: starts in {start_s:.1f} s, works for {whole.work_s:.1f} s")

    def _trial(self, command: Command, kills: int, tallies: list[Tally]) -> int:
        """Some kills in a row, the least tried targets first; then the command may finish.

        Returns:
            How many kills struck.
        """
        self._begin(command)
        struck: list[Tally] = []
        problems: list[str] = []
        for _ in range(kills):
            tally = min(tallies, key=lambda t: t.tried)
            run = self._start(command, self._workers(command, tally.target))
            if not self._strike(command, run, tally.target):
                break  # it had come to its end
            tally.tried += 1
            struck.append(tally)
            problems += self._after_kill(command, run, tally.target)
        problems += self._at_the_end(command)
        for tally in struck:
            tally.lost += bool(problems)
            tally.survived += not problems
        self.losses += [f"{command.name}: {problem}" for problem in problems]
        return len(struck)

    def _workers(self, command: Command, target: Target) -> int:
        return 2 if target != "job" and command.workers else 1

    def _strike(self, command: Command, run: Run, target: Target) -> bool:
        whole = self._whole[command.name]
        moment = Moment(self._rng.random(), self._rng.random() >= _AT_START)
        if not run.wait_for(moment, whole.start_s, whole.work_s):
            return False
        after = run.elapsed
        hit = run.kill(target, self._rng)
        when = "at work" if moment.at_work else "starting"
        self._say(f"{command.name}: {target} killed after {after:.1f} s, {when}; hit: {hit}")
        return hit

    def _after_kill(self, command: Command, run: Run, target: Target) -> Iterator[str]:
        """What is wrong at once: a hang, processes left, files that look whole and are not."""
        try:
            code = run.finish()
        except TimeoutError as error:
            yield f"{target} killed, and the command {error}"
            return
        if target == "worker" and code != 0 and "Traceback" in run.told():
            yield f"a worker was killed, and the command says: {run.told()}"
        yield from self._left(run)
        if command.prepare is None:  # else the store was damaged before
            yield from damage(self._place / "store")

    def _left(self, run: Run) -> Iterator[str]:
        if survivors := run.survivors(self._patience_s):
            yield f"outlived the command by {self._patience_s:g} s: {'; '.join(survivors)}"

    def _at_the_end(self, command: Command) -> Iterator[str]:
        """The same command once more, and everything must be as if nobody had disturbed it."""
        run = self._start(command, workers=1)
        try:
            if code := run.finish():
                yield f"does not resume: exit code {code}: {run.told()}"
                return
        except TimeoutError as error:
            yield f"does not resume: {error}"
            return
        yield from self._left(run)
        found, expected = content(self._place), self._whole[command.name].content
        if left := sorted(found.keys() - expected.keys()):
            yield f"left over: {', '.join(left)}"
        if gone := sorted(expected.keys() - found.keys()):
            yield f"missing: {', '.join(gone)}"
        both = sorted(found.keys() & expected.keys())
        if other := [name for name in both if found[name] != expected[name]]:
            yield f"not the bytes of an undisturbed run: {', '.join(other)}"
        yield from damage(self._place / "store", unfinished=False)


def _tallies(command: Command, place: int) -> list[Tally]:
    """One per target; different commands begin with different ones."""
    targets = command.targets
    first = place % len(targets)
    return [Tally(command.name, target) for target in (*targets[first:], *targets[:first])]


def _tried(tallies: Sequence[Tally]) -> int:
    return sum(tally.tried for tally in tallies)


def damage(store: Path, *, unfinished: bool = True) -> Iterator[str]:
    """What `verify` finds in a store.

    Args:
        store: it need not exist.
        unfinished: tables may be so.
    """
    if not Store.exists(str(store)):
        return
    try:
        for _, problems in verify_store(Store.open(str(store))):
            for problem in problems:
                if not (unfinished and any(told in problem.text for told in _UNFINISHED)):
                    yield f"verify: {problem.table}: {problem.text}"
    except RelabelError as error:
        yield f"verify: {error}"


def content(folder: Path) -> dict[str, Any]:
    """Every file below a folder, byte by byte; of a manifest all but the command's own words."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): _comparable(path) for path in files}


def _comparable(path: Path) -> Any:
    if path.name != "manifest.json":
        return path.read_bytes()
    manifest = json.loads(path.read_bytes())
    # The number of workers is among the words, and the checksum covers them.
    return {key: value for key, value in manifest.items() if key not in ("command", "checksum")}


def as_json(tallies: Sequence[Tally]) -> list[dict[str, Any]]:
    """For `json.dump`."""
    return [asdict(tally) for tally in tallies]
