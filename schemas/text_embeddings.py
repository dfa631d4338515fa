"""Embeddings of texts, kept beside the tables so that goals of known texts need no encoder.

    STORE/text_embeddings/<encoder>/<SHA-256 of the file>.parquet

Each file adds texts, and none is ever changed. They are no part of any table: without them,
everything else stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.encoders import EncoderSpec
from schemas.errors import DamagedError, StoreError
from schemas.store import Store
from schemas.tables import matrix

TEXT_EMBEDDINGS: Final = "text_embeddings"
TEXT: Final = "text"  # string, as it was given to the encoder
EMBEDDING: Final = "embedding"  # float32[D], as the encoder gave it
_FINGERPRINT: Final = b"fingerprint"  # of the encoder
_TOKENIZER: Final = b"tokenizer_sha256"  # "" if it is not known
_SUFFIX: Final = ".parquet"

Vector = NDArray[np.float32]  # (D,)


@dataclass(frozen=True, eq=False)
class TextEmbeddings:
    """What an encoder made of some texts."""

    encoder: EncoderSpec
    texts: Sequence[str]  # N distinct ones
    embeddings: NDArray[np.float32]  # (N, D)


def add_texts(store: Store, made: TextEmbeddings) -> None:
    """Keeps the embeddings of those texts that are not kept yet.

    Raises:
        DamagedError: a file that is there is not what was written.
    """
    encoder = made.encoder
    known = stored_texts(store, encoder)
    new = [place for place, text in enumerate(made.texts) if text not in known]
    if not new:
        return
    vectors = np.ascontiguousarray(made.embeddings[new])
    columns = {
        TEXT: pa.array([made.texts[place] for place in new], pa.string()),
        EMBEDDING: pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.reshape(-1)), vectors.shape[1]
        ),
    }
    table = pa.table(columns).replace_schema_metadata(_identity(encoder))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    name = hashlib.sha256(content).hexdigest() + _SUFFIX
    store.folder.write(f"{_folder(encoder)}/{name}", content)


def stored_texts(store: Store, encoder: EncoderSpec) -> Mapping[str, Vector]:
    """Every text that is kept for an encoder, with its embedding.

    Raises:
        DamagedError: a file is not what was written.
        StoreError: the encoder does not tell its tokenizer, and texts of several are kept.
    """
    found: dict[bytes, dict[str, Vector]] = {}  # by tokenizer
    folder = _folder(encoder)
    for file in sorted(store.folder.names(folder)):
        if not file.endswith(_SUFFIX):
            continue
        table = _table(store, f"{folder}/{file}")
        metadata = table.schema.metadata
        if metadata[_FINGERPRINT] != encoder.fingerprint.encode():
            continue  # its key is a part of the fingerprint only
        own = found.setdefault(metadata[_TOKENIZER], {})
        vectors = matrix(table.column(EMBEDDING))
        for text, vector in zip(table.column(TEXT).to_pylist(), vectors, strict=True):
            own.setdefault(text, vector)
    wanted = _identity(encoder)[_TOKENIZER]
    if wanted or len(found) < 2:
        return found.get(wanted, {}) if wanted else next(iter(found.values()), {})
    raise StoreError(
        f"{store.folder.join(folder)}: holds texts of {len(found)} tokenizers, and the embeddings "
        f"of {encoder.name} do not tell which is theirs; run `vlm-relabel score` with the encoder"
    )


def text_problems(store: Store) -> Iterator[tuple[str, str, str]]:
    """Folder, file and fault of every file that is not what was written."""
    for name in sorted(store.folder.names(TEXT_EMBEDDINGS, recursive=True)):
        folder, _, file = f"{TEXT_EMBEDDINGS}/{name}".rpartition("/")
        if not file.endswith(_SUFFIX):
            continue
        try:
            _table(store, f"{folder}/{file}")
        except StoreError as error:
            yield folder, file, str(error)


def _folder(encoder: EncoderSpec) -> str:
    return f"{TEXT_EMBEDDINGS}/{encoder.key}"


def _identity(encoder: EncoderSpec) -> dict[bytes, bytes]:
    tokenizer = encoder.tokenizer_sha256 or ""
    return {_FINGERPRINT: encoder.fingerprint.encode(), _TOKENIZER: tokenizer.encode()}


def _table(store: Store, name: str) -> pa.Table:
    content = store.folder.read(name)
    digest = name.rpartition("/")[2].removesuffix(_SUFFIX)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(
            f"{store.folder.join(name)}: is not what was written; delete it, and `vlm-relabel "
            "score` with the encoder keeps its texts again"
        )
    return pq.read_table(pa.BufferReader(content))
