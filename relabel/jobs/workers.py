"""What a worker process holds once: the encoder, and its share of the cores."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import uuid4
from weakref import WeakValueDictionary

from threadpoolctl import threadpool_limits

from relabel.encoders.protocol import EncoderLoader, LoadEncoder, StagedEncoder
from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError

_LOADED: Final[WeakValueDictionary[str, StagedEncoder]] = WeakValueDictionary()  # by key
_LOADING: Final = threading.Lock()


@dataclass(frozen=True)
class SharedEncoder:
    """Loads an encoder at most once per process, whoever asks."""

    load: LoadEncoder  # picklable
    planned: EncoderSpec | None = None  # what a worker must get; None: anything
    key: str = field(default_factory=lambda: uuid4().hex)  # the same in every copy

    def acquire(self) -> StagedEncoder:
        """The process's encoder; the caller keeps it alive by holding on to it.

        Raises:
            EncoderError: It cannot be had, or is another one than was planned.
        """
        with _LOADING:
            encoder = _LOADED.get(self.key)
            if encoder is None:
                encoder = _LOADED[self.key] = self.load()
        differing = [] if self.planned is None else self.planned.differences(encoder.spec)
        if differing:
            raise EncoderError(
                f"encoder {encoder.spec.name}: a worker loaded another one than was planned "
                f"({'; '.join(differing)}); every worker needs the same weights, vocabulary and "
                "configuration at that place"
            )
        return encoder

    def pinned(self, loaded: StagedEncoder) -> SharedEncoder:
        """The same for workers elsewhere, who must get the encoder that was loaded here."""
        load = self.load
        if isinstance(load, EncoderLoader):
            load = load.as_loaded(loaded)
        return replace(self, load=load, planned=loaded.spec)


def limit_threads(threads: int) -> None:
    """Bounds the native thread pools (BLAS, OpenMP) of this process, for the calling thread.

    Results are the same bytes only for the same number of threads, so it is always set, never
    left to the machine. To be called by the thread that computes, right before it does: OpenMP
    keeps its limit per thread (Beam sets up and processes in different ones), and a library
    loaded later, such as torch with an encoder, knows nothing of an earlier limit.
    """
    threadpool_limits(threads)
