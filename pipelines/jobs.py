"""The jobs `embed`, `score`, `relabel` and `build_goals`, carried by Beam.

Create(slices) → Reshuffle → EmbedSlices → ScoreSlices → BuildSlices → FinishTables

Each job has the stages that it needs. What a job is stands in `relabel.jobs`; here is how many
slices are in work at once, and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import apache_beam as beam

from pipelines.profiles import job_profile
from pipelines.runners import run_pipeline
from pipelines.transforms import BuildSlices, EmbedSlices, FinishTables, ScoreSlices
from relabel.jobs import run
from relabel.jobs.options import RunOptions
from relabel.jobs.work import Engine, Work
from schemas.slices import Slice


def _by_beam(work: Work, options: RunOptions) -> Mapping[str, float]:
    return job_profile(run_pipeline(partial(_build, work), options))


with_beam: Final = Engine("Beam", _by_beam)  # the runner and its workers are in the options


def _build(work: Work, pipeline: beam.Pipeline) -> None:
    slices = (
        pipeline
        | "Slices" >> beam.Create(work.slices).with_output_types(Slice)
        | "Reshuffle" >> beam.Reshuffle()
    )
    if work.embed is not None:
        slices = slices | "EmbedSlices" >> EmbedSlices(work.embed)
    if work.score is not None:
        slices = slices | "ScoreSlices" >> ScoreSlices(work.score)
    if work.build is not None:
        slices = slices | "BuildSlices" >> BuildSlices(work.build)
    slices | "FinishTables" >> FinishTables(work.finish)


embed = partial(run.embed, execute=with_beam)
score = partial(run.score, execute=with_beam)
relabel = partial(run.relabel, execute=with_beam)
build_goals = partial(run.build_goals, execute=with_beam)
