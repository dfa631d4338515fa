"""Profiles of slices, summed over all workers by Beam's own counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apache_beam.metrics import Metrics, MetricsFilter

from relabel.slices.profile import Profile

_NAMESPACE: Final = "vlm_relabel.profile"
_UNITS_PER_S: Final = 1e6  # a counter holds whole numbers


def count_profile(profile: Profile) -> None:
    """Adds one slice's profile to the job's counters; called where the slice is processed."""
    for stage, seconds in profile.seconds.items():
        Metrics.counter(_NAMESPACE, stage).inc(round(seconds * _UNITS_PER_S))


def job_profile(result: Any) -> Mapping[str, float]:
    """Busy seconds by stage of a finished job, over all slices and workers.

    Args:
        result: of the pipeline; a runner that keeps no metrics gives an empty profile.
    """
    try:
        metrics = result.metrics()
    except NotImplementedError:  # of Beam's runner on Dask, among others
        return {}
    found = metrics.query(MetricsFilter().with_namespace(_NAMESPACE))
    return {counter.key.metric.name: counter.result / _UNITS_PER_S for counter in found["counters"]}
