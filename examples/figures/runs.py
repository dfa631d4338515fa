"""Runs and the records that they leave, so that interrupted work goes on.

A run is one thing to do: an encoder to train, an agent to train. Its record is a small JSON file,
`<records>/<kind>/<domain>-<name>-<seed>.json`, with what was asked for, what came out, and how to
do it again. A run whose record exists is not done a second time.

    {"kind": "encoders", "domain": "phone", "name": "tiny", "seed": 0, "settings": {…},
     "command": "python -m examples.figures …", "machine": {…}, "versions": {…},
     "seconds": 41.2, "result": {…}}
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from schemas.errors import RelabelError

VERSIONS: Final = ("torch", "open_clip_torch", "d3rlpy", "numpy", "scikit-learn")
_DIGITS: Final = 6


class RecordError(RelabelError):
    """A record that is not of the run that is asked for, or no record at all."""


@dataclass(frozen=True)
class Run:
    """One thing to do.

    Attributes:
        kind: folder of its record.
        domain: name of a `examples.figures.domains.Domain`.
        name: what sets it apart from the domain's other runs of its kind; no path.
        seed: of all that is drawn.
        settings: what else decides the result; plain values.
    """

    kind: str
    domain: str
    name: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Of its file: `phone-tiny-0`."""
        return f"{self.domain}-{self.name}-{self.seed}"


@dataclass(frozen=True)
class Record:
    """What a run has left."""

    kind: str
    domain: str
    name: str
    seed: int
    settings: Mapping[str, Any]
    command: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: float  # of the command; a training that it found done took longer
    result: Mapping[str, Any]

    def is_of(self, run: Run) -> bool:
        """Whether it answers this run, with these settings."""
        asked = (run.kind, run.domain, run.name, run.seed, _plain(run.settings))
        return asked == (self.kind, self.domain, self.name, self.seed, self.settings)


@dataclass(frozen=True)
class Records:
    """A folder of records.

    Attributes:
        folder: holds a folder for each kind.
        command: that makes them, for the records.
    """

    folder: Path
    command: str = ""

    def once(self, run: Run, do: Callable[[], Mapping[str, Any]]) -> Record:
        """The record of a run: the one that is there, or that of doing it now.

        Args:
            run: what is asked for.
            do: does it; returns the result, plain values for JSON.

        Raises:
            RecordError: a record of other settings is there.
        """
        path = self.path(run)
        if path.exists():
            return self._answering(run, read(path))
        say(f"{run.kind}/{run.stem} begins")
        start = time.monotonic()
        result = do()
        record = Record(
            **{**asdict(run), "settings": _plain(run.settings)},
            command=self.command,
            machine=machine(),
            versions={name: metadata.version(name) for name in VERSIONS},
            seconds=round(time.monotonic() - start, 1),
            result=_plain(result),
        )
        _write(path, record)
        say(f"{run.kind}/{run.stem} took {record.seconds:.0f} s")
        return record

    def path(self, run: Run) -> Path:
        """Of a run's record."""
        return self.folder / run.kind / f"{run.stem}.json"

    def of_kind(self, kind: str) -> list[Record]:
        """All records of a kind, in the order of their names."""
        return [read(path) for path in sorted((self.folder / kind).glob("*.json"))]

    def _answering(self, run: Run, record: Record) -> Record:
        if not record.is_of(run):
            raise RecordError(
                f"{self.path(run)}: expected the record of a run with {_plain(run.settings)}, got "
                f"one with {dict(record.settings)}; move it away, or write records elsewhere with "
                "--records"
            )
        return record


def read(path: Path) -> Record:
    """Reads a record.

    Raises:
        RecordError: a file that is no record.
    """
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: expected a record, got {error}; move it away") from error


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(_text(asdict(record)), encoding="utf-8")
    unfinished.replace(path)


def _text(told: Mapping[str, Any]) -> str:
    """JSON with a line for each of the outer keys, so that it stays small and can be read."""
    lines = [f"{json.dumps(key)}: {_lines(value, key == 'result')}" for key, value in told.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _lines(value: Any, split: bool) -> str:
    if not split or not isinstance(value, dict):
        return json.dumps(value)
    inner = [f" {json.dumps(key)}: {json.dumps(own)}" for key, own in value.items()]
    return "{\n" + ",\n".join(inner) + "\n}"


def _plain(value: Any) -> Any:
    """As JSON gives it back: arrays and tuples as lists, floats of six digits, NaN as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if isinstance(value, float):
        return None if value != value else float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Path):
        return str(value)
    return value


def machine() -> dict[str, Any]:
    """What a run's time depends on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def command_of(argv: list[str]) -> str:
    """The command of these arguments, for records: folders of this machine are left out."""
    told, skipped = [], False
    for word in argv:
        told.append("DIR" if skipped else word)
        skipped = word in ("--work", "--records")
    return shlex.join(["python", "-m", "examples.figures", *told])


def say(text: str) -> None:
    """A line of progress on standard error, with the time of day."""
    sys.stderr.write(f"figures: {time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
