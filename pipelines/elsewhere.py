"""Jobs whose workers are elsewhere: what must be said, and that every place has its full name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from pipelines.dask_cluster import check_cluster
from pipelines.named_runner import NamedRunner
from relabel.jobs.options import JobOptions
from relabel.jobs.work import EmbedWork, Work
from schemas.errors import RunnerError
from schemas.locations import is_url


def check_elsewhere(runner: NamedRunner, options: JobOptions) -> None:
    """Refuses what would mean something else on every machine.

    Raises:
        RunnerError: no threads are given, or local processes are; a cluster is not there.
    """
    if options.run.workers > 1:
        raise RunnerError(
            f"--workers {options.run.workers}: counts processes of the local runner; with --runner "
            f"{runner.name} leave it out, the runner has options of its own"
        )
    if options.threads is None:
        raise RunnerError(
            f"--threads: missing; with --runner {runner.name} the native threads of each worker "
            "must be given, since the number of cores here says nothing of those there, and "
            "tables have the same bytes only for the same number"
        )
    if runner.is_dask:
        check_cluster(options.run.beam_args)


def with_absolute_places(work: Work) -> Work:
    """The work with the paths of store, source and encoder from the root."""
    return replace(
        work,
        finish=replace(work.finish, store=absolute(work.finish.store)),
        embed=None if work.embed is None else _embed(work.embed),
        score=work.score and replace(work.score, store=absolute(work.score.store)),
        build=work.build and replace(work.build, store=absolute(work.build.store)),
    )


def _embed(work: EmbedWork) -> EmbedWork:
    return replace(
        work,
        store=absolute(work.store),
        source=absolute(work.source),
        encoder=None if work.encoder is None else work.encoder.absolute(),
    )


def absolute(location: str) -> str:
    """A path from the root; a URL as it is."""
    return location if is_url(location) else os.fspath(Path(location).expanduser().absolute())
