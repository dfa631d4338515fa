"""The jobs `embed`, `score` and `relabel`: plan, run, report.

Create(slices) → Reshuffle → EmbedSlices → ScoreSlices → FinishTables
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import apache_beam as beam

from pipelines.embed_slices import EmbedJob, EmbedSlices
from pipelines.finish_tables import FinishJob, FinishTables
from pipelines.profiles import job_profile
from pipelines.runners import run_pipeline
from pipelines.score_slices import ScoreJob, ScoreSlices
from pipelines.workers import SharedEncoder, limit_threads
from relabel.goals.files import FIELD_PREFIX
from relabel.jobs.leases import leased, touched
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from relabel.jobs.plans import (
    EmbedPlan,
    ScorePlan,
    check_goals,
    encoder_for_texts,
    plan_embedding,
    plan_scoring,
)
from relabel.jobs.progress import Progress, Watch, watched
from relabel.jobs.report import PROFILE, JobReport, ProfileReport, encoder_text, report
from schemas.dead_letters import EMPTY_IMAGE
from schemas.encoders import Encoder
from schemas.errors import DeadLetterError, EncoderError
from schemas.files import Folder
from schemas.manifests import AnyTableManifest, EmbeddingManifest
from schemas.replan import replan
from schemas.slices import Slice
from schemas.store import Store


def embed(options: JobOptions, what: EmbedOptions) -> JobReport:
    """Source → steps, episodes and one embedding table per camera.

    Without an encoder, steps and episodes alone.

    Raises:
        RelabelError: anything the user can mend; nothing half-written looks whole.
    """
    if what.encoder is None:
        plan = plan_embedding(options, what, None)
        return _reported(_Run(options, plan.store, None, what, plan).execute(), options, None)
    encoder = SharedEncoder(what.encoder)
    loaded = encoder.acquire()
    encoder = encoder.pinned(loaded)
    plan = plan_embedding(options, what, loaded.spec)
    return _reported(_Run(options, plan.store, encoder, what, plan).execute(), options, loaded)


def score(options: JobOptions, what: ScoreOptions) -> JobReport:
    """Stored embeddings → one reward set. The source is not touched.

    Raises:
        RelabelError: as `embed`.
    """
    store = Store.open(options.store, trust=options.trust)
    encoder = encoder_for_texts(what.encoder, store)
    limit_threads(options.worker_threads)  # goals are embedded here, frames in the workers
    plan = plan_scoring(options, what, store, encoder)
    return _reported(_Run(options, store, scoring=plan).execute(), options, encoder)


def relabel(options: JobOptions, embedding: EmbedOptions, scoring: ScoreOptions) -> JobReport:
    """`embed` and `score` in one pipeline: a slice is scored as soon as it is embedded.

    Goals mined from the source (`field:…`) are known only when every slice has been read, so
    they take two pipelines.

    Raises:
        RelabelError: as `embed`.
    """
    if embedding.encoder is None:
        raise EncoderError("relabel: expected an encoder, got none; `embed` can do without")
    encoder = SharedEncoder(embedding.encoder)
    loaded = encoder.acquire()
    encoder = encoder.pinned(loaded)
    limit_threads(options.worker_threads)  # as in `score`
    plan = plan_embedding(options, embedding, loaded.spec)
    check_goals(scoring, plan.store.manifest)
    scoring = replace(scoring, cameras=plan.cameras)
    if isinstance(scoring.goals, tuple) or not scoring.goals.startswith(FIELD_PREFIX):
        rewards = plan_scoring(options, scoring, plan.store, loaded, plan.embeddings)
        run = _Run(options, plan.store, encoder, embedding, plan, rewards)
        return _reported(run.execute(), options, loaded)
    first = _Run(options, plan.store, encoder, embedding, plan).execute()
    if options.dry_run:
        return _reported(first, options, loaded)
    rewards = plan_scoring(options, scoring, plan.store, loaded)
    second = _Run(options, plan.store, scoring=rewards).execute()
    return _reported(first.then(second), options, loaded)


def _reported(done: JobReport, options: JobOptions, encoder: Encoder | None) -> JobReport:
    """The report with the encoder; if it has a profile, it is kept in the store."""
    if encoder is not None:
        done = done.model_copy(update={"encoder": encoder_text(encoder)})
    if done.profile is not None:
        Folder.at(options.store).write(PROFILE, done.model_dump_json(indent=1).encode())
    return done


class _Run:
    """One pipeline over the slices of one store."""

    def __init__(
        self,
        options: JobOptions,
        store: Store,
        encoder: SharedEncoder | None = None,
        what: EmbedOptions | None = None,
        embedding: EmbedPlan | None = None,
        scoring: ScorePlan | None = None,
    ) -> None:
        self._options = options
        self._store = store
        self._encoder = encoder
        self._what = what
        self._embedding = embedding
        self._scoring = scoring

    def execute(self) -> JobReport:
        """Writes what is missing and reports on every table asked for."""
        tables = self._tables()
        if self._options.dry_run:
            for table in tables if not self._options.overwrite else ():
                self._store.check(table)
            return self._noted(report(self._store, tables, None))
        self._create()
        with leased(self._store.folder, self._touched(tables), self._options.command):
            pending = self._begin(tables)
            watch = Watch(self._store, [table.table for table in pending])
            seconds: Mapping[str, float] = {}
            if pending:
                with watched(watch, self._options.show):
                    build = partial(self._build, pending)
                    seconds = job_profile(run_pipeline(build, self._options.run))
        progress = watch.look()
        profile = self._profile(seconds, progress) if self._options.profile else None
        begun = [table.table for table in pending]
        done = self._noted(report(self._store, tables, progress, begun, profile))
        _refuse_dead_letters(done, self._options)
        return done

    def _profile(self, seconds: Mapping[str, float], progress: Progress) -> ProfileReport:
        return ProfileReport.of(
            seconds,
            workers=self._options.run.workers,
            elapsed_s=progress.elapsed_s,
            frames=progress.frames,
        )

    def _noted(self, done: JobReport) -> JobReport:
        """The report, with what is unusual about the goals."""
        notes = [*(self._embedding.notes if self._embedding else ())]
        notes += self._scoring.notes if self._scoring else ()
        return done.model_copy(update={"notes": (*done.notes, *notes)})

    def _tables(self) -> list[AnyTableManifest]:
        source = list(self._embedding.tables) if self._embedding else []
        return [*source, *([self._scoring.manifest] if self._scoring else [])]

    def _create(self) -> None:
        if not Store.exists(self._options.store):
            Store.create(self._options.store, self._store.manifest)

    def _touched(self, tables: Sequence[AnyTableManifest]) -> list[str]:
        """Names of the tables that the job will write to, or may delete."""
        store = self._store
        if self._embedding is not None and self._embedding.replans:
            return [*store.tables(), *store.unfinished()]
        return touched(store, tables)

    def _begin(self, tables: Sequence[AnyTableManifest]) -> list[AnyTableManifest]:
        """Tables that are not complete, begun; a reward set with its goals written."""
        overwrite = self._options.overwrite
        if self._embedding is not None and self._embedding.replans:
            stored = Store.open(self._options.store)
            replan(stored, self._store.manifest, self._embedding.again)
        pending = [t for t in tables if not self._store.begin(t, overwrite=overwrite)]
        scoring = self._scoring
        if scoring is None or scoring.manifest not in pending:
            return pending
        return [*pending[:-1], scoring.write_goals(self._store)]

    def _build(self, pending: Sequence[AnyTableManifest], pipeline: beam.Pipeline) -> None:
        slices = (
            pipeline
            | "Slices" >> beam.Create(self._store.slices).with_output_types(Slice)
            | "Reshuffle" >> beam.Reshuffle()
        )
        own = {table.table for table in pending}
        if embedding := self._embed_job(own):
            slices = slices | "EmbedSlices" >> EmbedSlices(embedding)
        if scoring := self._score_job(own):
            slices = slices | "ScoreSlices" >> ScoreSlices(scoring)
        options = self._options
        accepted = EMPTY_IMAGE if self._what and self._what.accept_empty else None
        finish = FinishJob(
            options.store,
            tuple(pending),
            options.max_dead_ratio,
            accepted=accepted,
            trust=options.trust,
        )
        slices | "FinishTables" >> FinishTables(finish)

    def _embed_job(self, pending: set[str]) -> EmbedJob | None:
        plan, what = self._embedding, self._what
        tables = tuple(t for t in plan.tables if t.table in pending) if plan else ()
        if not tables or what is None:
            return None
        embeds = any(isinstance(table, EmbeddingManifest) for table in tables)
        return EmbedJob(
            source=what.source,
            split=self._store.manifest.source.instruction,
            store=self._options.store,
            tables=tables,
            encoder=self._encoder if embeds else None,
            batch_size=what.batch_size,
            decode_threads=what.decode_threads,
            threads=self._options.worker_threads,
        )

    def _score_job(self, pending: set[str]) -> ScoreJob | None:
        plan = self._scoring
        if plan is None or plan.manifest.table not in pending:
            return None
        # A slice writes while it scores, so that one more than half of the threads keeps all busy.
        # Behind an encoder there is nothing to gain.
        embeds = self._embed_job(pending) is not None
        side_by_side = 1 if embeds else self._options.worker_threads // 2 + 1
        trust = self._options.trust
        return ScoreJob(self._options.store, plan.manifest, plan.scorer, side_by_side, trust)


def _refuse_dead_letters(done: JobReport, options: JobOptions) -> None:
    unfinished = done.unfinished
    if not unfinished:
        return
    lines = [
        f"{table.table}: {table.dead_letters} dead letter{'s' * (table.dead_letters != 1)} "
        f"beside {table.rows} rows"
        for table in unfinished
        if table.dead_letters  # the others wait for these
    ]
    examples = dict.fromkeys(example for table in unfinished for example in table.examples)
    raise DeadLetterError(
        "more records could not be processed than --max-dead-ratio "
        f"{options.max_dead_ratio:g} accepts:\n  "
        + "\n  ".join([*lines, "such as", *list(examples)[:3]])
        + f"\nall of them are in {options.store}/dead_letters; once the source is mended, the "
        "same command reads them again; to accept them, run it with a higher --max-dead-ratio: "
        "nothing is computed twice"
    )
