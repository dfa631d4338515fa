"""Stores with several reward sets whose scores a test chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import fields
from schemas.slices import TableFile
from schemas.store import GOAL_SET, GOALS, Store
from schemas.tables import key_columns, reward_schema, vectors
from tests.relabel.goal_dataset_stores import How, Told, make_store, reward_manifest

__all__ = ["RewardsTold", "Told", "add_rewards", "make_store"]


@dataclass(frozen=True, eq=False)
class RewardsTold:
    """One more reward set: a matrix (T, G) of scores per episode; NaN: missing."""

    name: str
    scores: Sequence[np.ndarray]
    goal_ids: Sequence[str]
    families: Sequence[str] = ()  # (): all in one
    threshold: float | None = 0.5
    kept: bool = True  # the scores are stored
    score_range: tuple[float, float] = (0.0, 1.0)
    function: str = "softmax-threshold"


def add_rewards(store: Store, told: RewardsTold) -> None:
    """Writes a complete reward set beside those that are there."""
    how = How(threshold=told.threshold, binary=False, scores=told.kept)
    count = len(told.goal_ids)
    manifest = reward_manifest(store, count, how).model_copy(
        update={
            "name": told.name,
            "score_range": told.score_range,
            "function": {"name": told.function, "threshold": told.threshold},
        }
    )
    store.begin(manifest)
    files = [_goals(store, manifest.table, told)]
    schema = reward_schema(count, binary=False, scores=told.kept)
    ids = store.read("episodes", [fields.EPISODE_ID]).column(fields.EPISODE_ID).to_pylist()
    own = dict(zip(ids, told.scores, strict=True))
    for piece in store.slices:
        names = [piece.episode_id(i) for i in range(piece.start, piece.stop)]
        lengths = [len(own[name]) for name in names]
        values = np.concatenate([own[name] for name in names]).astype(np.float32)
        kept = [vectors(values, pa.float32())] if told.kept else []
        columns = [*key_columns(names, lengths), *kept, vectors(values, pa.float32())]
        with store.writer(manifest.table, piece, schema, fingerprint=manifest.fingerprint) as out:
            out.write(columns)
            files.append(out.commit())
    store.finish(manifest.model_copy(update={"files": tuple(files)}))


def _goals(store: Store, table: str, told: RewardsTold) -> TableFile:
    count = len(told.goal_ids)
    families = list(told.families) or ["family"] * count
    content = pa.table(
        {
            fields.GOAL_ID: pa.array(list(told.goal_ids)),
            fields.FAMILY: pa.array(families),
            fields.TEXTS: pa.array([[goal] for goal in told.goal_ids]),
            fields.THRESHOLD: pa.array([told.threshold] * count, pa.float64()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    given = {"goals": [{"id": goal, "texts": [goal]} for goal in told.goal_ids]}
    store.folder.write(f"{table}/{GOAL_SET}", json.dumps(given).encode())
    name = f"{table}/{GOALS}"
    store.folder.write(name, sink.getvalue().to_pybytes())
    size, sums = store.folder.size(name), asdict(store.folder.checksums(name))
    return TableFile(table=table, file=GOALS, rows=count, bytes=size, **sums)
