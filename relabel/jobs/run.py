"""The jobs `embed`, `score`, `relabel` and `build-goals`: plan, do, finish, report.

What is done stands in `relabel.jobs.work`; who does it is passed in: `in_this_process`, or
`pipelines.jobs.with_beam`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from relabel.encoders.protocol import TextEncoder
from relabel.goal_datasets.inputs import dataset_inputs
from relabel.goal_datasets.positives import check_positives
from relabel.jobs.begin import begin_all, check_all, check_rewards_of
from relabel.jobs.carry import carry, check_passes, slices_left, slices_of
from relabel.jobs.collecting import CollectingRarely
from relabel.jobs.dataset_plans import dataset_warnings, plan_datasets
from relabel.jobs.dataset_report import GoalJobReport, dataset_report
from relabel.jobs.finish import FinishWork
from relabel.jobs.leases import leased, touched
from relabel.jobs.options import EmbedOptions, GoalDatasetOptions, JobOptions, ScoreOptions
from relabel.jobs.plans import (
    EmbedPlan,
    ScorePlan,
    check_goals,
    needs_frames,
    plan_embedding,
    plan_scoring,
)
from relabel.jobs.progress import Progress, Watch, watched
from relabel.jobs.refusals import refuse_damaged, refuse_unfinished
from relabel.jobs.report import (
    PROFILE,
    JobReport,
    ProfileReport,
    encoder_text,
    report,
)
from relabel.jobs.rescore_plan import RescorePlan
from relabel.jobs.sampling import estimate, input_bytes, with_estimate
from relabel.jobs.sent import to_send
from relabel.jobs.stored_embeddings import encoder_for_texts
from relabel.jobs.work import (
    BuildWork,
    EmbedWork,
    Engine,
    RescoreWork,
    ScoreWork,
    Work,
    in_this_process,
)
from relabel.jobs.workers import SharedEncoder, limit_threads, load_for
from schemas.dead_letters import EMPTY_IMAGE
from schemas.errors import EncoderError
from schemas.extras import named_extras
from schemas.files import Folder
from schemas.goal_datasets import GoalDatasetManifest
from schemas.manifests import AnyTableManifest, EmbeddingManifest
from schemas.replan import outdated_slices, replan
from schemas.slices import Slice
from schemas.store import Store


@CollectingRarely()
@named_extras("embed")
def embed(options: JobOptions, what: EmbedOptions, execute: Engine = in_this_process) -> JobReport:
    """Source → steps, episodes and one embedding table per camera.

    Without an encoder, steps and episodes alone.

    Raises:
        RelabelError: anything the user can mend; nothing half-written looks whole.
    """
    execute = execute.ready(options)
    if what.encoder is None:
        plan = plan_embedding(options, what, None)
        run = _Run(options, execute, plan.store, None, what, plan)
        return _reported(run.execute(), options, None)
    loaded, encoder = load_for(what.encoder, elsewhere=execute.elsewhere)
    plan = plan_embedding(options, what, loaded.spec)
    run = _Run(options, execute, plan.store, encoder, what, plan)
    return _reported(run.execute(), options, loaded)


@CollectingRarely()
@named_extras("score")
def score(options: JobOptions, what: ScoreOptions, execute: Engine = in_this_process) -> JobReport:
    """Stored embeddings → one reward set. The source is not touched.

    Raises:
        RelabelError: as `embed`.
    """
    execute = execute.ready(options)
    store = Store.open(options.store, trust=options.trust)
    encoder = encoder_for_texts(what.encoder, store)
    limit_threads(options.worker_threads)  # goals are embedded here, frames in the workers
    plan = plan_scoring(options, what, store, encoder)
    return _reported(_Run(options, execute, store, scoring=plan).execute(), options, encoder)


@CollectingRarely()
@named_extras("relabel")
def relabel(
    options: JobOptions,
    embedding: EmbedOptions,
    scoring: ScoreOptions,
    execute: Engine = in_this_process,
) -> JobReport:
    """`embed` and `score` in one pass: a slice is scored as soon as it is embedded.

    Goals mined from the source (`field:…`) are known only when every slice has been read, and a
    head or a goal's examples are made of embedded frames: these take two passes.

    Raises:
        RelabelError: as `embed`.
    """
    execute = execute.ready(options)
    if embedding.encoder is None:
        raise EncoderError("relabel: expected an encoder, got none; `embed` can do without")
    loaded, encoder = load_for(embedding.encoder, elsewhere=execute.elsewhere)
    limit_threads(options.worker_threads)  # as in `score`
    plan = plan_embedding(options, embedding, loaded.spec)
    check_goals(scoring, plan.store.manifest)
    scoring = replace(scoring, cameras=plan.cameras)
    whole = needs_frames(scoring)
    check_passes(options.part, whole)
    if not whole:
        rewards = plan_scoring(options, scoring, plan.store, loaded, plan.embeddings)
        run = _Run(options, execute, plan.store, encoder, embedding, plan, rewards)
        return _reported(run.execute(), options, loaded)
    check_all(plan.store, plan.tables, overwrite=options.overwrite)
    if not options.overwrite:
        check_rewards_of(plan.store, scoring.name, plan.embeddings)
    first = _Run(options, execute, plan.store, encoder, embedding, plan).execute()
    if options.dry_run:
        return _reported(_without_scoring(first), options, loaded)
    rewards = plan_scoring(options, scoring, plan.store, loaded)
    second = _Run(options, execute, plan.store, scoring=rewards).execute()
    return _reported(first.then(second), options, loaded)


@CollectingRarely()
def build_goals(
    options: JobOptions, what: GoalDatasetOptions, execute: Engine = in_this_process
) -> GoalJobReport:
    """Reward set → a goal dataset, and its sibling of the truth.

    Raises:
        RelabelError: anything the user can mend; nothing half-written looks whole.
    """
    execute = execute.ready(options)
    store = Store.open(options.store, trust=options.trust)
    datasets = plan_datasets(options, what, store)
    inputs = [dataset_inputs(store, dataset) for dataset in datasets]
    for dataset, own in zip(datasets, inputs, strict=True):
        check_positives(store, dataset, own)
    warnings = dataset_warnings(store, datasets[0], inputs[0])
    if options.dry_run:
        done = report(store, datasets, None, engine=execute.name)
        done = _dataset_estimate(done, options, store, datasets)
        return dataset_report(store, done, datasets, warnings)
    with leased(store.folder, touched(store, datasets), options.command):
        pending = begin_all(store, datasets, overwrite=options.overwrite)
        tables = [*(dataset.table for dataset in pending), "steps"]
        watch = Watch(store, tables, slices=slices_of(store, options))
        if pending:
            with watched(watch, options.show):
                carry(_build_work(options, store, pending), store, pending, options, execute)
    begun = [dataset.table for dataset in pending]
    done = report(store, datasets, watch.end(), begun, engine=execute.name, part=options.part)
    refuse_damaged(done)
    return dataset_report(store, done, datasets, warnings)


def _dataset_estimate(
    done: JobReport, options: JobOptions, store: Store, datasets: Sequence[GoalDatasetManifest]
) -> JobReport:
    asked = touched(store, datasets)
    pending = [dataset for dataset in datasets if dataset.table in asked]
    left = slices_left(store, pending, options)
    if not left:
        return done
    work = replace(_build_work(options, store, pending), slices=left)
    make = partial(estimate, store, work, pending, options, input_bytes(work, store))
    return with_estimate(done, options, make)


def _without_scoring(done: JobReport) -> JobReport:
    """The report of a dry run, which says what it leaves out."""
    note = "goals of field:…, examples and heads need all frames: scoring is left out"
    if done.estimate is None:
        return done.model_copy(update={"notes": (*done.notes, note)})
    return done.model_copy(update={"estimate": done.estimate.model_copy(update={"notes": (note,)})})


def _build_work(options: JobOptions, store: Store, pending: Sequence[GoalDatasetManifest]) -> Work:
    own = tuple(pending)
    return Work(
        slices=slices_of(store, options),
        build=BuildWork(options.store, own, options.worker_threads, options.trust),
        finish=FinishWork(options.store, own, options.max_dead_ratio, trust=options.trust),
    )


def _reported(done: JobReport, options: JobOptions, encoder: TextEncoder | None) -> JobReport:
    """The report with the encoder; if it has a profile, it is kept in the store."""
    if encoder is not None:
        done = done.model_copy(update={"encoder": encoder_text(encoder)})
    if done.profile is not None:
        Folder.at(options.store).write(PROFILE, done.model_dump_json(indent=1).encode())
    return done


def rescore(options: JobOptions, plan: RescorePlan, execute: Engine = in_this_process) -> JobReport:
    """One reward set → another one of the same goals, of other scores or thresholds.

    Raises:
        RelabelError: as `embed`.
    """
    execute = execute.ready(options)
    store = Store.open(options.store, trust=options.trust)
    return _Run(options, execute, store, scoring=plan).execute()


class _Run:
    """One pass over the slices of one store."""

    def __init__(
        self,
        options: JobOptions,
        execute: Engine,
        store: Store,
        encoder: SharedEncoder | None = None,
        what: EmbedOptions | None = None,
        embedding: EmbedPlan | None = None,
        scoring: ScorePlan | RescorePlan | None = None,
    ) -> None:
        self._options = options
        self._execute = execute
        self._store = store
        self._encoder = encoder
        self._what = what
        self._embedding = embedding
        self._scoring = scoring

    def execute(self) -> JobReport:
        """Writes what is missing and reports on every table asked for."""
        tables = self._tables()
        if self._options.dry_run:
            check_all(self._store, tables, overwrite=self._options.overwrite)
            done = self._noted(report(self._store, tables, None, engine=self._execute.name))
            return self._estimated(done, tables)
        self._create()
        with leased(self._store.folder, self._touched(tables), self._options.command):
            pending = self._begin(tables)
            slices = slices_of(self._store, self._options)
            watch = Watch(self._store, [table.table for table in pending], slices=slices)
            seconds: Mapping[str, float] = {}
            if pending:
                with watched(watch, self._options.show):
                    seconds = carry(
                        self._work(pending), self._store, pending, self._options, self._execute
                    )
        progress = watch.end()
        untold = self._execute.elsewhere and not seconds  # not every runner keeps times
        profile = self._profile(seconds, progress) if self._options.profile and not untold else None
        begun = [table.table for table in pending]
        engine = self._execute.name
        part = self._options.part
        done = self._noted(report(self._store, tables, progress, begun, profile, engine, part))
        if self._options.profile and untold:
            done = done.model_copy(update={"notes": (*done.notes, _no_profile(engine))})
        refuse_damaged(done)
        if part is None:  # else it is told when the tables are finished
            refuse_unfinished(done, self._options.max_dead_ratio)
        return done

    def _estimated(self, done: JobReport, tables: Sequence[AnyTableManifest]) -> JobReport:
        """The report of a dry run, with what the job will take."""
        asked = touched(self._store, tables)
        pending = [table for table in tables if self._replans or table.table in asked]
        left = slices_left(self._store, pending, self._options, self._again())
        scoring = self._scoring
        if not left or isinstance(scoring, RescorePlan):
            return done
        work = replace(self._work(pending), slices=left)
        encoder = None if work.embed is None else work.embed.encoder
        if encoder is not None and not encoder.is_here:
            note = "no estimate: the device of the workers is not here, so that nothing is measured"
            return done.model_copy(update={"notes": (*done.notes, note)})
        if self._embedding is not None and work.embed is not None:
            read = self._embedding.extent.bytes_of(piece.run for piece in left)
        else:
            read = input_bytes(work, self._store)

        def prepare(store: Store) -> None:
            if scoring is not None and work.score is not None:
                scoring.write_goals(store)

        make = partial(estimate, self._store, work, pending, self._options, read, prepare)
        return with_estimate(done, self._options, make)

    @property
    def _replans(self) -> bool:
        return self._embedding is not None and self._embedding.replans

    def _again(self) -> Sequence[Slice]:
        """Slices that are there, or were when the store had another plan, and are made again."""
        if self._embedding is None or not self._embedding.replans:
            return ()
        stored = Store.open(self._options.store).manifest
        return (*self._embedding.again, *outdated_slices(stored, self._store.manifest))

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
        if self._replans:
            return [*store.tables(), *store.unfinished()]
        return touched(store, tables)

    def _begin(self, tables: Sequence[AnyTableManifest]) -> list[AnyTableManifest]:
        """Tables that are not complete, begun; a reward set with its goals written."""
        overwrite = self._options.overwrite
        if self._embedding is not None and self._embedding.replans:
            check_all(self._store, tables, overwrite=overwrite)
            stored = Store.open(self._options.store)
            replan(stored, self._store.manifest, self._embedding.again)
        pending = begin_all(self._store, tables, overwrite=overwrite)
        scoring = self._scoring
        if scoring is None or scoring.manifest not in pending:
            return pending
        whole = scoring.write_goals(self._store)
        self._store.record_beside(whole.table, whole.files)
        return [*pending[:-1], whole]

    def _work(self, pending: Sequence[AnyTableManifest]) -> Work:
        own = {table.table for table in pending}
        options = self._options
        return Work(
            slices=slices_of(self._store, options),
            embed=self._embed_work(own),
            score=self._score_work(own),
            finish=FinishWork(
                options.store,
                tuple(map(to_send, pending)),
                options.max_dead_ratio,
                accepted=EMPTY_IMAGE if self._what and self._what.accept_empty else None,
                trust=options.trust,
            ),
        )

    def _embed_work(self, pending: set[str]) -> EmbedWork | None:
        plan, what = self._embedding, self._what
        tables = tuple(t for t in plan.tables if t.table in pending) if plan else ()
        if not tables or what is None:
            return None
        embeds = any(isinstance(table, EmbeddingManifest) for table in tables)
        return EmbedWork(
            source=what.source,
            split=self._store.manifest.source.instruction,
            store=self._options.store,
            tables=tables,
            encoder=self._encoder if embeds else None,
            batch_size=what.batch_size,
            decode_threads=what.decode_threads,
            threads=self._options.worker_threads,
        )

    def _score_work(self, pending: set[str]) -> ScoreWork | RescoreWork | None:
        plan = self._scoring
        if plan is None or plan.manifest.table not in pending:
            return None
        if isinstance(plan, RescorePlan):
            return RescoreWork(
                self._options.store, to_send(plan.manifest), plan.of, self._options.trust
            )
        # A slice writes while it scores, so that one more than half of the threads keeps all busy.
        # Behind an encoder there is nothing to gain.
        embeds = self._embed_work(pending) is not None
        side_by_side = 1 if embeds else self._options.worker_threads // 2 + 1
        trust = self._options.trust
        return ScoreWork(self._options.store, to_send(plan.manifest), side_by_side, trust)


def _no_profile(engine: str) -> str:
    return f"--profile: {engine} has told no times of stages, so that there is no profile"
