"""`BuildSlices` ↔ `relabel.slices.build_slice.build_slice`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.workers import limit_threads
from relabel.goal_datasets.inputs import dataset_inputs
from relabel.slices.build_slice import build_slice
from schemas.goal_datasets import GoalDatasetManifest
from schemas.slices import Slice
from schemas.store import Store


@dataclass(frozen=True)
class BuildJob:
    """Everything a worker needs; goals and rewards are read from the store."""

    store: str
    datasets: tuple[GoalDatasetManifest, ...]  # not complete yet
    threads: int  # of the arithmetic, per worker
    trust: bool = False  # what is read is not hashed


class BuildSlices(beam.PTransform):  # type: ignore[misc]
    """Slices in, the same slices out, with the files of their datasets."""

    def __init__(self, job: BuildJob) -> None:
        super().__init__()
        self._job = job

    def expand(self, slices: beam.PCollection[Slice]) -> beam.PCollection[Slice]:
        """Adds one ParDo; all work happens inside a slice."""
        return slices | "BuildSlice" >> beam.ParDo(_BuildSlice(self._job)).with_output_types(Slice)


class _BuildSlice(beam.DoFn):  # type: ignore[misc]
    def __init__(self, job: BuildJob) -> None:
        self._job = job
        self._slices = Metrics.counter("vlm_relabel", "slices_indexed")

    def setup(self) -> None:
        self._store = Store.open(self._job.store, trust=self._job.trust)
        self._inputs = [dataset_inputs(self._store, dataset) for dataset in self._job.datasets]

    def process(self, piece: Slice) -> Iterator[Slice]:
        limit_threads(self._job.threads)
        for dataset, inputs in zip(self._job.datasets, self._inputs, strict=True):
            piece = build_slice(piece, store=self._store, dataset=dataset, inputs=inputs)
        self._slices.inc()
        yield piece
