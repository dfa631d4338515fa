"""What of a store is damaged, and how its tables become unfinished again, to be made anew.

Nothing is deleted: a damaged file stays until the new one takes its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from schemas.errors import StoreError
from schemas.manifests import AnyTableManifest, manifest_bytes, parse_manifest
from schemas.seals import file_problem
from schemas.slices import TableFile
from schemas.store import MANIFEST, PLAN, Store

_ORDER: Final = ("steps", "episodes", "embeddings", "rewards", "goal_datasets")  # of commands
_SOURCE_TABLES: Final = _ORDER[:3]


@dataclass(frozen=True)
class Damage:
    """One table that is not whole."""

    table: str
    problems: tuple[str, ...]  # for people, one per file
    command: str | None  # that makes what is missing; None: nobody knows
    manifest: AnyTableManifest | None = None  # of a complete table: it is to be opened again


Show = Callable[[str, int, int], None]  # told the table, its files that are checked, and all


def find_damage(store: Store, show: Show | None = None) -> list[Damage]:
    """Tables that are not whole, those that others are made of first.

    Args:
        store: every file that its manifests list is hashed; nothing is changed.
        show: told of every file that is checked.
    """
    found = [*_complete(store, show), *_unfinished(store), *_without_manifest(store)]
    return sorted(found, key=lambda damage: (_rank(damage.table), damage.table))


def reopen(store: Store, damage: Damage) -> None:
    """Makes a complete table unfinished; its plan says what of it is to be kept."""
    if damage.manifest is not None:
        store.folder.write(f"{damage.table}/{PLAN}", manifest_bytes(damage.manifest))
        store.folder.delete(f"{damage.table}/{MANIFEST}")


def is_source_table(table: str) -> bool:
    """Whether `embed` makes it."""
    return table.split("/")[0] in _SOURCE_TABLES


def _rank(table: str) -> int:
    kind = table.split("/")[0]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _complete(store: Store, show: Show | None) -> Iterator[Damage]:
    for table in store.tables():
        try:
            manifest, problems = store.table_manifest(table), []
        except StoreError as error:
            problems = [str(error)]
            try:
                manifest = _as_it_is(store, table)
            except StoreError:
                yield Damage(table, (*problems, _unknown(table)), None)
                continue
        problems += _file_problems(store, manifest, show)
        if problems and manifest.is_of_first_format:
            text = "is of format 1, which cannot be mended; make it again with --overwrite"
            yield Damage(table, (*problems, text), None)
        elif problems:
            yield Damage(table, tuple(problems), manifest.command, manifest)


def _as_it_is(store: Store, table: str) -> AnyTableManifest:
    """A manifest that was changed after it was written.

    What it says is not believed: files that do not have its hashes are made anew, and the command
    refuses a plan that is not its own.
    """
    name = f"{table}/{MANIFEST}"
    return parse_manifest(store.folder.read(name), origin=store.folder.join(name), changed=True)


def _file_problems(store: Store, manifest: AnyTableManifest, show: Show | None) -> list[str]:
    listed = {file.file for file in manifest.slice_files}
    missing = [piece.file for piece in store.slices if piece.file not in listed]
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        problems = [f"{name}: not in the manifest" for name in missing]
        checked = pool.map(lambda file: _told(store, file), manifest.files)
        for done, told in enumerate(checked, start=1):
            problems += [] if told is None else [told]
            if show is not None:
                show(manifest.table, done, len(manifest.files))
        return problems


def _told(store: Store, file: TableFile) -> str | None:
    problem = file_problem(store.folder, file, anew=True)
    return None if problem is None else f"{file.table}/{file.file}: {problem}"


def _unfinished(store: Store) -> Iterator[Damage]:
    for table in store.unfinished():
        try:
            recorded = store.recorded(table)
        except StoreError as error:
            yield Damage(table, (str(error), _unknown(table)), None)
            continue
        command = None if recorded is None else recorded.command
        yield Damage(table, ("unfinished",), command)


def _without_manifest(store: Store) -> Iterator[Damage]:
    known = {*store.tables(), *store.unfinished()}
    lost = dict.fromkeys(("steps", "episodes", *store.abandoned()))
    for table in (table for table in lost if table not in known):
        command = _of_the_source(store, known) if is_source_table(table) else None
        more = () if command else (_unknown(table),)
        yield Damage(table, ("there is no manifest", *more), command)


def _of_the_source(store: Store, tables: Iterable[str]) -> str | None:
    """A command that makes the tables of the source, since it made another one of them."""
    for table in sorted(filter(is_source_table, tables), key=_rank):
        try:
            recorded = store.recorded(table)
        except StoreError:
            continue
        if recorded is not None and recorded.command:
            return recorded.command
    return None


def _unknown(table: str) -> str:
    return (
        f"which command made {table} is not known; put back a copy of its manifest, or run that "
        "command again with --overwrite"
    )
