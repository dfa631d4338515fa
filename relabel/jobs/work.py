"""What is done with every slice of a store, whoever does it: a loop in this process, or Beam.

A stage is small and picklable. A worker process opens it once and hands it slice after slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from threadpoolctl import threadpool_limits

from relabel.goal_datasets.inputs import dataset_inputs
from relabel.jobs.finish import FinishWork, finish_tables
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.sent import as_planned
from relabel.jobs.workers import SharedEncoder, limit_threads
from relabel.rewards.binding_files import stored_rewarder, stored_scorer
from relabel.slices.build_slice import build_slice
from relabel.slices.profile import Profile
from relabel.slices.rescore_slice import rescore_slice
from relabel.slices.score_slice import score_slice
from schemas.extras import missing_extra, named_extras
from schemas.goal_datasets import GoalDatasetManifest
from schemas.manifests import RewardManifest
from schemas.slices import Slice
from schemas.store import Store

if TYPE_CHECKING:
    from relabel.slices.embed_slice import SourceTable

Done = tuple[Slice, Profile]  # with the files of the slice, and where its time went


class Worker(Protocol):
    """An opened stage."""

    def process(self, pieces: Sequence[Slice]) -> Iterator[Done]:
        """Does some slices; they come back in order."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class Stage(Protocol):
    """What is done with a slice."""

    counter: ClassVar[str]  # of slices that are done

    @property
    def store(self) -> str:
        """Location of the store."""
        ...

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the tables that it writes."""
        ...

    @property
    def together(self) -> int:
        """Slices that are best given to a worker at once."""
        ...

    def open(self) -> Worker:
        """For one worker process."""
        ...


class _OneByOne:
    """A worker that does slice after slice."""

    def __init__(self, work: Callable[[Slice], Done]) -> None:
        self._work = work

    def process(self, pieces: Sequence[Slice]) -> Iterator[Done]:
        yield from map(self._work, pieces)

    def close(self) -> None:
        """Holds nothing."""


class _SideBySide:
    """A worker that has some slices in work at once, in threads."""

    def __init__(self, work: Callable[[Slice], Done], slices: int) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(slices, thread_name_prefix="slice")

    def process(self, pieces: Sequence[Slice]) -> Iterator[Done]:
        limit_threads(1)  # small products: slices side by side use the cores better
        running = [self._pool.submit(self._work, piece) for piece in pieces]
        try:
            for future in running:
                yield future.result()
        finally:  # what is in work ends before the job does
            for future in running:
                future.cancel()
            wait(running)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class EmbedWork:
    """Records to steps, episodes and embeddings: `embed_slice`."""

    counter: ClassVar[str] = "slices_embedded"
    together: ClassVar[int] = 1

    source: str  # dataset directory
    split: str
    store: str
    tables: tuple[SourceTable, ...]  # not complete yet
    encoder: SharedEncoder | None  # None: only steps and episodes are written
    batch_size: int
    decode_threads: int
    threads: int  # of the forward pass, per worker

    @property
    def written(self) -> tuple[str, ...]:
        """As of every stage."""
        return tuple(table.table for table in self.tables)

    @named_extras("a worker that embeds")
    def open(self) -> Worker:
        """Opens store and source, and loads the encoder."""
        # TFDS and Pillow: not for a job that reads stored embeddings alone.
        from relabel.slices.embed_slice import embed_slice
        from relabel.source.source import Source

        store = Store.open(self.store)
        source = Source.open_as(self.source, self.split, store.manifest)
        encoder = None if self.encoder is None else self.encoder.acquire()

        def embed(piece: Slice) -> Done:
            limit_threads(self.threads)
            profile = Profile()
            done = embed_slice(
                piece,
                source=source,
                store=store,
                tables=self.tables,
                encoder=encoder,
                batch_size=self.batch_size,
                decode_threads=self.decode_threads,
                profile=profile,
            )
            return done, profile

        return _OneByOne(embed)


@dataclass(frozen=True)
class ScoreWork:
    """Embeddings to rewards: `score_slice`. The embedded goals lie beside the reward set."""

    counter: ClassVar[str] = "slices_scored"

    store: str
    rewards: RewardManifest  # as `to_send` makes it, or whole
    together: int  # slices in work at once, per worker
    trust: bool = False  # embeddings are not hashed when they are read

    @property
    def written(self) -> tuple[str, ...]:
        """As of every stage."""
        return (self.rewards.table,)

    def open(self) -> Worker:
        """Opens the store, and reads the embedded goals from it."""
        store = Store.open(self.store, trust=self.trust)
        rewards = as_planned(store, self.rewards)
        if store.is_complete(rewards.table):  # by the same command in another process
            return _OneByOne(lambda piece: _committed(store, rewards, piece))
        scorer = stored_scorer(store, rewards)

        def score(piece: Slice) -> Done:
            profile = Profile()
            done = score_slice(piece, store=store, rewards=rewards, scorer=scorer, profile=profile)
            return done, profile

        return _SideBySide(score, self.together)


def _committed(store: Store, rewards: RewardManifest, piece: Slice) -> Done:
    return piece.with_files(*store.committed(rewards, piece)), Profile()


@dataclass(frozen=True)
class RescoreWork:
    """Scores to other scores and rewards: `rescore_slice`. Its numbers lie in the store's plan."""

    counter: ClassVar[str] = "slices_scored"
    together: ClassVar[int] = 1

    store: str
    rewards: RewardManifest  # as `to_send` makes it, or whole
    of: str  # reward set whose scores are taken
    trust: bool = False  # scores are not hashed when they are read

    @property
    def written(self) -> tuple[str, ...]:
        """As of every stage."""
        return (self.rewards.table,)

    def open(self) -> Worker:
        """Opens the store, and reads the numbers from it."""
        store = Store.open(self.store, trust=self.trust)
        rewards = as_planned(store, self.rewards)
        rewarder = stored_rewarder(store, rewards, self.of)

        def rescore(piece: Slice) -> Done:
            profile = Profile()
            done = rescore_slice(
                piece,
                store=store,
                rewards=rewards,
                of=self.of,
                rewarder=rewarder,
                profile=profile,
            )
            return done, profile

        return _OneByOne(rescore)


