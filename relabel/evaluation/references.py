"""Where references come from: files beside an encoder's weights, files of one's own, stores."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from relabel.evaluation.audit_report import CoverageAudit
from relabel.evaluation.conclusions import coverage_warning
from relabel.evaluation.coverage import (
    EXPECTED,
    REFERENCE,
    Reference,
    identity,
    read_reference,
    reference_of_table,
)
from schemas import fields
from schemas.encoders import EncoderSpec
from schemas.errors import StoreError
from schemas.manifests import EmbeddingManifest, RewardManifest
from schemas.store import Store
from schemas.tables import matrix

_LOCAL_DIR: Final = "local-dir:"
_SLICES, _FRAMES = 16, 128  # looked at after a job: so many slices, frames of each


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


# --- after a job ------------------------------------------------------------------------------


def coverage_notes(store: Store, rewards: RewardManifest) -> tuple[str, ...]:
    """A sentence per camera whose frames the encoder does not know; () without a reference.

    Looks at some frames of some slices alone, so that it costs next to nothing.

    Args:
        store: holds the reward set and its embeddings.
        rewards: the reward set.
    """
    try:
        reference = shipped_reference(rewards.encoder, [rewards.encoder.name])
    except StoreError as error:  # the job is done: this is no reason to call it failed
        return (str(error),)
    if reference is None:
        return ()
    tables = [table for table in store.embeddings() if _name(table) in rewards.embeddings]
    found = (coverage_warning(_sampled(store, table, reference)) for table in tables)
    return tuple(note for note in found if note is not None)


def _sampled(store: Store, table: EmbeddingManifest, reference: Reference) -> CoverageAudit:
    """Coverage of the first frames of slices at equal distances."""
    pieces = store.slices[:: -(-len(store.slices) // _SLICES)]
    frames = outside = 0
    for piece in pieces:
        rows = store.batches(table.table, piece, [fields.EMBEDDING], rows=_FRAMES)
        for batch in itertools.islice(rows, 1):
            embeddings = matrix(batch.column(0))
            there = embeddings[np.isfinite(embeddings).all(axis=1)]
            frames += len(there)
            outside += int((reference.distances(there) > reference.bound).sum())
    return CoverageAudit(
        embeddings=_name(table),
        frames=frames,
        reference=reference.origin,
        outside=outside / frames if frames else None,
        expected=EXPECTED,
    )


def _name(table: EmbeddingManifest) -> str:
    return table.table.partition("/")[2]
