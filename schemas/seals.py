"""Is a file still what was written? Its size and checksum, held against what was recorded of it.

A complete table's manifest says so of every file; until then a receipt does, one per slice. Reading
compares the CRC-32C, of stores that do not record it the SHA-256; `verify` and `repair` compare
both. A file is checked once per process, however often it is read, as long as it does not change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from schemas.errors import StoreError
from schemas.files import FileState, Folder
from schemas.slices import TableFile

_WHOLE: Final[set[bytes]] = set()  # what was compared, and agreed, as `_keys` marks it


def check_file(folder: Folder, file: TableFile, *, trust: bool) -> None:
    """Holds one file against what is recorded of it.

    Args:
        folder: of the store.
        file: as a manifest lists it.
        trust: compare its size only.

    Raises:
        StoreError: it is missing, of another size, or its content has changed.
    """
    if problem := file_problem(folder, file, trust=trust):
        raise StoreError(
            f"{folder.join(f'{file.table}/{file.file}')}: {problem}; `vlm-relabel verify` names "
            "everything that is damaged, `vlm-relabel repair` makes it again"
        )


def note_whole(folder: Folder, file: TableFile) -> str | None:
    """Remembers a file that this process has just committed; it need not be checked.

    Returns:
        Its version; None if its place tells none, or something else is there already.
    """
    info = folder.info(f"{file.table}/{file.file}")
    if not info.is_file or info.size != file.bytes or info.version is None:
        return None
    _WHOLE.update(_keys(folder, file, info, _recorded(file)))
    return info.version


def file_problem(
    folder: Folder,
    file: TableFile,
    *,
    trust: bool = False,
    every: bool = False,
    anew: bool = False,
) -> str | None:
    """As `check_file`: what is wrong with a file, or None.

    Args:
        folder: as of `check_file`.
        file: likewise.
        trust: likewise.
        every: compare all checksums that are recorded, and not the cheapest alone.
        anew: likewise, whatever this process has compared before.
    """
    info = folder.info(f"{file.table}/{file.file}")
    if not info.is_file:
        return "missing"
    if info.size != file.bytes:
        return f"expected {file.bytes} bytes, got {info.size}"
    recorded = _recorded(file)
    keys = _keys(folder, file, info, recorded if every or anew else recorded[:1])
    if trust or (keys <= _WHOLE and not anew):
        return None
    if problem := _sums_problem(folder, file) if every or anew else _sum_problem(folder, file):
        return problem
    if info.version is not None:  # else nothing would tell a later change
        _WHOLE.update(keys)
    return None


def _recorded(file: TableFile) -> tuple[str, ...]:
    """Checksums that are recorded of a file, the cheapest first."""
    return (file.sha256,) if file.crc32c is None else (f"{file.crc32c:08x}", file.sha256)


def _keys(folder: Folder, file: TableFile, info: FileState, checksums: Iterable[str]) -> set[bytes]:
    """Marks of one content at one path, one per checksum; small, as there are some per slice."""
    path = folder.join(f"{file.table}/{file.file}")
    whole = (
        "\0".join((path, str(file.bytes), str(info.version), checksum)) for checksum in checksums
    )
    return {hashlib.blake2b(text.encode(), digest_size=16).digest() for text in whole}


def _sum_problem(folder: Folder, file: TableFile) -> str | None:
    """By the cheapest checksum that is recorded."""
    name = f"{file.table}/{file.file}"
    if file.crc32c is None:
        return None if folder.sha256(name) == file.sha256 else _changed("SHA-256")
    return None if folder.crc32c(name) == file.crc32c else _changed("CRC-32C")


def _sums_problem(folder: Folder, file: TableFile) -> str | None:
    """By all that are recorded."""
    found = folder.checksums(f"{file.table}/{file.file}")
    if found.sha256 != file.sha256:
        return _changed("SHA-256")
    if file.crc32c is None or found.crc32c == file.crc32c:
        return None
    return "its CRC-32C is not the one recorded, but its SHA-256 is: what is recorded is wrong"


def _changed(checksum: str) -> str:
    return f"its {checksum} is not the one recorded: the content has changed"
