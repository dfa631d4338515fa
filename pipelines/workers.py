"""What a worker process holds once: the encoder, and its share of the cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from apache_beam.utils.shared import Shared
from threadpoolctl import threadpool_limits

from schemas.encoders import Encoder


@dataclass(frozen=True)
class SharedEncoder:
    """Loads an encoder at most once per process, whoever asks."""

    load: Callable[[], Encoder]  # picklable
    _shared: Shared = field(default_factory=Shared)

    def acquire(self) -> Encoder:
        """The process's encoder; the caller keeps it alive by holding on to it."""
        return cast(Encoder, self._shared.acquire(self.load))


def limit_threads(threads: int) -> None:
    """Bounds the native thread pools (BLAS, OpenMP) of this process, for the calling thread.

    Results are the same bytes only for the same number of threads, so it is always set, never
    left to the machine. To be called by the thread that computes, right before it does: OpenMP
    keeps its limit per thread (Beam sets up and processes in different ones), and a library
    loaded later, such as torch with an encoder, knows nothing of an earlier limit.
    """
    threadpool_limits(threads)
