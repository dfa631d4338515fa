"""Beam transforms over slices: `EmbedSlices` ↔ `embed_slice`, and so on.

The element between stages is a group of small slices, mostly of one; all work happens inside a
slice, in `relabel.slices`. What a stage has done it emits where it was given it, and nothing when a
bundle ends: there, some runners lose it.
"""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.guests import Guest, one_at_a_time
from pipelines.profiles import count_profile
from relabel.jobs.finish import FinishWork, finish_tables
from relabel.jobs.work import BuildWork, EmbedWork, RescoreWork, ScoreWork, Stage
from schemas.slices import Slice

Group = tuple[Slice, ...]


class _Slices(beam.PTransform):  # type: ignore[misc]
    """Slices in, the same slices out, with the files that a stage made of them.

    Args:
        stage: what is done with a slice.
        guest: how it is opened in processes of others; None: those that run it are ours.
    """

    def __init__(self, stage: Stage, guest: Guest | None = None) -> None:
        super().__init__()
        self._stage = stage
        self._guest = guest

    def expand(self, groups: beam.PCollection[Group]) -> beam.PCollection[Group]:
        """Adds one ParDo."""
        work = _Process(self._stage) if self._guest is None else _AsGuest(self._stage, self._guest)
        return groups | "Slices" >> beam.ParDo(work).with_output_types(Group)


class EmbedSlices(_Slices):
    """Records to steps, episodes and embeddings."""

    def __init__(self, stage: EmbedWork, guest: Guest | None = None) -> None:
        super().__init__(stage, guest)


class ScoreSlices(_Slices):
    """Embeddings to rewards, the slices of a group side by side; or scores to other rewards."""

    def __init__(self, stage: ScoreWork | RescoreWork, guest: Guest | None = None) -> None:
        super().__init__(stage, guest)


class BuildSlices(_Slices):
    """Rewards to goal datasets."""

    def __init__(self, stage: BuildWork, guest: Guest | None = None) -> None:
        super().__init__(stage, guest)


class _Process(beam.DoFn):  # type: ignore[misc]
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._slices = Metrics.counter("vlm_relabel", stage.counter)
        self._rows = Metrics.counter("vlm_relabel", stage.counter.replace("slices", "frames"))
        self._encoder = stage.encoder if isinstance(stage, EmbedWork) else None
        self._loads = Metrics.counter("vlm_relabel", "encoders_loaded")  # one for each process

    def setup(self) -> None:
        self._worker = self._stage.open()

    def process(self, group: Group) -> Iterator[Group]:
        done = []
        if self._encoder is not None:
            self._loads.inc(self._encoder.untold_loads())  # what `setup` counts, Beam drops
        for piece, profile in self._worker.process(group):
            count_profile(profile)
            self._slices.inc()
            self._rows.inc(max((file.rows for file in piece.files), default=0))
            done.append(piece)
        yield tuple(done)

    def teardown(self) -> None:
        self._worker.close()


class _AsGuest(_Process):
    """In a process that others have started, and that may do several things at once."""

    def __init__(self, stage: Stage, guest: Guest) -> None:
        super().__init__(stage)
        self._guest = guest

    def setup(self) -> None:
        self._worker = self._guest.opened(self._stage)

    def process(self, group: Group) -> Iterator[Group]:
        with one_at_a_time:
            done = list(super().process(group))
        yield from done

    def teardown(self) -> None:
        """Leaves the stage open for the next bundle."""


class FinishTables(beam.PTransform):  # type: ignore[misc]
    """Slices in, names of the tables that are now complete out."""

    def __init__(self, work: FinishWork) -> None:
        super().__init__()
        self._work = work

    def expand(self, groups: beam.PCollection[Group]) -> beam.PCollection[str]:
        """Gathers the small slice descriptors in one place and writes the manifests."""
        return (
            groups
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Finish" >> beam.ParDo(_Finish(self._work)).with_output_types(str)
        )


class _Finish(beam.DoFn):  # type: ignore[misc]
    def __init__(self, work: FinishWork) -> None:
        self._work = work

    def process(self, groups: list[Group]) -> Iterator[str]:
        files = [file for group in groups for piece in group for file in piece.files]
        yield from finish_tables(self._work, files)


class Forget(beam.PTransform):  # type: ignore[misc]
    """Slices in, nothing out: for a runner that brings its results back to who has submitted."""

    def expand(self, groups: beam.PCollection[Group]) -> beam.PCollection[Group]:
        """Adds one ParDo."""
        return groups | "Nothing" >> beam.FlatMap(_nothing).with_output_types(Group)


def _nothing(group: Group) -> tuple[Group, ...]:
    return ()
