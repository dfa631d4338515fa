"""`calibrate`: thresholds that labels speak for, as a function."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from relabel.evaluation.fits import Method
from relabel.jobs import calibrate as job
from relabel.jobs.calibrate import CalibrateOptions, CalibrateReport
from relabel.jobs.options import JobOptions
from schemas.labels import Labels
from vlm_relabel.arguments import JobArguments
from vlm_relabel.engines import engine_for
from vlm_relabel.keywords import STRICT, Location, Seed, Show, silent, takes

Fraction = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CalibrateArguments(JobArguments):
    """Of `calibrate`."""

    rewards: str = "v1"  # reward set
    name: str = "v1-calibrated"  # of the new one
    labels: Location | Labels | None = None  # label table
    labels_field: str | None = None  # column of the steps table, of one truth per goal
    where: str | None = None  # column of flags, of the frames whose truth is known
    test_where: str | None = None  # column of flags, of frames that are not fitted to
    method: Method = "platt"
    precision: Fraction | None = None  # wanted; None: 0.95, where the method is asked for one
    success_rate: Fraction | None = None  # of episodes; of the method quantile
    drawn: Literal["by-score", "by-answer"] | None = None  # how labelled frames were chosen
    output: Literal["thresholds", "probabilities"] = "thresholds"
    draws: Annotated[int, Field(ge=0, le=10_000)] = 200  # of episodes, for intervals
    seed: Seed = 0  # of the folds and draws
    trust: bool = False  # of stored files, compare the sizes only
    each: Show = silent  # called for every slice that is read

    @property
    def job(self) -> JobOptions:
        """As a job takes it."""
        return replace(super().job, trust=self.trust)

    @property
    def calibration(self) -> CalibrateOptions:
        """What is calibrated and how, as a job takes it."""
        labels = self.labels
        return CalibrateOptions(
            rewards=self.rewards,
            name=self.name,
            labels=labels if labels is None or isinstance(labels, Labels) else os.fspath(labels),
            labels_field=self.labels_field,
            where=self.where,
            test_where=self.test_where,
            method=self.method,
            precision=self.precision,
            success_rate=self.success_rate,
            drawn=self.drawn,
            output=self.output,
            draws=self.draws,
            seed=self.seed,
            each=self.each,
        )


@takes(CalibrateArguments)
def calibrate(arguments: CalibrateArguments) -> CalibrateReport:
    """Fits a threshold per goal to labels, and writes a reward set of them. Embeds nothing.

    Takes the options of `vlm-relabel calibrate`.

    Returns:
        The report, with the thresholds, what they are worth, and the goals that stay silent.

    Raises:
        RelabelError: anything the user can mend; nothing half-written looks whole.

    Example:
        >>> import vlm_relabel
        >>> report = vlm_relabel.calibrate(
        ...     store="my.store", rewards="v1", method="valley", dry_run=True
        ... )
        >>> [goal.goal_id for goal in report.calibration.goals][0]
        'drawer-open'
    """
    job_options = arguments.job
    return job.calibrate(job_options, arguments.calibration, engine_for(job_options.run))
