"""Where the records of TFRecord shards begin, so that no shard is walked twice."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

from etils import epath

from schemas.locations import is_url


class ShardPlaces:
    """Offsets of the records of one shard, as far as it was walked; 8 bytes a record.

    A shard has no index: the way to a record leads over the lengths of all before it. A slice for
    every few episodes of a shard would walk it as often as it has slices.
    """

    def __init__(self) -> None:
        self._offsets = array("Q", [0])
        self._lock = threading.Lock()

    def before(self, index: int) -> tuple[int, int]:
        """The last record known that is not after `index`, and its offset in bytes."""
        with self._lock:
            known = min(index, len(self._offsets) - 1)
            return known, self._offsets[known]

    def note(self, index: int, offset: int) -> None:
        """Remembers where a record begins, if the one before it is known."""
        with self._lock:
            if index == len(self._offsets):
                self._offsets.append(offset)


class RecordPlaces:
    """`ShardPlaces` of the shards of one source, used by any thread."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int | None], ShardPlaces]] = {}
        self._lock = threading.Lock()

    def of(self, path: str) -> ShardPlaces:
        """Those of one shard; of a file that has changed since, nothing is known."""
        stamp = _stamp(path)
        with self._lock:
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = self._known[path] = (stamp, ShardPlaces())
            return known[1]


def _stamp(path: str) -> tuple[int, int | None]:
    """Size and time of the last change."""
    if is_url(path):
        there = epath.Path(path).stat()
        return int(there.length), there.mtime
    found = Path(path).expanduser().stat()
    return found.st_size, found.st_mtime_ns
