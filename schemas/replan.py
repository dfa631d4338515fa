"""A store with another plan: more slices, or slices whose records are no longer the same.

What is there and still belongs to the plan stays, byte for byte. Every table becomes unfinished,
and the command that made it finishes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Final

from schemas.manifests import AnyTableManifest, StoreManifest, manifest_bytes
from schemas.slices import Slice
from schemas.store import MANIFEST, PLAN, STORE_MANIFEST, Store

_SPLIT: Final = "--split"


def outdated_slices(old: StoreManifest, new: StoreManifest) -> list[Slice]:
    """Slices of a plan that another one does not have, or has with other records."""
    names = {(piece.name, spec.digest) for piece, spec in zip(new.plan(), new.slices, strict=True)}
    pairs = zip(old.plan(), old.slices, strict=True)
    return [piece for piece, spec in pairs if (piece.name, spec.digest) not in names]


def replan(store: Store, manifest: StoreManifest, again: Iterable[Slice] = ()) -> Store:
    """Gives a store another plan.

    A job that is killed in the middle of this leaves a store with its old plan and tables that
    their commands finish.

    Args:
        store: as it is.
        manifest: as it is to be.
        again: slices to make again though their records are the same.

    Returns:
        The store with its new plan.
    """
    outdated = [*outdated_slices(store.manifest, manifest), *again]
    for table in {*store.tables(), *store.unfinished()}:
        recorded = store.recorded(table)
        if recorded is not None:
            _reopen(store, recorded, manifest.source.instruction, outdated)
            _delete(store, recorded.folders, outdated)
    store.folder.write(STORE_MANIFEST, manifest_bytes(manifest))
    return Store(store.location, store.folder, manifest)


def _reopen(
    store: Store, table: AnyTableManifest, instruction: str, outdated: Iterable[Slice]
) -> None:
    """Makes a table unfinished; its plan lists the files that are to be kept."""
    command = None if table.command is None else with_split(table.command, instruction)
    gone = {piece.file for piece in outdated}
    kept = tuple(file for file in table.files if file.file not in gone)
    plan = table.model_copy(
        update={"files": kept, "dead_letters": 0, "figures": None, "command": command}
    )
    store.folder.write(f"{table.table}/{PLAN}", manifest_bytes(plan))
    store.folder.delete(f"{table.table}/{MANIFEST}")


def _delete(store: Store, folders: Iterable[str], slices: Iterable[Slice]) -> None:
    files = {piece.file for piece in slices}
    for folder in folders:
        for name in files.intersection(store.folder.names(folder)):
            store.folder.delete(f"{folder}/{name}")


def with_split(command: str, instruction: str) -> str:
    """A command that asks for a part of a source, asking for another part.

    Example:
        >>> with_split("vlm-relabel embed --split 'train[:10%]' --store s", "train")
        'vlm-relabel embed --split train --store s'
    """
    words = shlex.split(command)
    for place, word in enumerate(words):
        if word == _SPLIT and place + 1 < len(words):
            words[place + 1] = instruction
        elif word.startswith(f"{_SPLIT}="):
            words[place] = f"{_SPLIT}={instruction}"
    return shlex.join(words)
