"""Embeddings of texts beside the tables of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.encoders import EncoderSpec
from schemas.errors import DamagedError, StoreError
from schemas.store import Store
from schemas.text_embeddings import TextEmbeddings, add_texts, stored_texts
from schemas.verify import verify_store

SPEC = EncoderSpec(
    name="local-dir:models/small",
    slug="small",
    fingerprint="a" * 64,
    weights_sha256="b" * 64,
    tokenizer_sha256="c" * 64,
    preprocess={},
    precision="float32",
    dim=3,
    logit_scale=100.0,
)


def made(texts: str, spec: EncoderSpec = SPEC, seed: int = 0) -> TextEmbeddings:
    """One text per letter."""
    vectors = np.random.default_rng(seed).normal(size=(len(texts), 3)).astype(np.float32)
    return TextEmbeddings(spec, list(texts), vectors)


def files(store: Store) -> list[Path]:
    return sorted((Path(store.location) / "text_embeddings").rglob("*.*"))


def test_what_is_added_is_found_bit_for_bit(empty_store: Store) -> None:
    assert stored_texts(empty_store, SPEC) == {}
    first, later = made("abé"), made("béd", seed=1)
    add_texts(empty_store, first)
    add_texts(empty_store, later)
    expected = dict(zip("abéd", [*first.embeddings, later.embeddings[2]], strict=True))
    found = stored_texts(empty_store, SPEC)
    assert found.keys() == expected.keys()
    assert all(found[text].tobytes() == expected[text].tobytes() for text in expected)
    assert [pq.read_table(path).num_rows for path in files(empty_store)] in ([3, 1], [1, 3])


def test_what_is_known_writes_nothing(empty_store: Store) -> None:
    add_texts(empty_store, made("ab"))
    before = [(path, path.stat().st_mtime_ns) for path in files(empty_store)]
    add_texts(empty_store, made("ba", seed=1))
    assert [(path, path.stat().st_mtime_ns) for path in files(empty_store)] == before


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer_sha256": "d" * 64},
        {"fingerprint": "a" * 8 + "e" * 56},  # whose folder is the same
        {"fingerprint": "f" * 64},
    ],
)
def test_another_encoder_or_tokenizer_has_texts_of_its_own(
    empty_store: Store, change: dict[str, str]
) -> None:
    other = SPEC.model_copy(update=change)
    add_texts(empty_store, made("ab"))
    assert stored_texts(empty_store, other) == {}
    theirs = made("a", other, seed=1)
    add_texts(empty_store, theirs)
    assert stored_texts(empty_store, other)["a"].tolist() == theirs.embeddings[0].tolist()
    assert stored_texts(empty_store, SPEC)["a"].tolist() == made("ab").embeddings[0].tolist()


def test_embeddings_that_do_not_tell_their_tokenizer(empty_store: Store) -> None:
    untold = SPEC.model_copy(update={"tokenizer_sha256": None})
    add_texts(empty_store, made("ab"))
    assert stored_texts(empty_store, untold).keys() == {"a", "b"}
    add_texts(empty_store, made("a", SPEC.model_copy(update={"tokenizer_sha256": "d" * 64})))
    with pytest.raises(
        StoreError, match="holds texts of 2 tokenizers, and the embeddings of local"
    ):
        stored_texts(empty_store, untold)


def test_a_changed_file_is_not_read_and_verify_names_it(store: Store) -> None:
    add_texts(store, made("ab"))
    assert all(problems == [] for _, problems in verify_store(store))
    (path,) = files(store)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="is not what was written; delete it, and"):
        stored_texts(store, SPEC)
    (found,) = [problems for _, problems in verify_store(store) if problems]
    assert (found[0].table, found[0].file) == (f"text_embeddings/{SPEC.key}", path.name)
