"""What the commands do, as functions: the same options with the same defaults, by keyword.

Each returns what the command's `--json` prints, as an object. What a user can mend is raised as a
RelabelError.
"""

from __future__ import annotations

from relabel.jobs import finishing, run
from relabel.jobs.dataset_report import GoalJobReport
from relabel.jobs.report import JobReport
from vlm_relabel.arguments import (
    BuildGoalsArguments,
    EmbedArguments,
    FinishArguments,
    RelabelArguments,
    ScoreArguments,
)
from vlm_relabel.engines import engine_for
from vlm_relabel.keywords import takes


@takes(RelabelArguments)
def relabel(arguments: RelabelArguments) -> JobReport:
    """Embeds the frames of a source and scores them for goals. Does only what is missing.

    Takes the options of `vlm-relabel relabel`.

    Returns:
        The report, also of what was there already.

    Raises:
        RelabelError: anything the user can mend; nothing half-written looks whole.

    Example:
        >>> import vlm_relabel
        >>> report = vlm_relabel.relabel(
        ...     source="my_dataset/1.0.0",
        ...     camera="image_0",
        ...     encoder="local-dir:my_encoder",
        ...     goals=["the drawer is open", "the drawer is closed"],
        ...     store="drawer.store",
        ... )
        >>> [(table.table, table.rows) for table in report.tables][-1]
        ('rewards/v1', 90)
    """
    job = arguments.job
    return run.relabel(job, arguments.embedding, arguments.scoring, engine_for(job.run))


@takes(EmbedArguments)
def embed(arguments: EmbedArguments) -> JobReport:
    """Embeds the frames of a source; with `no_frames`, stores its steps and episodes alone.

    Takes the options of `vlm-relabel embed`; returns and raises as `relabel`.
    """
    job = arguments.job
    return run.embed(job, arguments.embedding, engine_for(job.run))


@takes(ScoreArguments)
def score(arguments: ScoreArguments) -> JobReport:
    """Scores stored embeddings for goals. Reads no frame, and needs no source.

    Takes the options of `vlm-relabel score`; returns and raises as `relabel`.
    """
    job = arguments.job
    return run.score(job, arguments.scoring, engine_for(job.run))


@takes(BuildGoalsArguments)
def build_goals(arguments: BuildGoalsArguments) -> GoalJobReport:
    """Makes a goal dataset to train on, of a reward set or of a column of truth.

    Takes the options of `vlm-relabel build-goals`; raises as `relabel`.

    Returns:
        The report of the job, with the trajectories of each dataset by split and kind.
    """
    job = arguments.job
    return run.build_goals(job, arguments.dataset, engine_for(job.run))


@takes(FinishArguments)
def finish(arguments: FinishArguments) -> JobReport:
    """Completes the tables whose slices are all there, after jobs with `slices`.

    Takes the options of `vlm-relabel finish`; raises as `relabel`, also for missing slices.

    Returns:
        The report on the tables that were unfinished; on all, if none was.
    """
    return finishing.finish(arguments.finishing)
