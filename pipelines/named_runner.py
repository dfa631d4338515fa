"""The Beam runner that a job names by `--runner`: found and checked before anything is written."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineRunner

from pipelines.hints import embed_hints, refuse_hints
from schemas.errors import RunnerError
from schemas.extras import is_installed, missing_extra

_DASK: Final = "apache_beam.runners.dask.dask_runner.DaskRunner"
_LOCAL: Final = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
# By the end of their names, lower case, without "runner".
_SHORT: Final = {
    **{path.rpartition(".")[2].lower(): path for path in StandardOptions.ALL_KNOWN_RUNNERS},
    "fnapirunner": _LOCAL,
    "daskrunner": _DASK,
}
_RUN: Final = "FnApiRunner, which is the default, and DaskRunner were run"


@dataclass(frozen=True)
class NamedRunner:
    """A runner that is not the local one."""

    name: str  # of its class
    path: str  # module and class, as Beam takes it

    @property
    def is_dask(self) -> bool:
        """Whether it is Beam's own on Dask."""
        return self.path == _DASK


def find_runner(words: Sequence[str]) -> NamedRunner | None:
    """The runner that Beam arguments name; None: the local one.

    Raises:
        RunnerError: there is no such runner, or an option is none of Beam's or of the runner's.
        MissingExtraError: it needs a library that is not installed.
    """
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # what it warns of is raised here
    named: str | None = _parsed(words).view_as(StandardOptions).runner
    if named is None:
        _check_options(words, "FnApiRunner, which runs without --runner")
        refuse_hints(words, "FnApiRunner, which runs without --runner,")
        return None
    path = _path(named)
    kind = _class(named, path)
    if not issubclass(kind, PortableRunner):  # whose job server has options that Beam cannot know
        _check_options(words, kind.__name__)
    if path in (_LOCAL, _DASK):
        refuse_hints(words, kind.__name__)
    embed_hints(words)
    if path == _LOCAL:
        return None
    _validate(kind.__name__, path, words)
    return NamedRunner(kind.__name__, path)


def without_runner(words: Sequence[str]) -> list[str]:
    """Beam arguments without the runner's name, which is resolved by then."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner")
    return parser.parse_known_args(list(words))[1]


def _validate(name: str, path: str, words: Sequence[str]) -> None:
    """Lets Beam look whether the runner has the options that it needs."""
    options = PipelineOptions([*without_runner(words), "--runner", path])
    try:
        beam.Pipeline(options=options)
    except Exception as error:  # a runner of anybody may raise anything
        told = " ".join(str(error).split())
        raise RunnerError(f"--runner {name}: {type(error).__name__}: {told}") from error


def _path(named: str) -> str:
    if "." in named:
        return named
    word = named.lower().removesuffix("runner")
    if f"{word}runner" in _SHORT:
        return str(_SHORT[f"{word}runner"])
    raise RunnerError(
        f"--runner {named}: unknown; {_RUN}; others that Beam knows go by their names "
        "(FlinkRunner, SparkRunner, DataflowRunner, PortableRunner), and all others by module and "
        "class, such as my_module.MyRunner"
    )


def _class(named: str, path: str) -> type[Any]:
    if path == _DASK and not is_installed("distributed"):
        raise missing_extra(f"--runner {named}", "distributed")
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunnerError(
            f"--runner {named}: {path} cannot be imported: {error}; {_RUN}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, PipelineRunner)):
        raise RunnerError(f"--runner {named}: {path} is no PipelineRunner of Beam; {_RUN}")
    return found


def _parsed(words: Sequence[str]) -> PipelineOptions:
    """Beam's options; argparse would print what is wrong, and end the process."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = PipelineOptions(list(words))
            options.view_as(StandardOptions)
            return options
    except SystemExit as error:
        raise RunnerError(_told(said)) from error


def _check_options(words: Sequence[str], who: str) -> None:
    """Refuses options that nobody would heed.

    Args:
        words: given behind `--`.
        who: would not heed them.
    """
    said = io.StringIO()
    unknown: list[str] = []

    def look(parser: Any) -> None:  # it has every option of the runners that are imported by now
        unknown.extend(parser.parse_known_args(list(words))[1])

    try:
        with contextlib.redirect_stderr(said):
            PipelineOptions(list(words)).get_all_options(add_extra_args_fn=look)
    except SystemExit as error:
        raise RunnerError(_told(said)) from error
    if unknown:
        raise RunnerError(
            f"{' '.join(unknown)}: no option of Beam or of {who}; options of a runner go behind "
            "--, after --runner NAME"
        )


def _told(said: io.StringIO) -> str:
    """What argparse has printed, without its usage."""
    lines = said.getvalue().strip().splitlines() or ["an option cannot be read"]
    return f"Beam's options: {lines[-1].partition('error: ')[2] or lines[-1]}"
