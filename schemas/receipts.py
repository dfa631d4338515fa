"""Receipts: what was committed of one slice, as long as its table has no manifest.

A resumed job takes rows, size and SHA-256 of a slice from its receipt and not from the file, so
that a file which has changed since is noticed and not recorded as right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import StoreError
from schemas.files import Folder
from schemas.manifests import sealed, unsealed
from schemas.slices import TableFile
from schemas.table_manifest import FORMAT_VERSION

FOLDER: Final = "receipts"  # below a table's own


class _Receipt(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    format_version: str = FORMAT_VERSION
    files: tuple[TableFile, ...]


def write_receipt(folder: Folder, place: str, file: str, files: Sequence[TableFile]) -> None:
    """Writes down what was committed.

    Args:
        folder: of the store.
        place: of the receipts of the table.
        file: of the slice, the same in all its folders.
        files: everything that was committed of it, dead letters included.
    """
    content = _Receipt(files=tuple(files)).model_dump(mode="json")
    folder.write(_name(place, file), sealed(content))


def read_receipt(folder: Folder, place: str, file: str) -> tuple[TableFile, ...] | None:
    """What was committed of a slice; None if no receipt says so, or none that can be read."""
    name = _name(place, file)
    if not folder.exists(name):
        return None
    text = folder.read(name)
    try:
        return _Receipt.model_validate(unsealed(text, origin=folder.join(name))).files
    except (StoreError, ValidationError):  # torn by a power cut: the file itself is hashed then
        return None


def _name(place: str, file: str) -> str:
    return f"{place}/{file}.json"
