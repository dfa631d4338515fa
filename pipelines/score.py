"""`ScoreSlices` ↔ `relabel.scoring.score_slice`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.profiles import count_profile
from pipelines.workers import limit_threads
from relabel.profile import Profile
from relabel.rewards import Scorer
from relabel.scoring import score_slice
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store


@dataclass(frozen=True)
class ScoreJob:
    """Everything a worker needs; the goals are embedded already."""

    store: str
    rewards: RewardManifest
    scorer: Scorer
    threads: int  # of one worker


class ScoreSlices(beam.PTransform):  # type: ignore[misc]
    """Slices in, the same slices out, with the file of their rewards."""

    def __init__(self, job: ScoreJob) -> None:
        super().__init__()
        self._job = job

    def expand(self, slices: beam.PCollection[Slice]) -> beam.PCollection[Slice]:
        """Adds one ParDo; all work happens inside a slice."""
        return slices | "ScoreSlice" >> beam.ParDo(_ScoreSlice(self._job)).with_output_types(Slice)


class _ScoreSlice(beam.DoFn):  # type: ignore[misc]
    def __init__(self, job: ScoreJob) -> None:
        self._job = job
        self._slices = Metrics.counter("vlm_relabel", "slices_scored")

    def setup(self) -> None:
        self._store = Store.open(self._job.store)

    def process(self, piece: Slice) -> Iterator[Slice]:
        limit_threads(max(1, self._job.threads - 1))  # one writes while the others multiply
        job, profile = self._job, Profile()
        result = score_slice(
            piece, store=self._store, rewards=job.rewards, scorer=job.scorer, profile=profile
        )
        count_profile(profile)
        self._slices.inc()
        yield result
