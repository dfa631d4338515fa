"""What a job will write, decided before any slice is touched."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from relabel.encoders.protocol import LimitsTexts, TextEncoder
from relabel.goals.files import FIELD_PREFIX, given_goals, goals_table
from relabel.goals.mined import MinedGoals, mine_goals, mined_fields
from relabel.goals.prompts import resolve_prompts
from relabel.goals.readings import Readings, check_lengths
from relabel.heads.fit import FittedHead, fit_head
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from relabel.jobs.stored_embeddings import stored_embeddings
from relabel.rewards.base import Binding
from relabel.rewards.binding_files import write_binding
from relabel.rewards.registry import parse_reward
from relabel.rewards.scorer import Scorer, bind
from relabel.slices.stored_frames import example_frames
from schemas.checksums import checksums_of
from schemas.encoders import EncoderSpec
from schemas.enums import CameraForm
from schemas.errors import StoreError
from schemas.goals import GoalSet
from schemas.manifests import (
    EmbeddingManifest,
    EpisodesManifest,
    RewardManifest,
    StepsManifest,
    StoreManifest,
    embedding_name,
)
from schemas.names import check_name
from schemas.slices import Slice, TableFile
from schemas.store import GOAL_SET, GOALS, HEAD, HEAD_LABELS, Store
from schemas.text_embeddings import TextEmbeddings, add_texts

if TYPE_CHECKING:
    from relabel.slices.embed_slice import SourceTable
    from relabel.source.extent import Extent


@dataclass(frozen=True)
class EmbedPlan:
    """A store and the tables that its source is to become."""

    store: Store
    tables: tuple[SourceTable, ...]  # in the order in which a slice's files are committed
    cameras: tuple[str, ...]
    extent: Extent  # of the source
    replans: bool = False  # the store is there with another plan, or has slices to make again
    again: tuple[Slice, ...] = ()  # slices to make again though the plan has not changed
    notes: tuple[str, ...] = ()  # on the source

    @property
    def embeddings(self) -> tuple[EmbeddingManifest, ...]:
        """The embedding tables among them."""
        return tuple(t for t in self.tables if isinstance(t, EmbeddingManifest))


@dataclass(frozen=True)
class ScorePlan:
    """A reward set to be written, and the arithmetic that writes it."""

    manifest: RewardManifest
    scorer: Scorer
    goals: pa.Table  # as resolved
    goal_set: GoalSet  # as given
    notes: tuple[str, ...] = ()  # texts that are alike, for people
    texts: TextEmbeddings | None = None  # to keep
    head: FittedHead | None = None
    binding: Binding | None = None  # for workers; None: there are none

    def write_goals(self, store: Store) -> RewardManifest:
        """Writes the goals, as given and as resolved; the manifest that lists them.

        Embeddings of their texts are kept beside the tables. What workers score with lies beside
        the reward set until it is complete.
        """
        if self.texts is not None:
            add_texts(store, self.texts)
        if self.binding is not None:
            write_binding(store, self.manifest.table, self.binding)
        tables = {GOALS: self.goals}
        if self.head is not None:
            tables |= {HEAD: self.head.weights.table(), HEAD_LABELS: self.head.label_table}
        return write_goals(store, self.manifest, tables, self.goal_set)


def write_goals(
    store: Store, manifest: RewardManifest, tables: Mapping[str, pa.Table], goal_set: GoalSet
) -> RewardManifest:
    """Writes what lies beside the slices of a reward set; the manifest that lists it.

    Args:
        store: of the reward set.
        manifest: of it.
        tables: by file; its goals as resolved among them.
        goal_set: as given.
    """
    whole = goal_set.model_dump_json(indent=1).encode()
    contents = {name: (_parquet(own), own.num_rows) for name, own in tables.items()}
    contents[GOAL_SET] = (whole, tables[GOALS].num_rows)
    files = []
    for file, (content, rows) in contents.items():
        store.folder.write(f"{manifest.table}/{file}", content)
        sums = checksums_of(io.BytesIO(content))
        files.append(
            TableFile(
                table=manifest.table,
                file=file,
                rows=rows,
                bytes=len(content),
                sha256=sums.sha256,
                crc32c=sums.crc32c,
            )
        )
    return manifest.model_copy(update={"files": tuple(files)})


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def plan_embedding(options: JobOptions, what: EmbedOptions, spec: EncoderSpec | None) -> EmbedPlan:
    """Opens the source, opens or plans the store, and lists the tables; writes nothing.

    Args:
        options: of the job.
        what: source and cameras.
        spec: of the encoder; None: no frame is embedded, and no camera needed.

    Raises:
        SourceError: no such source, split or camera.
        StoreError: the store belongs to another source.
    """
    from relabel.jobs.store_plan import StoreSettings, open_source, plan_store  # TFDS

    stored = Store.open(options.store) if Store.exists(options.store) else None
    source = open_source(
        stored,
        what.source,
        what.split,
        exclude=what.exclude,
        keep_merged=what.keep_merged,
    )
    cameras = {} if spec is None else source.resolve_cameras(what.cameras)
    settings = StoreSettings(
        keep_frames=what.keep_frames,
        last_step=what.last_step,
        episodes_per_slice=what.episodes_per_slice,
        exclude=what.exclude,
        keep_merged=what.keep_merged,
    )
    planned = plan_store(
        options.store,
        stored,
        source,
        settings,
        overwrite=options.overwrite,
        retry=what.retry_dead_letters,
    )
    store = planned.store
    how = {"made_by": made_by(options, batch_size=what.batch_size), "command": options.command}
    tables = tuple(
        table.model_copy(update=how)
        for table in source_tables(store, spec, cameras, dtype=what.dtype)
    )
    return EmbedPlan(
        store,
        tables,
        tuple(cameras),
        source.extent,
        planned.replans,
        planned.again,
        planned.notes,
    )


def source_tables(
    store: Store,
    spec: EncoderSpec | None,
    cameras: Mapping[str, CameraForm],
    *,
    dtype: Literal["float16", "float32"] = "float16",
) -> tuple[SourceTable, ...]:
    """Steps, episodes, and one embedding table per camera, in the order of their commits.

    Args:
        store: planned over the source.
        spec: of the encoder; None: there are no embeddings.
        cameras: with the form of their frames.
        dtype: of the stored embeddings.
    """
    fingerprint = store.manifest.source.fingerprint
    kept = tuple(f.name for f in store.manifest.fields if f.kind == "image")
    embeddings = (
        EmbeddingManifest(
            encoder=spec, camera=camera, form=form, dtype=dtype, source_fingerprint=fingerprint
        )
        for camera, form in cameras.items()
        if spec is not None
    )
    return (
        StepsManifest(frames=kept, source_fingerprint=fingerprint),
        EpisodesManifest(source_fingerprint=fingerprint),
        *embeddings,
    )


def plan_scoring(
    options: JobOptions,
    what: ScoreOptions,
    store: Store,
    encoder: TextEncoder,
    embeddings: Sequence[EmbeddingManifest] | None = None,
) -> ScorePlan:
    """Resolves goals, prompts and reward function into a scorer.

    Args:
        options: of the job.
        what: goals and reward function.
        store: holds the embeddings.
        encoder: embeds the goals.
        embeddings: tables that the same job is writing; None looks for them in the store.

    Raises:
        GoalError: goals that contradict themselves.
        RewardError: a reward function with impossible parameters.
        StoreError: no embeddings under this encoder.
    """
    check_name("--name", what.name)
    function = parse_reward(what.reward, **what.parameters)
    if embeddings is None:
        embeddings = stored_embeddings(store, encoder.spec, what.cameras)
    _check_blanks(store, what, embeddings)
    given = _goals(what, store)
    goals = given.goals if isinstance(given, MinedGoals) else given
    if isinstance(encoder, LimitsTexts):
        check_lengths(goals, encoder.long_texts)
    tables = [embedding_name(e.encoder, e.camera) for e in embeddings]
    readings = Readings(goals, encoder.encode_texts, example_frames(store, tables, goals))
    alike = readings.alike()
    notes: tuple[str, ...] = ()
    if isinstance(given, MinedGoals):
        given = given.merged(alike)
        goals, notes = given.goals, given.notes
    prompts = resolve_prompts(goals, alike)
    vectors, norms = readings.means(prompts.texts, prompts.examples)
    how: dict[str, Any] = {"timing": what.timing, "fusion": what.fusion, "norms": norms}
    told = (goals, prompts, vectors, encoder.spec)
    scorer = replace(bind(function, *told, **how), skip_missing=what.skip_blank_cameras)
    head = None
    if what.head is not None:
        head = fit_head(store, tables, scorer, goals, what.head.labels, what.head.kind)
    if head is not None:
        learned = bind(head.around(function), *told, **how, head=head.weights)
        scorer = replace(scorer, function=learned.function, formula=learned.formula)
    manifest = reward_manifest(
        what.name, store, goals, scorer, embeddings, scores=what.scores
    ).model_copy(update={"made_by": made_by(options), "command": options.command})
    table = goals_table(goals, prompts, vectors, scorer.temperature, scorer.threshold)
    for name, column in ({} if head is None else head.columns()).items():
        table = table.append_column(name, column)
    cut = getattr(what.encoder, "truncate_texts", False)
    # Of a text that was cut, the embedding is not that of the text.
    texts = None if cut else TextEmbeddings(encoder.spec, readings.strings, readings.embeddings)
    notes = (*notes, *prompts.notes, *(head.notes if head is not None else ()))
    binding = Binding(*told, norms, None if head is None else head.weights)
    return ScorePlan(manifest, scorer, table, goals, notes, texts, head, binding)


def reward_manifest(
    name: str,
    store: Store,
    goals: GoalSet,
    scorer: Scorer,
    embeddings: Sequence[EmbeddingManifest],
    *,
    scores: bool = True,
) -> RewardManifest:
    """What a reward set is to be, however it was asked for.

    Args:
        name: of the reward set.
        store: of its embeddings.
        goals: as they are scored.
        scorer: bound to them.
        embeddings: tables that are scored, of one encoder.
        scores: whether the scores are kept beside the rewards.
    """
    return RewardManifest(
        name=name,
        source_fingerprint=store.manifest.source.fingerprint,
        goals_name=goals.name,
        goals_hash=goals.content_hash,
        goals=len(goals.goals),
        **embeddings_of(embeddings),
        function=scorer.function.model_dump(mode="json"),
        timing=scorer.timing,
        fusion=scorer.fusion,
        skip_blank_cameras=scorer.skip_missing,
        binary=scorer.binary,
        scores=scores,
        score_range=scorer.score_range,
        reward_range=scorer.reward_range,
    )


def embeddings_of(embeddings: Sequence[EmbeddingManifest]) -> dict[str, Any]:
    """What the manifest of a reward set says of the tables that are scored, of one encoder."""
    return {
        "encoder": embeddings[0].encoder,
        "embeddings": tuple(embedding_name(e.encoder, e.camera) for e in embeddings),
        "embedding_fingerprints": tuple(e.fingerprint for e in embeddings),
    }


def needs_frames(what: ScoreOptions) -> bool:
    """Whether nothing can be planned before all frames are read and embedded.

    Goals mined from the source are known only then, and so is what a head or an example is made of.
    """
    mined = isinstance(what.goals, str) and what.goals.startswith(FIELD_PREFIX)
    if mined or what.head is not None:
        return True
    return any(goal.examples for goal in given_goals(what.goals, what.null_prompts).goals)


def check_goals(what: ScoreOptions, manifest: StoreManifest) -> None:
    """Refuses fields that goals cannot be mined from, before anything is embedded.

    Raises:
        GoalError: one is no text of the source.
    """
    if isinstance(what.goals, str) and what.goals.startswith(FIELD_PREFIX):
        mined_fields(manifest, what.goals.removeprefix(FIELD_PREFIX))


def _goals(what: ScoreOptions, store: Store) -> GoalSet | MinedGoals:
    if isinstance(what.goals, str) and what.goals.startswith(FIELD_PREFIX):
        return mine_goals(store, what.goals.removeprefix(FIELD_PREFIX), what.null_prompts)
    return given_goals(what.goals, what.null_prompts)


def _check_blanks(
    store: Store, what: ScoreOptions, embeddings: Sequence[EmbeddingManifest]
) -> None:
    old = [table.table for table in embeddings if table.is_of_first_format]
    if what.skip_blank_cameras and old:
        raise StoreError(
            f"{store.location}: --skip-blank-cameras needs to know which frames are blank, and "
            f"{old[0]} was written before that was kept; embed into another --store"
        )


def made_by(options: JobOptions, **circumstances: int) -> dict[str, str]:
    """What may change the last bits of a table: versions, machine, threads, batch."""
    packages = ("apache-beam", "numpy", "pyarrow", "torch", "open_clip_torch", "vlm-relabel")
    return {
        **{name: found for name in packages if (found := _version(name)) is not None},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(options.worker_threads),
        **{name: str(value) for name, value in circumstances.items()},
    }


def _version(package: str) -> str | None:
    """None for what is not installed: it had no part in the table."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
