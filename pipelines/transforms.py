"""Beam transforms over slices: `EmbedSlices` ↔ `embed_slice`, and so on.

The element between stages is the small slice; all work happens inside one, in `relabel.slices`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.profiles import count_profile
from relabel.jobs.finish import FinishWork, finish_tables
from relabel.jobs.work import BuildWork, Done, EmbedWork, RescoreWork, ScoreWork, Stage
from schemas.slices import Slice


class _Slices(beam.PTransform):  # type: ignore[misc]
    """Slices in, the same slices out, with the files that a stage made of them."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def expand(self, slices: beam.PCollection[Slice]) -> beam.PCollection[Slice]:
        """Adds one ParDo."""
        return slices | "Slice" >> beam.ParDo(_Process(self._stage)).with_output_types(Slice)


class EmbedSlices(_Slices):
    """Records to steps, episodes and embeddings."""

    def __init__(self, stage: EmbedWork) -> None:
        super().__init__(stage)


class ScoreSlices(_Slices):
    """Embeddings to rewards, some slices side by side; or scores to other rewards."""

    def __init__(self, stage: ScoreWork | RescoreWork) -> None:
        super().__init__(stage)


class BuildSlices(_Slices):
    """Rewards to goal datasets."""

    def __init__(self, stage: BuildWork) -> None:
        super().__init__(stage)


class _Process(beam.DoFn):  # type: ignore[misc]
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._slices = Metrics.counter("vlm_relabel", stage.counter)
        self._rows = Metrics.counter("vlm_relabel", stage.counter.replace("slices", "frames"))

    def setup(self) -> None:
        self._worker = self._stage.open()

    def process(self, piece: Slice) -> Iterator[Slice]:
        yield from self._counted(self._worker.process(piece))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from map(GlobalWindows.windowed_value, self._counted(self._worker.rest()))

    def teardown(self) -> None:
        self._worker.close()

    def _counted(self, results: Iterable[Done]) -> Iterator[Slice]:
        for done, profile in results:
            count_profile(profile)
            self._slices.inc()
            self._rows.inc(max((file.rows for file in done.files), default=0))
            yield done


class FinishTables(beam.PTransform):  # type: ignore[misc]
    """Slices in, names of the tables that are now complete out."""

    def __init__(self, work: FinishWork) -> None:
        super().__init__()
        self._work = work

    def expand(self, slices: beam.PCollection[Slice]) -> beam.PCollection[str]:
        """Gathers the small slice descriptors in one place and writes the manifests."""
        return (
            slices
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Finish" >> beam.ParDo(_Finish(self._work)).with_output_types(str)
        )


class _Finish(beam.DoFn):  # type: ignore[misc]
    def __init__(self, work: FinishWork) -> None:
        self._work = work

    def process(self, slices: list[Slice]) -> Iterator[str]:
        files = [file for piece in slices for file in piece.files]
        yield from finish_tables(self._work, files)
