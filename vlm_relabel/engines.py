"""Who carries a job: Beam where it is installed, else this process alone."""

from __future__ import annotations

from relabel.jobs.options import RunOptions
from relabel.jobs.work import Engine, check_alone, in_this_process
from schemas.extras import is_installed


def engine_for(options: RunOptions) -> Engine:
    """Beam if it is installed; else this process, for one worker without options of Beam's.

    The tables have the same bytes either way.

    Raises:
        MissingExtraError: only Beam can do it, and it is not installed.
    """
    if not is_installed("apache_beam"):
        check_alone(options)
        return in_this_process
    from pipelines.jobs import with_beam

    return with_beam
