"""Whether an encoder knows frames of this kind: how far they are from frames that it does know.

A **reference** is what frames that the encoder can tell apart are like: K prototypes, which are the
centres that k-means finds among their embeddings, and a bound.

    distance(f) = 1 - max over prototypes c of f . c             f and c of unit norm
    outside(f)  = distance(f) > bound

The bound is a quantile of the distances of frames of other episodes than those that the prototypes
are made of, so that `EXPECTED` of the frames like the reference's own are outside. Nothing else is
fitted: a reference never sees a frame of another kind.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relabel.evaluation.evidence import Bools, Floats, flag_column
from schemas import fields
from schemas.encoders import EncoderSpec
from schemas.errors import StoreError
from schemas.extras import named_extras
from schemas.files import Folder
from schemas.slices import Slice
from schemas.store import Store, check_same_rows
from schemas.tables import flags, matrix, vectors

REFERENCE: Final = "coverage.parquet"  # beside the weights of an encoder
EXPECTED: Final = 0.02  # share of the frames of the same kind that are outside
PROTOTYPES: Final = 2048  # at most
_PER_PROTOTYPE: Final = 8  # frames, at least
_HELD_BACK: Final = 4  # one episode in so many tells the bound
_LEAST: Final = 100  # frames on either side
_MOST: Final = 1 << 16  # frames that a reference is made of
_ROWS: Final = 2048  # compared at once
_PROTOTYPE: Final = "prototype"
_TOLD: Final = b"vlm_relabel.reference"


@dataclass(frozen=True, eq=False)
class Reference:
    """What frames that an encoder can tell apart are like."""

    prototypes: Floats  # (K, D) unit norm
    bound: float  # of the distance to the nearest
    frames: int  # that it is made of, those included that tell the bound
    encoder: dict[str, Any]  # which one; see `identity`
    origin: str  # what its frames are, for people

    def distances(self, embeddings: Floats) -> Floats:
        """(n,) of unit-norm embeddings (n, D) to the nearest prototype; NaN: one is missing."""
        found = np.empty(len(embeddings), np.float32)
        for start in range(0, len(embeddings), _ROWS):
            rows = slice(start, start + _ROWS)
            found[rows] = 1 - (embeddings[rows] @ self.prototypes.T).max(axis=1)
        return found

    def check(self, spec: EncoderSpec) -> None:
        """Raises StoreError unless it is of this encoder; its precision does not matter."""
        if differing := [
            key for key, value in identity(spec).items() if self.encoder[key] != value
        ]:
            raise StoreError(
                f"reference of {self.origin}: was made with another encoder than {spec.name} "
                f"({', '.join(differing)} differ); make one with this encoder"
            )


def identity(spec: EncoderSpec) -> dict[str, Any]:
    """What two encoders must share for one to use the reference of the other."""
    return {"weights_sha256": spec.weights_sha256, "preprocess": spec.preprocess, "dim": spec.dim}


def make_reference(
    fitted: Floats, held_back: Floats, spec: EncoderSpec, origin: str, *, seed: int = 0
) -> Reference:
    """A reference of two sets of frames that have no episode in common.

    Args:
        fitted: (n, D) unit-norm embeddings that the prototypes are made of.
        held_back: (m, D) likewise, that tell the bound.
        spec: of the encoder.
        origin: what the frames are, for people.
        seed: of k-means.

    Raises:
        StoreError: there are too few frames.
        MissingExtraError: scikit-learn is not installed.
    """
    if min(len(fitted), len(held_back)) < _LEAST:
        raise StoreError(
            f"reference of {origin}: expected at least {_LEAST} frames, and as many of other "
            f"episodes for its bound; got {len(fitted)} and {len(held_back)}"
        )
    with named_extras("a reference"):
        from sklearn.cluster import MiniBatchKMeans
    count = min(PROTOTYPES, len(fitted) // _PER_PROTOTYPE)
    means = MiniBatchKMeans(count, batch_size=4096, max_iter=30, n_init=1, random_state=seed)
    centres = means.fit(fitted).cluster_centers_.astype(np.float32)
    norms = np.linalg.norm(centres, axis=1, keepdims=True)
    # Rounded as they are stored, so that the bound is of what is read again.
    unit = (centres / np.maximum(norms, 1e-6)).astype(np.float16).astype(np.float32)
    frames = len(fitted) + len(held_back)
    reference = Reference(unit, 0.0, frames, identity(spec), origin)
    bound = float(np.quantile(reference.distances(held_back), 1 - EXPECTED))
    return Reference(unit, bound, frames, reference.encoder, origin)


def reference_of_table(store: Store, table: str, where: str | None = None) -> Reference:
    """A reference of the frames of an embedding table.

    Args:
        store: holds it.
        table: such as `embeddings/NAME`.
        where: column of flags of the steps table; only frames where it is true.

    Raises:
        StoreError: no such table or column; too few frames.
    """
    spec = embedding_spec(store, table)
    parts: tuple[list[Floats], list[Floats]] = ([], [])
    frames = sum(len(rows) for rows, _ in _embeddings(store, table, where))
    stride, row = max(1, frames // _MOST), 0
    for embeddings, episodes in _embeddings(store, table, where):
        taken = (np.arange(len(embeddings)) + row) % stride == 0
        row += len(embeddings)
        taken &= np.isfinite(embeddings).all(axis=1)
        held = np.array([_is_held_back(episode) for episode in episodes], bool)
        parts[0].append(embeddings[taken & ~held])
        parts[1].append(embeddings[taken & held])
    fitted, held_back = (
        np.concatenate(own or [np.zeros((0, spec.dim), np.float32)]) for own in parts
    )
    origin = f"{store.location}/{table}{'' if where is None else f', where {where}'}"
    return make_reference(fitted, held_back, spec, origin)


def _is_held_back(episode_id: str) -> bool:
    return hashlib.sha256(episode_id.encode()).digest()[0] % _HELD_BACK == 0


def embedding_spec(store: Store, table: str) -> EncoderSpec:
    """The encoder of an embedding table."""
    found = {manifest.table: manifest.encoder for manifest in store.embeddings()}
    if table not in found:
        raise StoreError(
            f"{store.location}: no embeddings {table}; there are {', '.join(found) or 'none'}"
        )
    return found[table]


def outside(
    store: Store, table: str, reference: Reference, where: str | None = None
) -> Iterator[tuple[list[str], Floats]]:
    """Ids of episodes and distances (n,) of the frames of a table, some at a time.

    Args:
        store: holds the table.
        table: an embedding table of the reference's encoder.
        reference: what its frames are compared with.
        where: column of flags; only frames where it is true.

    Raises:
        StoreError: another encoder; no such table or column.
    """
    reference.check(embedding_spec(store, table))
    for embeddings, episodes in _embeddings(store, table, where):
        yield episodes, reference.distances(embeddings)


def _embeddings(store: Store, table: str, where: str | None) -> Iterator[tuple[Floats, list[str]]]:
    """Embeddings (n, D), a missing one NaN, and the episode of each."""
    if where is not None:
        flag_column(store, where)
    columns = [fields.EPISODE_ID, fields.STEP, fields.EMBEDDING]
    for piece in store.slices:
        looked_at = _looked_at(store, table, piece, where)
        start = 0
        for batch in store.batches(table, piece, columns, rows=_ROWS):
            rows = looked_at[start : start + len(batch)]
            start += len(batch)
            own = batch.filter(pa.array(rows))
            yield matrix(own.column(fields.EMBEDDING)), own.column(fields.EPISODE_ID).to_pylist()


def _looked_at(store: Store, table: str, piece: Slice, where: str | None) -> Bools:
    keys = store.read_slices(table, [piece], [fields.EPISODE_ID, fields.STEP])
    if where is None:
        return np.ones(keys.num_rows, bool)
    steps = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP, where])
    check_same_rows(steps, keys, f"steps and {table}, {piece.name}")
    return flags(steps.column(where))


# --- as a file --------------------------------------------------------------------------------


def write_reference(reference: Reference, location: str) -> None:
    """Writes a reference as a Parquet file, which appears whole.

    Raises:
        StoreError: the place cannot be written, or does not end in .parquet.
    """
    told = {
        "bound": reference.bound,
        "frames": reference.frames,
        "encoder": reference.encoder,
        "origin": reference.origin,
    }
    table = pa.table({_PROTOTYPE: vectors(reference.prototypes, pa.float16())})
    sink = io.BytesIO()
    metadata = {_TOLD: json.dumps(told, sort_keys=True)}
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    folder, name = _place(location)
    folder.write(name, sink.getvalue())


def read_reference(location: str) -> Reference:
    """Reads what `write_reference` wrote.

    Raises:
        StoreError: there is no such file, or it is no reference.
    """
    folder, name = _place(location)
    if not folder.exists(name):
        raise StoreError(f"{location}: there is no such file")
    try:
        table = pq.read_table(pa.BufferReader(folder.read(name)))
        told = json.loads(table.schema.metadata[_TOLD])
        prototypes = matrix(table.column(_PROTOTYPE))
        return Reference(
            prototypes,
            float(told["bound"]),
            int(told["frames"]),
            {key: told["encoder"][key] for key in ("weights_sha256", "preprocess", "dim")},
            str(told["origin"]),
        )
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{location}: expected a reference, as `vlm-relabel audit --save-reference` writes it: "
            f"{error}"
        ) from error


def _place(location: str) -> tuple[Folder, str]:
    if not location.endswith(".parquet"):
        raise StoreError(f"{location}: expected the name of a reference to end in .parquet")
    head, separator, name = location.rpartition("/")
    return Folder.at(head + separator if separator else "."), name
