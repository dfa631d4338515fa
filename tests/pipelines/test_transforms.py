"""Each transform, on an in-memory list, against the plain function of the same name."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.testing.util import assert_that, equal_to

from pipelines.runners import run_pipeline
from pipelines.transforms import EmbedSlices, FinishTables, ScoreSlices
from relabel.jobs.finish import FinishWork, finish_tables
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.plans import EmbedPlan, ScorePlan, plan_embedding, plan_scoring
from relabel.jobs.work import EmbedWork, ScoreWork
from relabel.jobs.workers import SharedEncoder
from relabel.slices.embed_slice import embed_slice
from relabel.slices.score_slice import score_slice
from relabel.source.source import Source
from schemas.errors import StoreError
from schemas.slices import Slice
from schemas.store import GOALS, Store
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.store_checks import hashes, leftovers


def _run(
    transform: beam.PTransform, elements: Sequence[Slice], expected: Sequence[Any], group: int = 1
) -> None:
    """Runs a transform in-process, on groups; its output must be `expected`, in any order."""
    flat = isinstance(transform, FinishTables)
    with beam.Pipeline(runner=fn_runner.FnApiRunner()) as pipeline:
        found = pipeline | beam.Create(_grouped(elements, group)) | transform
        assert_that(found, equal_to(expected if flat else _grouped(expected, group)))


def _grouped(pieces: Sequence[Slice], size: int = 1) -> list[tuple[Slice, ...]]:
    return [tuple(pieces[at : at + size]) for at in range(0, len(pieces), size)]


class _Plans:
    """A store in which nothing is written yet but plans."""

    def __init__(self, store: Path, embedding: Embedding, scoring: Scoring) -> None:
        self.options = JobOptions(str(store), threads=1)
        self.what = embedding()
        encoder = self.what.encoder()
        self.encoder = encoder
        self.embed: EmbedPlan = plan_embedding(self.options, self.what, encoder.spec)
        self.score: ScorePlan = plan_scoring(
            self.options, scoring(), self.embed.store, encoder, self.embed.embeddings
        )
        self.store = Store.create(str(store), self.embed.store.manifest)
        for table in (*self.embed.tables, self.score.manifest):
            self.store.begin(table)
        self.score.write_goals(self.store)

    def embed_job(self) -> EmbedWork:
        return EmbedWork(
            source=self.what.source,
            split="train",
            store=self.options.store,
            tables=self.embed.tables,
            encoder=SharedEncoder(self.what.encoder),
            batch_size=2,
            decode_threads=1,
            threads=1,
        )

    def score_job(self) -> ScoreWork:
        return ScoreWork(self.options.store, self.score.manifest, together=2)

    def embedded(self) -> list[Slice]:
        """Every slice, embedded by the plain function."""
        source = Source.open(self.what.source, "train")
        return [
            embed_slice(
                piece,
                source=source,
                store=self.store,
                tables=self.embed.tables,
                encoder=self.encoder,
                batch_size=2,
                decode_threads=1,
            )
            for piece in self.store.slices
        ]

    def scored(self) -> list[Slice]:
        """Every slice, scored by the plain function."""
        job = self.score_job()
        return [
            score_slice(piece, store=self.store, rewards=job.rewards, scorer=self.score.scorer)
            for piece in self.embedded()
        ]


@pytest.fixture
def plans(tmp_path: Path, embedding: Embedding, scoring: Scoring) -> _Plans:
    return _Plans(tmp_path / "transform", embedding, scoring)


@pytest.fixture
def plain(tmp_path: Path, embedding: Embedding, scoring: Scoring) -> _Plans:
    return _Plans(tmp_path / "plain", embedding, scoring)


def test_embed_slices_does_what_embed_slice_does(plans: _Plans, plain: _Plans) -> None:
    expected = plain.embedded()
    assert len(expected) == 4
    assert {len(piece.files) for piece in expected} == {3}  # steps, episodes, embeddings
    _run(EmbedSlices(plans.embed_job()), plans.store.slices, expected)
    assert hashes(Path(plans.options.store)) == hashes(Path(plain.options.store))


def test_embed_slices_writes_low_dimensional_tables_without_an_encoder(
    plans: _Plans, counted: Any
) -> None:
    counted.loads.clear()
    job = replace(plans.embed_job(), tables=plans.embed.tables[:2], encoder=None)
    with beam.Pipeline(runner=fn_runner.FnApiRunner()) as pipeline:
        pipeline | beam.Create(_grouped(plans.store.slices)) | EmbedSlices(job)
    assert plans.store.read_slices("steps", plans.store.slices).num_rows == 11
    assert counted.loads == counted.frames == []


@pytest.mark.parametrize("together", [1, 2, 3, 9])
def test_score_slices_does_what_score_slice_does(
    plans: _Plans, plain: _Plans, together: int
) -> None:
    expected = plain.scored()
    job = replace(plans.score_job(), together=together)
    _run(ScoreSlices(job), plans.embedded(), expected, group=together)
    assert hashes(Path(plans.options.store)) == hashes(Path(plain.options.store))


@pytest.mark.parametrize("damaged", [0, 1, 3])
def test_a_slice_that_fails_stops_the_job_and_leaves_the_others_whole(
    plans: _Plans, plain: _Plans, damaged: int
) -> None:
    embedded = plans.embedded()
    table = plans.embed.embeddings[0].table
    path = Path(plans.options.store) / table / embedded[damaged].file
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    job = replace(plans.score_job(), together=2)
    groups = _grouped(embedded, 4)
    with pytest.raises(StoreError, match=embedded[damaged].name):
        run_pipeline(lambda p: p | beam.Create(groups) | ScoreSlices(job), RunOptions())
    rewards = Path(plans.options.store) / job.rewards.table
    assert embedded[damaged].file not in {file.name for file in rewards.iterdir()}
    path.write_bytes(whole)
    _run(ScoreSlices(job), embedded, plain.scored())


def test_finish_tables_writes_every_manifest(plans: _Plans) -> None:
    tables = (*plans.embed.tables, plans.score.write_goals(plans.store))
    job = FinishWork(plans.options.store, tables, max_dead_ratio=0)
    _run(FinishTables(job), plans.scored(), [table.table for table in tables])
    assert plans.store.unfinished() == []
    assert plans.store.rewards("v1").rows == 11
    assert plans.store.rewards("v1").files[0].file == GOALS
    assert leftovers(Path(plans.options.store)) == []


def test_finish_tables_takes_a_retried_bundle_once(plans: _Plans) -> None:
    files = [file for piece in plans.embedded() for file in piece.files]
    job = FinishWork(plans.options.store, plans.embed.tables, max_dead_ratio=0)
    assert len(list(finish_tables(job, [*files, *files[:5]]))) == 3
    assert len(plans.store.table_manifest("steps").files) == 4


def test_finish_tables_knows_earlier_slices_by_their_receipts(plans: _Plans) -> None:
    files = [file for piece in plans.embedded() for file in piece.files]
    job = FinishWork(plans.options.store, plans.embed.tables, max_dead_ratio=0)
    list(finish_tables(job, files[5:]))
    store = Store.open(plans.options.store)
    listed = [file for table in store.tables() for file in store.table_manifest(table).files]
    assert sorted(listed, key=str) == sorted((replace(f, figures=None) for f in files), key=str)


def test_finish_tables_refuses_a_table_that_lacks_a_slice(plans: _Plans) -> None:
    files = [file for piece in plans.embedded()[1:] for file in piece.files]
    for table in plans.embed.tables:
        Path(plans.options.store, table.table, plans.embed.store.slices[0].file).unlink()
    job = FinishWork(plans.options.store, plans.embed.tables, max_dead_ratio=0)
    with pytest.raises(
        StoreError, match=r"steps: 1 of 4 slices are missing, such as slice-train-00000"
    ):
        list(finish_tables(job, files))
    assert not plans.store.is_complete("steps")


def test_finish_tables_keeps_rewards_of_unfinished_embeddings_unfinished(plans: _Plans) -> None:
    files = [file for piece in plans.scored() for file in piece.files]
    job = FinishWork(plans.options.store, (plans.score.manifest,), max_dead_ratio=0)
    assert list(finish_tables(job, files)) == []
    assert not plans.store.is_complete("rewards/v1")


@pytest.mark.parametrize("dumps", [pickle.dumps, pickler.dumps])
def test_jobs_can_be_sent_to_a_worker(plans: _Plans, dumps: Any) -> None:
    loads = pickle.loads if dumps is pickle.dumps else pickler.loads
    sent = loads(dumps(plans.embed_job()))
    assert sent.tables == plans.embed.tables
    assert sent.encoder.load is plans.what.encoder
    assert len(dumps(sent)) < 20_000  # descriptions, no weights
    assert loads(dumps(plans.score_job())) == plans.score_job()
    finish = FinishWork(plans.options.store, plans.embed.tables, 0.1)
    assert loads(dumps(finish)) == finish


@pytest.mark.parametrize("kind", [EmbedSlices, ScoreSlices, FinishTables])
def test_the_functions_of_the_transforms_can_be_sent_to_a_worker(plans: _Plans, kind: Any) -> None:
    jobs = {
        EmbedSlices: plans.embed_job(),
        ScoreSlices: plans.score_job(),
        FinishTables: FinishWork(plans.options.store, (), 0.0),
    }
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner())
    pipeline | beam.Create(_grouped(plans.store.slices)) | kind(jobs[kind])
    copy = beam.Pipeline.from_runner_api(  # pickles every function, and reads it back
        pipeline.to_runner_api(), pipeline.runner, pipeline.options
    )
    assert copy.to_runner_api().components.transforms


def test_an_encoder_is_loaded_once_per_process(plans: _Plans, counted: Any) -> None:
    counted.loads.clear()
    job = plans.embed_job()
    assert job.encoder is not None
    held = job.encoder.acquire()
    for _ in range(2):
        with beam.Pipeline(runner=fn_runner.FnApiRunner()) as pipeline:
            pipeline | beam.Create(_grouped(plans.store.slices)) | EmbedSlices(job)
    assert counted.loads == [0]
    assert pickle.loads(pickle.dumps(job)).encoder.acquire() is held
