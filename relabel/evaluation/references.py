"""Where references come from: files beside an encoder's weights, files of one's own, stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from relabel.evaluation.coverage import (
    REFERENCE,
    Reference,
    identity,
    read_reference,
    reference_of_table,
)
from schemas.encoders import EncoderSpec
from schemas.errors import StoreError
from schemas.manifests import EmbeddingManifest
from schemas.store import Store

_LOCAL_DIR: Final = "local-dir:"


def shipped_reference(spec: EncoderSpec, names: Sequence[str]) -> Reference | None:
    """The reference that lies beside an encoder's weights; None: there is none, or of another.

    Args:
        spec: the encoder.
        names: that it was given, now or when it was used.
    """
    folders = [name.removeprefix(_LOCAL_DIR) for name in names if name.startswith(_LOCAL_DIR)]
    paths = [Path(folder).expanduser() / REFERENCE for folder in folders]
    found = (read_reference(str(path)) for path in paths if path.is_file())
    return next((one for one in found if one.encoder == identity(spec)), None)


def asked_reference(given: str, table: EmbeddingManifest) -> Reference:
    """The reference that `--reference` asks for.

    Args:
        given: a .parquet file, a store, or `STORE:COLUMN`, with a column of flags.
        table: whose frames are to be compared with it.

    Raises:
        StoreError: it is none of these, has no frames of the same encoder, or too few.
    """
    if given.endswith(".parquet"):
        found = read_reference(given)
        found.check(table.encoder)
        return found
    location, where = _parted(given)
    store = Store.open(location)
    wanted = identity(table.encoder)
    fitting = [own for own in store.embeddings() if identity(own.encoder) == wanted]
    if not fitting:
        names = ", ".join(own.table for own in store.embeddings()) or "none"
        raise StoreError(
            f"--reference {given}: expected embeddings of {table.encoder.name} "
            f"({table.encoder.weights_sha256[:8]}), got {names}"
        )
    of_camera = [own for own in fitting if own.camera == table.camera]
    return reference_of_table(store, (of_camera or fitting)[0].table, where)


def _parted(given: str) -> tuple[str, str | None]:
    """Location and column; a colon of a URL or a drive is no separator."""
    location, colon, column = given.rpartition(":")
    if colon and "/" not in column and "\\" not in column and not Store.exists(given):
        return location, column
    return given, None
