"""A few slices of a job are done in a temporary folder, to tell what the whole will take."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from relabel.jobs.estimates import Estimate, Left, Sample, estimated
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.report import JobReport
from relabel.jobs.work import ScoreWork, Work, in_this_process
from schemas.errors import DeadLetterError
from schemas.manifests import AnyTableManifest, manifest_bytes
from schemas.slices import Slice
from schemas.store import MANIFEST, Store

Prepare = Callable[[Store], object]


def spread(slices: Sequence[Slice], most: int) -> tuple[Slice, ...]:
    """So many slices at most, from all over the source.

    Example:
        >>> spread("abcdefgh", 2)
        ('c', 'g')
    """
    count = min(most, len(slices))
    return tuple(slices[(2 * place + 1) * len(slices) // (2 * count)] for place in range(count))


def estimate(
    store: Store,
    work: Work,
    tables: Sequence[AnyTableManifest],
    options: JobOptions,
    read_bytes: int,
    prepare: Prepare | None = None,
) -> Estimate:
    """What is left of a job will take, by a few of its slices.

    Args:
        store: as it is to be; it may not be there yet, and nothing is written to it.
        work: that is left; a slice at least.
        tables: that it writes, the last of them with a row for every frame or trajectory.
        options: of the job.
        read_bytes: that it reads.
        prepare: is given the temporary store with the tables begun, before the work is done.

    Raises:
        RelabelError: as the job itself.
        DeadLetterError: no frame of the sample can be read.
    """
    told = store.manifest.source.title
    pieces = spread(work.slices, _most(work, options))
    with tempfile.TemporaryDirectory(prefix="vlm-relabel-plan-") as folder:
        began = time.perf_counter()
        own = store_of_some(store, inputs(work, store), pieces, os.path.join(folder, "store"))
        copying = time.perf_counter() - began  # reading that the job does of every slice
        for table in tables:
            own.begin(table)
        if prepare is not None:
            prepare(own)
        began = time.perf_counter()
        in_this_process(_there(work, own), RunOptions())
        seconds = time.perf_counter() - began + copying
        sample = _sampled(own, work, tables, seconds)
    if not sample.frames:
        raise DeadLetterError(
            f"{told}: none of the frames of {len(pieces)} sampled slices can be read; look at them "
            "with `vlm-relabel inspect`, or give `vlm-relabel plan` more --sample-slices"
        )
    left = Left(told, len(work.slices), _records(work.slices), read_bytes)
    load_s = began - options.asked - copying
    return estimated(left, sample, load_s, options.worker_threads, options.estimate)


def with_estimate(done: JobReport, options: JobOptions, make: Callable[[], Estimate]) -> JobReport:
    """The report of a dry run with an estimate, or with a note why there is none.

    Args:
        done: the report.
        options: of the job.
        make: its `estimate`.

    Raises:
        RelabelError: as the job itself; of `plan`, also that no frame of the sample can be read.
    """
    try:
        told = make()
    except DeadLetterError as error:
        if options.estimate.needed:
            raise
        return done.model_copy(update={"notes": (*done.notes, f"no estimate: {error}")})
    return done.model_copy(update={"estimate": told})


def _most(work: Work, options: JobOptions) -> int:
    """Slices of the sample: as many at least as are in work side by side."""
    together = 1 if work.embed is not None else max(stage.together for stage in work.stages)
    return max(options.estimate.sample_slices, together)


def inputs(work: Work, store: Store) -> list[str]:
    """Tables that the work reads and does not write."""
    found = [] if work.embed is None else ["steps"]  # whose rows new embeddings must have
    if isinstance(work.score, ScoreWork):
        found += [f"embeddings/{name}" for name in work.score.rewards.embeddings]
    for dataset in () if work.build is None else work.build.datasets:
        found += ["steps", "episodes"]
        found += [] if dataset.rewards is None else [f"rewards/{dataset.rewards}"]
    written = {table for stage in work.stages for table in stage.written}
    return [t for t in dict.fromkeys(found) if t not in written and store.is_complete(t)]


def input_bytes(work: Work, store: Store) -> int:
    """Of the files of its slices that the work reads from the store."""
    files = {piece.file for piece in work.slices}
    manifests = (store.table_manifest(table) for table in inputs(work, store))
    return sum(f.bytes for table in manifests for f in table.slice_files if f.file in files)


def store_of_some(
    store: Store, tables: Sequence[str], pieces: Sequence[Slice], location: str
) -> Store:
    """A store of some slices of another one, with copies of some of its complete tables."""
    specs = tuple(store.manifest.slices[piece.index] for piece in pieces)
    made = Store.create(location, store.manifest.model_copy(update={"slices": specs}))
    names = {piece.file: own.file for piece, own in zip(pieces, made.slices, strict=True)}
    for table in tables:
        whole = store.table_manifest(table)
        files = []
        for file in whole.files:
            name = names.get(file.file) if file.file.startswith("slice-") else file.file
            if name is not None:
                content = store.folder.read(f"{file.table}/{file.file}")
                made.folder.write(f"{file.table}/{name}", content)
                files.append(replace(file, file=name))
        some = whole.model_copy(update={"files": tuple(files), "figures": None})
        made.folder.write(f"{table}/{MANIFEST}", manifest_bytes(some))
    return made


def _there(work: Work, own: Store) -> Work:
    """The same of another store, whose tables stay unfinished."""
    store = own.location
    return replace(
        work,
        slices=own.slices,
        finish=replace(work.finish, store=store, tables=()),
        embed=work.embed and replace(work.embed, store=store),
        score=work.score and replace(work.score, store=store),
        build=work.build and replace(work.build, store=store),
    )


def _sampled(own: Store, work: Work, tables: Sequence[AnyTableManifest], seconds: float) -> Sample:
    last = tables[-1].table
    frames = "steps" if work.build is not None or last == "episodes" else last
    episodes = own.slices if any(t.table == "episodes" for t in tables) else ()
    records = _records(own.slices)
    return Sample(
        slices=len(own.slices),
        records=records,
        episodes=sum(own.rows("episodes", p.file) for p in episodes) if episodes else records,
        frames=sum(own.rows(frames, piece.file) for piece in own.slices),
        store_bytes=sum(_written(own, tables)),
        seconds=seconds,
    )


def _written(own: Store, tables: Sequence[AnyTableManifest]) -> Iterator[int]:
    for table in tables:
        for folder in table.folders:
            yield from (s.size for n, s in own.folder.states(folder).items() if "slice-" in n)


def _records(slices: Sequence[Slice]) -> int:
    return sum(piece.stop - piece.start for piece in slices)
