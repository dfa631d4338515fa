"""Where the time of a slice goes, stage by stage."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

BACKGROUND: Final = ("read", "decode", "resize", "score")
"""Stages of other threads; they hide behind those of the thread that runs the slice."""
FOREGROUND: Final = (
    *("wait for frames", "embed", "write steps", "write embeddings"),
    *("read embeddings", "wait for scores", "write rewards", "commit", "other"),
)
"""Stages of the thread that runs the slice; together they are the time of the slice."""


class Profile:
    """Seconds by stage. A stage inside another one of the same thread takes its time from it."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def seconds(self) -> Mapping[str, float]:
        """Busy seconds by stage, summed over threads."""
        with self._lock:
            return dict(self._seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block as `name`, less the stages inside it."""
        open_stages: list[tuple[str, float]] = self._local.__dict__.setdefault("stages", [])
        now = time.perf_counter()
        if open_stages:
            self._add(open_stages[-1], now)
        open_stages.append((name, now))
        try:
            yield
        finally:
            now = time.perf_counter()
            self._add(open_stages.pop(), now)
            if open_stages:
                open_stages[-1] = (open_stages[-1][0], now)

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; the making of each is timed as `name`."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def _add(self, stage: tuple[str, float], now: float) -> None:
        name, began = stage
        with self._lock:
            self._seconds[name] += now - began
