"""Is a file still what was written? Its size and hash, held against what was recorded of it.

A complete table's manifest says so of every file; until then a receipt does, one per slice. A
file is hashed once per process, however often it is read, as long as it does not change.
"""

from __future__ import annotations

from typing import Final

from schemas.errors import StoreError
from schemas.files import FileState, Folder
from schemas.slices import TableFile

_WHOLE: Final[set[tuple[str, int, str | None, str]]] = set()  # path, bytes, version, hash


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
            "everything that is damaged, `vlm-relabel repair` makes it anew"
        )


def note_whole(folder: Folder, file: TableFile) -> None:
    """Remembers a file that this process has just committed; it need not be hashed."""
    info = folder.info(f"{file.table}/{file.file}")
    if info.is_file and info.size == file.bytes and info.version is not None:
        _WHOLE.add(_known(folder, file, info))


def _known(folder: Folder, file: TableFile, info: FileState) -> tuple[str, int, str | None, str]:
    return (folder.join(f"{file.table}/{file.file}"), file.bytes, info.version, file.sha256)


def file_problem(
    folder: Folder, file: TableFile, *, trust: bool = False, anew: bool = False
) -> str | None:
    """As `check_file`: what is wrong with a file, or None; `anew` hashes it once more."""
    name = f"{file.table}/{file.file}"
    info = folder.info(name)
    if not info.is_file:
        return "missing"
    if info.size != file.bytes:
        return f"expected {file.bytes} bytes, got {info.size}"
    known = _known(folder, file, info)
    if trust or (known in _WHOLE and not anew):
        return None
    if folder.sha256(name) != file.sha256:
        return "its SHA-256 is not the one recorded: the content has changed"
    if info.version is not None:  # else nothing would tell a later change
        _WHOLE.add(known)
    return None
