"""Receipts: what was committed of one slice, as long as its table has no manifest.

A resumed job takes rows, size and checksums of a slice from its receipt and not from the file, so
that a file which has changed since is noticed and not recorded as right. Whether it has changed is
told by its size and its time of change, or ETag, which the receipt has too: only where these differ
is the file read and hashed. `verify` hashes every file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import StoreError
from schemas.files import Folder
from schemas.manifests import sealed, unsealed
from schemas.slices import TableFile
from schemas.table_manifest import FORMAT_VERSION

FOLDER: Final = "receipts"  # below a table's own


class Receipt(BaseModel):
    """What was committed of one slice."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format_version: str = FORMAT_VERSION
    files: tuple[TableFile, ...]  # the slice's own is the last
    version: str | None = None  # of the slice's own file, as its place tells; None: not known
    figures: str | None = None  # likewise, as JSON


def write_receipt(
    folder: Folder,
    place: str,
    file: str,
    files: Sequence[TableFile],
    version: str | None = None,
) -> None:
    """Writes down what was committed.

    Args:
        folder: of the store.
        place: of the receipts of the table.
        file: of the slice, the same in all its folders.
        files: everything that was committed of it, dead letters included, its own file last.
        version: of its own file, right after it was committed.
    """
    figures = files[-1].figures if files else None
    receipt = Receipt(files=tuple(files), version=version, figures=figures)
    content = receipt.model_dump(mode="json")
    folder.write(_name(place, file), sealed(content))


def read_receipt(folder: Folder, place: str, file: str) -> Receipt | None:
    """What was committed of a slice; None if no receipt says so, or none that can be read."""
    name = _name(place, file)
    text = folder.read_if_there(name)
    if text is None:
        return None
    try:
        found = Receipt.model_validate(unsealed(text, origin=folder.join(name)))
    except (StoreError, ValidationError):  # torn by a power cut: the file itself is hashed then
        return None
    *others, own = found.files or (None,)
    if own is None or found.figures is None:
        return found
    files = (*others, replace(own, figures=found.figures))
    return found.model_copy(update={"files": files})


def _name(place: str, file: str) -> str:
    return f"{place}/{file}.json"