@dataclass(frozen=True)
class BuildWork:
    """Rewards to goal datasets: `build_slice`."""

    counter: ClassVar[str] = "slices_built"
    together: ClassVar[int] = 1

    store: str
    datasets: tuple[GoalDatasetManifest, ...]  # not complete yet
    threads: int  # of the arithmetic, per worker
    trust: bool = False  # what is read is not hashed

    @property
    def written(self) -> tuple[str, ...]:
        """As of every stage."""
        return tuple(dataset.table for dataset in self.datasets)

    def open(self) -> Worker:
        """Opens the store, and reads goals and rewards from it."""
        store = Store.open(self.store, trust=self.trust)
        inputs = [dataset_inputs(store, dataset) for dataset in self.datasets]

        def build(piece: Slice) -> Done:
            limit_threads(self.threads)
            for dataset, own in zip(self.datasets, inputs, strict=True):
                piece = build_slice(piece, store=store, dataset=dataset, inputs=own)
            return piece, Profile()

        return _OneByOne(build)


@dataclass(frozen=True)
class Work:
    """The stages that every slice goes through, one after the other, and the end of it."""

    slices: tuple[Slice, ...]
    finish: FinishWork
    embed: EmbedWork | None = None
    score: ScoreWork | RescoreWork | None = None
    build: BuildWork | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that there are, in order."""
        return tuple(stage for stage in (self.embed, self.score, self.build) if stage is not None)


@dataclass(frozen=True)
class Engine:
    """Who does the work of a job."""

    name: str  # as reports tell it
    execute: Callable[[Work, RunOptions], Mapping[str, float]]  # busy seconds by stage
    elsewhere: bool = False  # its workers may be on other machines
    prepare: Callable[[JobOptions], Engine] | None = None  # None: it is as it is for every job

    def ready(self, options: JobOptions) -> Engine:
        """The engine as a job asks for it; to be called before anything is written.

        Raises:
            RelabelError: it cannot be had as asked for.
        """
        return self if self.prepare is None else self.prepare(options)

    def __call__(self, work: Work, options: RunOptions) -> Mapping[str, float]:
        """Does the work; busy seconds by stage of a slice's profile, summed over all workers."""
        return self.execute(work, options)


def check_alone(options: RunOptions) -> None:
    """Refuses what this process cannot do by itself.

    Raises:
        MissingExtraError: several workers are asked for, or a runner of Beam.
    """
    if options.workers > 1 or options.beam_args:
        asked = f"--workers {options.workers}" if options.workers > 1 else options.beam_args[0]
        raise missing_extra(asked, "apache_beam")


def _do_here(work: Work, options: RunOptions) -> Mapping[str, float]:
    check_alone(options)
    seconds: dict[str, float] = {}
    with threadpool_limits(None):  # puts back what slices change in this process
        slices = list(work.slices)
        for stage in work.stages:
            done = list(_through(stage, slices))
            slices = [piece for piece, _ in done]
            for _, profile in done:
                for name, busy in profile.seconds.items():
                    seconds[name] = seconds.get(name, 0.0) + busy
        list(finish_tables(work.finish, [file for piece in slices for file in piece.files]))
    return seconds


in_this_process: Final = Engine("this process", _do_here)  # without Beam, slice after slice


def _through(stage: Stage, slices: list[Slice]) -> Iterator[Done]:
    worker = stage.open()
    try:
        yield from worker.process(slices)
    finally:
        worker.close()
