"""Dead letters that may be none any more: their source was mended, or the user asks for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from relabel.source.source import Source
from schemas import fields
from schemas.dead_letters import DeadLetter
from schemas.errors import StoreError
from schemas.slices import Slice
from schemas.store import Store


def lost_slices(store: Store, tables: Iterable[str] | None = None) -> dict[Slice, set[str]]:
    """Slices with dead letters, and the ids of the episodes that are lost whole.

    Args:
        store: holds the dead letters.
        tables: whose dead letters; None: those of all tables.
    """
    by_file = {piece.file: piece for piece in store.slices}
    found: dict[Slice, set[str]] = {}
    for table in [*store.tables(), *store.unfinished()] if tables is None else tables:
        folder = f"dead_letters/{table}"
        for piece in filter(None, map(by_file.get, store.folder.names(folder))):
            found.setdefault(piece, set()).update(_lost_episodes(store, folder, piece))
    return found


def _lost_episodes(store: Store, folder: str, piece: Slice) -> set[str]:
    names = [fields.EPISODE_ID, fields.STEP, fields.CAMERA]
    try:
        rows = store.read_slices(folder, [piece], names).to_pylist()
    except StoreError:  # damaged: its slice is made anew, or `verify` tells
        return set()
    whole = (row for row in rows if row[fields.STEP] is None and row[fields.CAMERA] is None)
    return {row[fields.EPISODE_ID] for row in whole}


def mended_slices(store: Store, source: Source, tables: Iterable[str]) -> list[Slice]:
    """Slices that lost an episode which can be read now, though their digests are the same.

    Such are records that were damaged beneath their checksums. Only the records of dead letters are
    read, and nothing is decoded.

    Args:
        store: holds the dead letters.
        source: of the store.
        tables: whose dead letters.
    """
    columns = [spec.name for spec in store.manifest.fields if spec.kind != "image"]
    lost = lost_slices(store, tables)
    own = [piece for piece in store.slices if piece in lost] if lost else []
    return [piece for piece in own if _is_mended(source, piece, lost[piece], columns)]


def _is_mended(source: Source, piece: Slice, episodes: set[str], columns: Sequence[str]) -> bool:
    return any(
        not isinstance(item, DeadLetter)
        for start, stop in _runs(sorted({_record(episode) for episode in episodes}))
        for item in source.read(replace(piece, start=start, stop=stop), columns)
    )


def _record(episode_id: str) -> int:
    """Index of an episode's record in its shard."""
    return int(episode_id.rpartition("/")[2].partition(".")[0])


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring numbers together, as (first, one past the last); a shard is opened per run."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        own = [number for _, number in run]
        yield own[0], own[-1] + 1
