"""Which embeddings of a store are scored, and what embeds goals for them."""

from __future__ import annotations

from collections.abc import Sequence

from relabel.encoders.protocol import EncoderLoader, LoadEncoder, TextEncoder
from relabel.encoders.stored_texts import StoredTexts
from schemas.encoders import EncoderSpec
from schemas.errors import StoreError
from schemas.manifests import EmbeddingManifest
from schemas.store import Store


def encoder_for_texts(load: LoadEncoder | StoredTexts, store: Store) -> TextEncoder:
    """What embeds goals for frames that are embedded already, or knows their embeddings.

    Raises:
        EncoderError: It cannot be had, or its embeddings are there in several precisions.
        StoreError: The store has no embeddings of it, or of several such encoders.
    """
    if isinstance(load, StoredTexts):
        return load.open(store)
    if not isinstance(load, EncoderLoader):
        return load()
    # Unfinished ones are refused later, by their names.
    tables = store.embeddings() or store.embeddings(unfinished=True)
    return load.for_texts([table.encoder for table in tables])


def stored_embeddings(
    store: Store, spec: EncoderSpec, cameras: Sequence[str]
) -> Sequence[EmbeddingManifest]:
    """The complete embedding tables of an encoder.

    Args:
        store: holds them.
        spec: of the encoder.
        cameras: that are wanted; none: all that are there.

    Raises:
        StoreError: there are none, or they are unfinished; says what completes them.
    """
    complete = store.embeddings()
    own = _of_encoder(complete, spec)
    found = [_of_camera(name, own) for name in cameras]
    if own and None not in found:
        return [table for table in found if table is not None] or own
    begun = store.embeddings(unfinished=True)
    _refuse_unfinished(store, _of_encoder(begun, spec), cameras if own else ())
    if own:
        missing = cameras[found.index(None)]
        known = ", ".join(table.camera for table in own)
        raise StoreError(
            f"{store.location}: camera {missing!r} is not embedded; the embedded ones are {known}"
        )
    shown = [_shown(table) for table in complete]
    shown += [f"{_shown(table)}, unfinished" for table in begun]
    listed = "\n  ".join(shown or ["none"])
    raise StoreError(
        f"{store.location}: no embeddings of {spec.name} at {spec.precision} "
        f"({spec.fingerprint[:8]}); there are:\n  {listed}\n"
        "`vlm-relabel embed` adds an encoder to a store"
    )


def _refuse_unfinished(
    store: Store, begun: Sequence[EmbeddingManifest], cameras: Sequence[str]
) -> None:
    """Says what completes the first of some unfinished tables, or of those of some cameras."""
    asked = [_of_camera(name, begun) for name in cameras] if cameras else begun[:1]
    for table in asked:
        if table is not None:
            store.table_manifest(table.table)  # raises


def _of_encoder(
    tables: Sequence[EmbeddingManifest], spec: EncoderSpec
) -> Sequence[EmbeddingManifest]:
    return [table for table in tables if table.encoder.fingerprint == spec.fingerprint]


def _shown(table: EmbeddingManifest) -> str:
    return f"{table.encoder.name} at {table.encoder.precision} of {table.camera}"


def _of_camera(name: str, tables: Sequence[EmbeddingManifest]) -> EmbeddingManifest | None:
    dotted = name.strip("/").replace("/", ".")
    fitting = (t for t in tables if t.camera == dotted or t.camera.endswith(f".{dotted}"))
    return next(fitting, None)
