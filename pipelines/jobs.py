"""The jobs `embed`, `score`, `relabel` and `build_goals`, carried by Beam.

Create(groups of slices) → Reshuffle → EmbedSlices → ScoreSlices → BuildSlices → FinishTables

Each job has the stages that it needs. What a job is stands in `relabel.jobs`; here is how many
slices are in work at once, and where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import apache_beam as beam

from pipelines.elsewhere import check_elsewhere, with_absolute_places
from pipelines.guests import Guest
from pipelines.hints import embed_hints
from pipelines.named_runner import NamedRunner, find_runner
from pipelines.profiles import job_profile
from pipelines.runners import run_elsewhere, run_pipeline
from pipelines.transforms import BuildSlices, EmbedSlices, FinishTables, Forget, Group, ScoreSlices
from relabel.jobs import run
from relabel.jobs.finish import finish_tables
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.work import Engine, Work
from schemas.slices import Slice

_NO_HINTS: Final[Mapping[str, str]] = {}  # of what a machine must have


def _locally(work: Work, options: RunOptions) -> Mapping[str, float]:
    groups = _shares(work, options.workers)
    return job_profile(run_pipeline(partial(_build, work, groups), options))


def _elsewhere(runner: NamedRunner, work: Work, options: RunOptions) -> Mapping[str, float]:
    work = with_absolute_places(work)
    together = max((stage.together for stage in work.stages), default=1)
    groups = [work.slices[at : at + together] for at in range(0, len(work.slices), together)]
    hints = embed_hints(options.beam_args)
    build = partial(_build, work, groups, guest=Guest(), hints=hints, finishes=not runner.is_dask)
    seconds = run_elsewhere(build, runner, options, job_profile)
    if runner.is_dask:  # whose grouping takes the square of the number of slices
        list(finish_tables(work.finish, ()))
    return seconds


def _ready(options: JobOptions) -> Engine:
    runner = find_runner(options.run.beam_args)
    if runner is None:
        return Engine("Beam", _locally)
    check_elsewhere(runner, options)
    return Engine(f"Beam, {runner.name}", partial(_elsewhere, runner), elsewhere=True)


# The runner and its workers are in the options.
with_beam: Final = Engine("Beam", _locally, prepare=_ready)


def _shares(work: Work, workers: int) -> Sequence[Group]:
    """Slices in groups, for local workers: one group for each of them where a stage takes several.

    Beam's local runner deals its elements out before it begins, so nothing is gained by more.
    """
    if all(stage.together == 1 for stage in work.stages):
        return [(piece,) for piece in work.slices]
    return [share for at in range(workers) if (share := work.slices[at::workers])]


def _build(
    work: Work,
    groups: Sequence[Group],
    pipeline: beam.Pipeline,
    guest: Guest | None = None,
    hints: Mapping[str, str] = _NO_HINTS,
    finishes: bool = True,
) -> None:
    slices = (
        pipeline
        | "Slices" >> beam.Create(groups).with_output_types(tuple[Slice, ...])
        | "Reshuffle" >> beam.Reshuffle()
    )
    if work.embed is not None:
        embed_slices = EmbedSlices(work.embed, guest).with_resource_hints(**hints)
        slices = slices | "EmbedSlices" >> embed_slices
    if work.score is not None:
        slices = slices | "ScoreSlices" >> ScoreSlices(work.score, guest)
    if work.build is not None:
        slices = slices | "BuildSlices" >> BuildSlices(work.build, guest)
    slices | "FinishTables" >> (FinishTables(work.finish) if finishes else Forget())


embed = partial(run.embed, execute=with_beam)
score = partial(run.score, execute=with_beam)
relabel = partial(run.relabel, execute=with_beam)
build_goals = partial(run.build_goals, execute=with_beam)
