"""What is committed of a table, learned by listings instead of a look at every slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from schemas.files import Folder
from schemas.manifests import AnyTableManifest
from schemas.slices import Slice, TableFile
from schemas.store import RECEIPTS, Store

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def commits(
    store: Store, manifest: AnyTableManifest, slices: Sequence[Slice]
) -> Iterator[tuple[TableFile, ...]]:
    """What the manifest will list of those slices that are there and whole, slice by slice.

    Costs a listing, and a receipt per slice that is there.

    Args:
        store: of the table.
        manifest: of a table that is unfinished.
        slices: to look for.

    Yields:
        The files of a slice, its own last. What is there and not whole is deleted: it is missing.

    Raises:
        StoreError: a file belongs to another table.
    """
    states = store.folder.states(manifest.table)
    there = [piece for piece in slices if piece.file in states]
    found = at_once(
        store.folder,
        lambda piece: store.committed(manifest, piece, states[piece.file]),
        there,
    )
    for piece, files in zip(there, found, strict=True):
        if files:
            yield files
        else:
            store.discard(manifest.table, piece)


def uncommitted(
    store: Store, tables: Iterable[AnyTableManifest], slices: Sequence[Slice]
) -> list[Slice]:
    """Those of some slices that are not there in every one of some unfinished tables.

    A file that is no younger than its receipt was not touched since; only others are looked into.
    What deceives this, such as an older copy put back, is found when the table is finished.

    Raises:
        StoreError: a file belongs to another table.
    """
    named = {piece.file: piece for piece in slices}
    there = set(named)
    for table in tables:
        if there:
            there = _there(store, table, there, named)
    return [piece for file, piece in named.items() if file not in there]


def _there(
    store: Store, table: AnyTableManifest, asked: set[str], named: Mapping[str, Slice]
) -> set[str]:
    changes = store.folder.changes(table.table)
    receipts = store.folder.changes(f"{table.table}/{RECEIPTS}") if changes else {}
    there = asked & changes.keys()
    sure = {file for file in there if _is_no_younger(changes[file], receipts.get(f"{file}.json"))}
    doubtful = [named[file] for file in sorted(there - sure)]
    looked = at_once(store.folder, lambda piece: store.committed(table, piece), doubtful)
    return sure | {files[-1].file for files in looked if files}


def _is_no_younger(file: float | None, receipt: float | None) -> bool:
    return file is not None and receipt is not None and file <= receipt


def slice_rows(store: Store, table: str, files: Sequence[str]) -> Mapping[str, int]:
    """Rows of some committed slices, by file name: of the manifest, or of their footers.

    Raises:
        StoreError: one is missing or damaged.
    """
    if store.is_complete(table):
        listed = {file.file: file.rows for file in store.table_manifest(table).slice_files}
        if listed.keys() >= set(files):
            return listed
    rows = at_once(store.folder, lambda file: store.rows(table, file), files)
    return dict(zip(files, rows, strict=True))


def at_once(folder: Folder, look: Callable[[_In], _Out], items: Sequence[_In]) -> Iterator[_Out]:
    """`map`, with as many calls side by side as it pays where the folder is."""
    if folder.at_once == 1 or len(items) < 2:
        yield from map(look, items)
        return
    with ThreadPoolExecutor(folder.at_once) as pool:
        yield from pool.map(look, items)
