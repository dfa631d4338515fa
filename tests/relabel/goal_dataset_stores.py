"""Stores whose rewards a test chooses, written without a source, an encoder or Beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relabel.goal_datasets.inputs import dataset_inputs
from relabel.goal_datasets.statistics import with_statistics
from relabel.slices.build_slice import build_slice
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.enums import Fusion, LastStep, Timing
from schemas.goal_datasets import DatasetGoal, DatasetOptions, GoalDatasetManifest
from schemas.goals import GoalSet
from schemas.manifests import (
    AnyTableManifest,
    EpisodesManifest,
    RewardManifest,
    SliceSpec,
    SourceSpec,
    StepsManifest,
    StoreManifest,
)
from schemas.slices import Slice, TableFile, plan_slices
from schemas.store import GOAL_SET, GOALS, Store
from schemas.tables import (
    FieldSpec,
    column,
    episodes_schema,
    key_columns,
    reward_schema,
    steps_schema,
    vectors,
)

TEXTS = ("a red room", "a green room", "a blue room", "a grey room")


def goal_texts(place: int) -> list[str]:
    """Of the goal `g<place>`."""
    return [TEXTS[place] if place < len(TEXTS) else f"room {place}", f"goal {place}"]


@dataclass(frozen=True, eq=False)
class Told:
    """One episode as a test tells it."""

    rewards: np.ndarray  # (T, G) as the reward table has them; NaN: null
    terminal: bool = False  # of the last frame
    language: str | None = None
    said: Sequence[tuple[str, ...]] = ()  # per step, the text of each of How.columns; (): nothing
    scores: np.ndarray | None = None  # (T, G); None: the rewards
    state: np.ndarray | None = None  # (T, 2)
    action: np.ndarray | None = None  # (T, 2)
    truth: np.ndarray | None = None  # (T, G)
    env: np.ndarray | None = None  # (T,) the environment's own reward

    @property
    def length(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True)
class How:
    """What a store says of its rewards and its source."""

    timing: Timing = Timing.NEXT_FRAME
    last_step: LastStep = LastStep.FINAL_OBSERVATION
    binary: bool = True
    scores: bool = True
    function: dict[str, Any] = field(default_factory=lambda: {"name": "softmax-threshold"})
    threshold: float | tuple[float, ...] | None = 0.5  # of all goals, or of each
    per_slice: int = 2
    has_terminal: bool = True
    truth_dtype: str = "uint8"
    action: tuple[str, tuple[int, ...]] = ("float32", (2,))  # dtype and shape
    columns: int = 0  # of text in the steps table
    score_range: tuple[float, float] = (-1.0, 1.0)


def specs(goals: int, how: How) -> tuple[FieldSpec, ...]:
    truth = FieldSpec(name="truth", kind="tensor", dtype=how.truth_dtype, shape=(goals,))
    terminal = FieldSpec(name=fields.IS_TERMINAL, kind="tensor", dtype="bool")
    return (
        FieldSpec(name="observation.state", kind="tensor", dtype="float32", shape=(2,)),
        FieldSpec(name="observation.count", kind="tensor", dtype="int64"),
        FieldSpec(name="action", kind="tensor", dtype=how.action[0], shape=how.action[1]),
        *([terminal] if how.has_terminal else []),
        truth,
        FieldSpec(name=fields.REWARD, kind="tensor", dtype="float32"),
        *(FieldSpec(name=name, kind="text", dtype="object") for name in text_columns(how.columns)),
    )


def text_columns(number: int) -> tuple[str, ...]:
    return tuple(f"language_instruction_{i}" for i in range(number))


def make_store(path: Path, episodes: Sequence[Told], how: How | None = None) -> Store:
    """A store of one shard with steps, episodes and the reward set `v1`, all complete."""
    how = How() if how is None else how
    goals = episodes[0].rewards.shape[1]
    slices = plan_slices("train", [len(episodes)], how.per_slice)
    source = SourceSpec(
        name="told", version="1.0.0", split="train", fingerprint="f" * 64,
        shard_lengths=(len(episodes),),
    )  # fmt: skip
    manifest = StoreManifest(
        source=source,
        slices=tuple(SliceSpec(shard=s.shard, start=s.start, stop=s.stop) for s in slices),
        fields=specs(goals, how),
        metadata=(),
        left_out={},
        cameras=(),
        language_fields=text_columns(how.columns),
        last_step=how.last_step,
        last_step_reason="told",
    )
    store = Store.create(str(path), manifest)
    own = {"source_fingerprint": source.fingerprint}
    _write(store, StepsManifest(**own), episodes, _steps, steps_schema(manifest.fields))
    _write(store, EpisodesManifest(**own), episodes, _episodes, episodes_schema(()))
    rewards = reward_manifest(store, goals, how)
    schema = reward_schema(goals, binary=how.binary, scores=how.scores)
    _write(store, rewards, episodes, _rewards, schema, _write_goals(store, rewards, how))
    return store


def reward_manifest(store: Store, goals: int, how: How) -> RewardManifest:
    return RewardManifest(
        name="v1",
        source_fingerprint=store.manifest.source.fingerprint,
        goals_name="told",
        goals_hash="g",
        goals=goals,
        encoder=PixelMeanEncoder().spec,
        embeddings=(),
        embedding_fingerprints=(),
        function=how.function,
        timing=how.timing,
        fusion=Fusion.MEAN,
        binary=how.binary,
        scores=how.scores,
        score_range=how.score_range,
        reward_range=(-2.0, 2.0),
    )


def _write(
    store: Store,
    manifest: AnyTableManifest,
    episodes: Sequence[Told],
    columns: Any,
    schema: pa.Schema,
    files: tuple[TableFile, ...] = (),
) -> None:
    store.begin(manifest)
    for piece in store.slices:
        table, mark = manifest.table, manifest.fingerprint
        with store.writer(table, piece, schema, fingerprint=mark) as writer:
            writer.write(columns(store, piece, episodes[piece.start : piece.stop], schema))
            files = (*files, writer.commit())
    store.finish(manifest.model_copy(update={"files": files}))


def _ids(piece: Slice, episodes: Sequence[Told]) -> list[str]:
    return [piece.episode_id(piece.start + i) for i in range(len(episodes))]


def _steps(store: Store, piece: Slice, episodes: Sequence[Told], schema: pa.Schema) -> list[Any]:
    parts: dict[str, list[np.ndarray]] = {spec.name: [] for spec in store.manifest.fields}
    for number, told in enumerate(episodes):
        length, goals = told.rewards.shape
        default = np.arange(2 * length, dtype=np.float32).reshape(-1, 2) + 100 * number
        content = {
            "observation.state": default if told.state is None else told.state,
            "observation.count": np.arange(length) + 10 * number,
            "action": default / 7 if told.action is None else told.action,
            fields.IS_TERMINAL: np.arange(length) == (length - 1 if told.terminal else -1),
            "truth": np.zeros((length, goals)) if told.truth is None else told.truth,
            fields.REWARD: np.zeros(length) if told.env is None else told.env,
        }
        for name, values in parts.items():
            if name not in content:
                place = int(name.rsplit("_", 1)[1])
                own = [told.said[t][place] if told.said else "" for t in range(length)]
                content[name] = np.array(own, object)
            values.append(content[name])
    lengths = [told.length for told in episodes]
    arrays = [
        column(spec, np.concatenate(parts[spec.name]).astype(spec.dtype))
        if spec.kind == "tensor"
        else pa.array(np.concatenate(parts[spec.name]), pa.string())
        for spec in store.manifest.fields
    ]
    return [*key_columns(_ids(piece, episodes), lengths), *arrays]


def _episodes(store: Store, piece: Slice, episodes: Sequence[Told], schema: pa.Schema) -> list[Any]:
    values = (_ids(piece, episodes), [e.length for e in episodes], [e.language for e in episodes])
    return [pa.array(v, f.type) for v, f in zip(values, schema, strict=True)]


def _rewards(store: Store, piece: Slice, episodes: Sequence[Told], schema: pa.Schema) -> list[Any]:
    keys = key_columns(_ids(piece, episodes), [told.length for told in episodes])
    rewards = np.concatenate([told.rewards for told in episodes]).astype(np.float32)
    scores = [told.rewards if told.scores is None else told.scores for told in episodes]
    value = schema.field(fields.REWARD).type.value_type
    kept = fields.SCORE in schema.names
    flat = [vectors(np.concatenate(scores).astype(np.float32), pa.float32())] if kept else []
    return [*keys, *flat, vectors(rewards, value)]


def _write_goals(store: Store, manifest: RewardManifest, how: How) -> tuple[TableFile, ...]:
    number = manifest.goals
    own = how.threshold
    thresholds = list(own) if isinstance(own, tuple) else [own] * number
    content = pa.table(
        {
            fields.GOAL_ID: pa.array([f"g{i}" for i in range(number)]),
            fields.FAMILY: pa.array(["family"] * number),
            fields.TEXTS: pa.array([goal_texts(i) for i in range(number)]),
            fields.PHRASINGS: pa.array([goal_texts(i) for i in range(number)]),
            fields.SPOKEN: pa.array([[]] * number, pa.list_(pa.string())),
            fields.THRESHOLD: pa.array(thresholds, pa.float64()),
            fields.TEXT_EMBEDDING: vectors(np.eye(number, 4, dtype=np.float32), pa.float32()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    given = [{"id": f"g{i}", "texts": goal_texts(i), "family": "family"} for i in range(number)]
    goal_set = GoalSet.from_mapping({"goals": given}).model_dump_json().encode()
    contents = {GOALS: sink.getvalue().to_pybytes(), GOAL_SET: goal_set}
    return tuple(_write_file(store, manifest, *content) for content in contents.items())


def _write_file(store: Store, manifest: RewardManifest, file: str, content: bytes) -> TableFile:
    name, table = f"{manifest.table}/{file}", manifest.table
    store.folder.write(name, content)
    sums = asdict(store.folder.checksums(name))
    return TableFile(table=table, file=file, rows=manifest.goals, bytes=len(content), **sums)


def dataset_manifest(
    store: Store, name: str = "gc1", rewards: str | None = "v1", **changes: Any
) -> GoalDatasetManifest:
    """What a dataset is to be; other keywords are its options."""
    names = ("source_column", "materialized", "timing", "goals_of_column")
    outer = {key: changes.pop(key) for key in names if key in changes}
    ids = outer.pop("goals_of_column", ())
    return GoalDatasetManifest(
        name=name,
        source_fingerprint=store.manifest.source.fingerprint,
        rewards=rewards,
        rewards_fingerprint=None if rewards is None else store.rewards(rewards).fingerprint,
        goals=tuple(DatasetGoal(id=i, texts=texts) for i, *texts in ids),
        options=DatasetOptions(**changes),
        **outer,
    )


def build(store: Store, name: str = "gc1", **changes: Any) -> GoalDatasetManifest:
    """Builds a dataset without Beam and returns its manifest."""
    dataset = dataset_manifest(store, name, **changes)
    inputs = dataset_inputs(store, dataset)
    store.begin(dataset)
    files = [
        file
        for piece in store.slices
        for file in build_slice(piece, store=store, dataset=dataset, inputs=inputs).files
    ]
    whole = dataset.model_copy(update={"files": tuple(files)})
    store.finish(with_statistics(store, whole))
    done = store.table_manifest(dataset.table)
    assert isinstance(done, GoalDatasetManifest)
    return done


def trajectories_of(store: Store, name: str = "gc1") -> list[dict[str, Any]]:
    """The rows of a complete dataset."""
    rows: list[dict[str, Any]] = store.read(f"goal_datasets/{name}").to_pylist()
    return rows
