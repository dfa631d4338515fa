"""What a job does and whether it may; how many at once is `pipelines`."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.jobs.dataset_report import GoalJobReport as GoalJobReport
    from relabel.jobs.options import EmbedOptions as EmbedOptions
    from relabel.jobs.options import GoalDatasetOptions as GoalDatasetOptions
    from relabel.jobs.options import JobOptions as JobOptions
    from relabel.jobs.options import RunOptions as RunOptions
    from relabel.jobs.options import ScoreOptions as ScoreOptions
    from relabel.jobs.report import JobReport as JobReport
    from relabel.jobs.run import build_goals as build_goals
    from relabel.jobs.run import embed as embed
    from relabel.jobs.run import relabel as relabel
    from relabel.jobs.run import score as score
    from relabel.jobs.work import Work as Work
    from relabel.jobs.work import in_this_process as in_this_process
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "EmbedOptions": "relabel.jobs.options",
            "GoalDatasetOptions": "relabel.jobs.options",
            "GoalJobReport": "relabel.jobs.dataset_report",
            "JobOptions": "relabel.jobs.options",
            "JobReport": "relabel.jobs.report",
            "RunOptions": "relabel.jobs.options",
            "ScoreOptions": "relabel.jobs.options",
            "Work": "relabel.jobs.work",
            "build_goals": "relabel.jobs.run",
            "embed": "relabel.jobs.run",
            "in_this_process": "relabel.jobs.work",
            "relabel": "relabel.jobs.run",
            "score": "relabel.jobs.run",
        },
    )
