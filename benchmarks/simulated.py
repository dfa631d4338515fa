"""A store whose scores and truths are drawn: as large as one likes, without a frame or an encoder.

Each of G goals holds during the last fifth of one episode in ten. Scores are a logistic function of
normal noise, raised where the goal holds by the skill of the reward set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.enums import Fusion, LastStep, Timing
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
    episodes_schema,
    key_columns,
    reward_schema,
    steps_schema,
    vectors,
)

LENGTH: Final = 100  # frames of an episode
PER_SLICE: Final = 50  # episodes
FAMILY: Final = 50  # goals
_SUCCESS: Final = 0.1  # share of episodes, per goal
_LAST: Final = LENGTH // 5  # frames during which a goal holds
_ROWS: Final = 1000  # made at once


def simulated_store(place: Path, episodes: int, goals: int, skills: Mapping[str, float]) -> Store:
    """Writes a store.

    Args:
        place: of the store.
        episodes: of `LENGTH` frames each.
        goals: G.
        skills: per reward set, how much higher it scores a frame that shows the goal.
    """
    slices = plan_slices("train", [episodes], PER_SLICE)
    truth = FieldSpec(name="truth", kind="tensor", dtype="bool", shape=(goals,))
    source = SourceSpec(
        name="simulated",
        version="1.0.0",
        split="train",
        fingerprint="f" * 64,
        shard_lengths=(episodes,),
    )
    manifest = StoreManifest(
        source=source,
        slices=tuple(SliceSpec(shard=s.shard, start=s.start, stop=s.stop) for s in slices),
        fields=(truth,),
        metadata=(),
        left_out={},
        cameras=(),
        language_fields=(),
        last_step=LastStep.FINAL_OBSERVATION,
        last_step_reason="simulated",
    )
    store = Store.create(str(place), manifest)
    own = {"source_fingerprint": source.fingerprint}
    steps = steps_schema(manifest.fields)
    _write(store, StepsManifest(**own), steps, lambda piece: _steps(piece, goals))
    _write(store, EpisodesManifest(**own), episodes_schema(()), _episodes)
    for name, skill in skills.items():
        _write_rewards(store, name, goals, skill)
    return store


def _write(
    store: Store,
    manifest: AnyTableManifest,
    schema: pa.Schema,
    columns: Any,
    files: tuple[TableFile, ...] = (),
) -> None:
    store.begin(manifest)
    for piece in store.slices:
        table, mark = manifest.table, manifest.fingerprint
        with store.writer(table, piece, schema, fingerprint=mark) as writer:
            for rows in columns(piece):
                writer.write(rows)
            files = (*files, writer.commit())
    store.finish(manifest.model_copy(update={"files": files}))


def _truth(piece: Slice, goals: int) -> np.ndarray:
    """(frames of the slice, G) bool; the same whenever it is asked for."""
    rng = np.random.default_rng((0, piece.start))
    happens = rng.random((piece.stop - piece.start, goals)) < _SUCCESS
    truth = np.zeros((len(happens), LENGTH, goals), bool)
    truth[:, LENGTH - _LAST :] = happens[:, None]
    return truth.reshape(-1, goals)


def _ids(piece: Slice) -> list[str]:
    return [piece.episode_id(index) for index in range(piece.start, piece.stop)]


def _keys(piece: Slice) -> Sequence[pa.Array]:
    ids = _ids(piece)
    return key_columns(ids, [LENGTH] * len(ids))


def _steps(piece: Slice, goals: int) -> Iterator[list[pa.Array]]:
    truth, keys = _truth(piece, goals), _keys(piece)
    for start in range(0, len(truth), _ROWS):
        own = truth[start : start + _ROWS]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(own.reshape(-1)), goals)
        yield [*(key.slice(start, len(own)) for key in keys), flat]


def _episodes(piece: Slice) -> Iterator[list[pa.Array]]:
    ids = _ids(piece)
    lengths = pa.array([LENGTH] * len(ids), pa.int32())
    yield [pa.array(ids, pa.string()), lengths, pa.nulls(len(ids), pa.string())]


def _write_rewards(store: Store, name: str, goals: int, skill: float) -> None:
    manifest = RewardManifest(
        name=name,
        source_fingerprint=store.manifest.source.fingerprint,
        goals_name="simulated",
        goals_hash="g",
        goals=goals,
        encoder=PixelMeanEncoder().spec,
        embeddings=(),
        embedding_fingerprints=(),
        function={"name": "softmax-threshold", "temperature": 0.1, "threshold": 0.5},
        timing=Timing.NEXT_FRAME,
        fusion=Fusion.MEAN,
        binary=True,
        scores=True,
        score_range=(0.0, 1.0),
        reward_range=(0.0, 1.0),
    )

    def rows(piece: Slice) -> Iterator[list[pa.Array]]:
        rng = np.random.default_rng((int(skill * 1000), piece.start))
        truth, keys = _truth(piece, goals), _keys(piece)
        for start in range(0, len(truth), _ROWS):
            own = truth[start : start + _ROWS]
            noise = rng.standard_normal(own.shape, np.float32)
            score = 1 / (1 + np.exp(1 - noise - np.float32(skill) * own))
            kept = [key.slice(start, len(own)) for key in keys]
            reward = (score > 0.5).astype(np.float32)
            yield [*kept, vectors(score, pa.float32()), vectors(reward, pa.uint8())]

    schema = reward_schema(goals, binary=True, scores=True)
    _write(store, manifest, schema, rows, _write_goals(store, manifest))


def _write_goals(store: Store, manifest: RewardManifest) -> tuple[TableFile, ...]:
    ids = [f"goal-{i}" for i in range(manifest.goals)]
    content = pa.table(
        {
            fields.GOAL_ID: pa.array(ids),
            fields.FAMILY: pa.array([f"family-{i // FAMILY}" for i in range(len(ids))]),
            fields.TEXTS: pa.array([[own] for own in ids]),
            fields.THRESHOLD: pa.array([0.5] * len(ids), pa.float64()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    whole = GoalSet.from_texts(own.replace("-", " ") for own in ids).model_dump_json().encode()
    contents = {GOALS: sink.getvalue().to_pybytes(), GOAL_SET: whole}
    return tuple(_beside(store, manifest, file, own) for file, own in contents.items())


def _beside(store: Store, manifest: RewardManifest, file: str, content: bytes) -> TableFile:
    name = f"{manifest.table}/{file}"
    store.folder.write(name, content)
    size, sums = store.folder.size(name), asdict(store.folder.checksums(name))
    return TableFile(table=manifest.table, file=file, rows=manifest.goals, bytes=size, **sums)
