"""`EmbedSlices` ↔ `relabel.slices.embed_slice.embed_slice`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.profiles import count_profile
from pipelines.workers import SharedEncoder, limit_threads
from relabel.slices.embed_slice import SourceTable, embed_slice
from relabel.slices.profile import Profile
from relabel.source.source import Source
from schemas.slices import Slice
from schemas.store import Store


@dataclass(frozen=True)
class EmbedJob:
    """Everything a worker needs; small and picklable."""

    source: str  # dataset directory
    split: str
    store: str
    tables: tuple[SourceTable, ...]  # not complete yet
    encoder: SharedEncoder | None  # None: only steps and episodes are written
    batch_size: int
    decode_threads: int
    threads: int  # of the forward pass, per worker


class EmbedSlices(beam.PTransform):  # type: ignore[misc]
    """Slices in, the same slices out, with the files of their steps and embeddings."""

    def __init__(self, job: EmbedJob) -> None:
        super().__init__()
        self._job = job

    def expand(self, slices: beam.PCollection[Slice]) -> beam.PCollection[Slice]:
        """Adds one ParDo; all work happens inside a slice."""
        return slices | "EmbedSlice" >> beam.ParDo(_EmbedSlice(self._job)).with_output_types(Slice)


class _EmbedSlice(beam.DoFn):  # type: ignore[misc]
    def __init__(self, job: EmbedJob) -> None:
        self._job = job
        self._slices = Metrics.counter("vlm_relabel", "slices_embedded")
        self._rows = Metrics.counter("vlm_relabel", "frames_embedded")

    def setup(self) -> None:
        self._store = Store.open(self._job.store)
        self._source = Source.open_as(self._job.source, self._job.split, self._store.manifest)
        self._encoder = None if self._job.encoder is None else self._job.encoder.acquire()

    def process(self, piece: Slice) -> Iterator[Slice]:
        limit_threads(self._job.threads)
        profile = Profile()
        result = embed_slice(
            piece,
            source=self._source,
            store=self._store,
            tables=self._job.tables,
            encoder=self._encoder,
            batch_size=self._job.batch_size,
            decode_threads=self._job.decode_threads,
            profile=profile,
        )
        count_profile(profile)
        self._slices.inc()
        self._rows.inc(max((file.rows for file in result.files), default=0))
        yield result
