"""`ScoreSlices` ↔ `relabel.slices.score_slice.score_slice`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.profiles import count_profile
from pipelines.workers import limit_threads
from relabel.rewards.scorer import Scorer
from relabel.slices.profile import Profile
from relabel.slices.score_slice import score_slice
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store


@dataclass(frozen=True)
class ScoreJob:
    """Everything a worker needs; the goals are embedded already."""

    store: str
    rewards: RewardManifest
    scorer: Scorer
    side_by_side: int  # slices in work at once, per worker
    trust: bool = False  # embeddings are not hashed when they are read


class ScoreSlices(beam.PTransform):  # type: ignore[misc]
    """Slices in, the same slices out, with the file of their rewards; some side by side."""

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
        self._store = Store.open(self._job.store, trust=self._job.trust)
        self._pool = ThreadPoolExecutor(self._job.side_by_side, thread_name_prefix="score")

    def start_bundle(self) -> None:
        self._running: deque[Future[tuple[Slice, Profile]]] = deque()

    def process(self, piece: Slice) -> Iterator[Slice]:
        limit_threads(1)  # small products: slices side by side use the cores better
        self._running.append(self._pool.submit(self._score, piece))
        if len(self._running) == self._job.side_by_side:
            yield self._oldest()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._running:
            yield GlobalWindows.windowed_value(self._oldest())

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _score(self, piece: Slice) -> tuple[Slice, Profile]:
        job, profile = self._job, Profile()
        done = score_slice(
            piece, store=self._store, rewards=job.rewards, scorer=job.scorer, profile=profile
        )
        return done, profile

    def _oldest(self) -> Slice:
        """The result of the slice that has been in work longest, counted."""
        try:
            done, profile = self._running.popleft().result()
        except BaseException:
            self._pool.shutdown(cancel_futures=True)  # ends what is in work before the job ends
            raise
        count_profile(profile)
        self._slices.inc()
        return done
