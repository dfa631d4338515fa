"""What the store says of itself: source, tables, dead letters."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from schemas import fields
from schemas.dead_letters import read_dead_letters
from schemas.manifests import AnyTableManifest, EmbeddingManifest, RewardManifest
from schemas.store import Store

_LETTERS: Final = 20  # dead letters of a table that are shown
_FIRST_CHARACTERS: Final = 12  # of a fingerprint
_LEAST_COMMITS: Final = 4  # slices, for a pace


def overview(store: Store) -> dict[str, Any]:
    """For the first view of the page."""
    manifest = store.manifest
    tables = [store.table_manifest(name) for name in store.tables()]
    frames = next((table.rows for table in tables if table.table == "steps"), None)
    return {
        "location": store.location,
        "format": manifest.format_version,
        "source": {
            "name": manifest.source.name,
            "version": manifest.source.version,
            "part": manifest.source.instruction,
            "fingerprint": manifest.source.fingerprint[:_FIRST_CHARACTERS],
            "cameras": manifest.cameras,
            "language": manifest.language_fields,
            "lastStep": f"{manifest.last_step.value}: {manifest.last_step_reason}",
            "leftOut": dict(manifest.left_out),
        },
        "frames": frames,
        "tables": [{**_table(table), **_pace(store, table)} for table in tables],
        "unfinished": store.unfinished(),
        "deadLetters": [letters for table in tables if (letters := _letters(store, table))],
    }


def _table(table: AnyTableManifest) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": table.table,
        "rows": table.rows,
        "bytes": sum(file.bytes for file in table.slice_files),
        "deadLetters": table.dead_letters,
        "fingerprint": table.fingerprint[:_FIRST_CHARACTERS],
        "command": table.command,
        "madeBy": dict(table.made_by),
    }
    if isinstance(table, EmbeddingManifest | RewardManifest):
        spec = table.encoder
        found["encoder"] = {
            "name": spec.name,
            "fingerprint": spec.fingerprint[:_FIRST_CHARACTERS],
            "precision": spec.precision,
        }
    if isinstance(table, RewardManifest):
        found["function"] = dict(table.function)
        found["goals"] = {"name": table.goals_name, "hash": table.goals_hash[:_FIRST_CHARACTERS]}
    return found


def _pace(store: Store, table: AnyTableManifest) -> dict[str, str]:
    """Rows a second, by the times of the slices' files: the median between two commits.

    So a night between two runs of a job does not count. Nothing is told of fewer than
    `_LEAST_COMMITS` slices, or where files have one time, as those of some copies.
    """
    times = store.folder.times(table.table)
    slices = (file for file in table.slice_files if file.table == table.table)
    written = sorted((times[f.file], f.rows) for f in slices if f.file in times)
    if len(written) < _LEAST_COMMITS:
        return {}
    at, rows = np.array(written).T
    took = np.median(np.diff(at))
    if took <= 0:
        return {}
    return {"pace": f"{rows[1:].mean() / took:,.0f} rows/s, by the times of its files"}


def _letters(store: Store, table: AnyTableManifest) -> dict[str, Any] | None:
    letters = read_dead_letters(store, table.table, table.files)
    if not letters.num_rows:
        return None
    names = (fields.EPISODE_ID, fields.STEP, fields.CAMERA, fields.REASON)
    shown = letters.select(names).slice(0, _LETTERS).to_pylist()
    return {"table": table.table, "count": letters.num_rows, "shown": shown}
