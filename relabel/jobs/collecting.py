"""Python's search for cyclic garbage, less often while a job holds some hundred thousand records.

A store of 100,000 slices is a million small objects that stay, and none of them is in a cycle. By
default Python looks through the new ones after every 700; that took a third of a report's time.
"""

from __future__ import annotations

import gc
import threading
from contextlib import ContextDecorator
from typing import Final

_EVERY: Final = 50_000  # objects that are made and not freed between two looks


class CollectingRarely(ContextDecorator):
    """Holds while a block or a function runs, in whichever threads; then all is as it was."""

    _lock: Final = threading.Lock()
    _inside = 0
    _before = (0, 0, 0)

    def __enter__(self) -> None:
        with self._lock:
            if CollectingRarely._inside == 0:
                CollectingRarely._before = gc.get_threshold()
                first, *others = CollectingRarely._before
                if first:  # else it is turned off
                    gc.set_threshold(max(first, _EVERY), *others)
            CollectingRarely._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            CollectingRarely._inside -= 1
            if CollectingRarely._inside == 0:
                gc.set_threshold(*CollectingRarely._before)
