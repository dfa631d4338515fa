"""What `build-goals` did, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from relabel.goal_datasets.statistics import statistics_warnings
from relabel.jobs.report import JobReport
from schemas.goal_datasets import GoalDatasetManifest
from schemas.store import Store


class DatasetReport(BaseModel):
    """One goal dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source_column: str | None  # truth that it was made of; None: the reward set
    counts: dict[str, int]  # trajectories by "<split>/<kind>", and "<split>/left_out"


class GoalJobReport(JobReport):
    """One run of `build-goals`."""

    datasets: tuple[DatasetReport, ...] = ()
    warnings: tuple[str, ...] = ()


def dataset_report(
    store: Store,
    done: JobReport,
    datasets: Sequence[GoalDatasetManifest],
    warnings: Sequence[str],
) -> GoalJobReport:
    """Adds what is known of the datasets to the report of a job.

    Args:
        store: holds them, if they are complete.
        done: the report of the job.
        datasets: as planned.
        warnings: of the plan.
    """
    complete = [store.table_manifest(d.table) for d in datasets if store.is_complete(d.table)]
    own = [d for d in complete if isinstance(d, GoalDatasetManifest)]
    found = [warning for d in own[:1] for warning in statistics_warnings(d.statistics)]
    return GoalJobReport(
        **{name: getattr(done, name) for name in JobReport.model_fields},
        datasets=tuple(
            DatasetReport(name=d.name, source_column=d.source_column, counts=d.counts) for d in own
        ),
        warnings=(*warnings, *found),
    )
