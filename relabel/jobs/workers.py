"""What a worker process holds once: the encoder, and its share of the cores."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import uuid4
from weakref import WeakValueDictionary

from threadpoolctl import threadpool_limits

from relabel.encoders.protocol import EncoderLoader, LoadEncoder, StagedEncoder
from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError

_LOADED: Final[WeakValueDictionary[str, StagedEncoder]] = WeakValueDictionary()  # by key
_UNTOLD: Final[Counter[str]] = Counter()  # by key: loads that no job has counted yet
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
                _UNTOLD[self.key] += 1
        differing = [] if self.planned is None else self.planned.differences(encoder.spec)
        if differing:
            raise EncoderError(
                f"encoder {encoder.spec.name}: a worker loaded another one than was planned "
                f"({'; '.join(differing)}); every worker needs the same weights, vocabulary and "
                "configuration at that place"
            )
        return encoder

    def untold_loads(self) -> int:
        """How often this process has loaded it since this was asked last."""
        with _LOADING:
            return _UNTOLD.pop(self.key, 0)

    @property
    def path(self) -> str | None:
        """Path of its weights or of their folder; None: it has none, or does not tell."""
        return self.load.path if isinstance(self.load, EncoderLoader) else None

    @property
    def is_here(self) -> bool:
        """Whether this machine has the device that it is loaded on."""
        return not isinstance(self.load, EncoderLoader) or _has(self.load.device)

    def absolute(self) -> SharedEncoder:
        """The same for processes with another working directory."""
        if not isinstance(self.load, EncoderLoader):
            return self
        return replace(self, load=self.load.absolute())

    def pinned(self, loaded: StagedEncoder) -> SharedEncoder:
        """The same for workers elsewhere, who must get the encoder that was loaded here."""
        load = self.load
        if isinstance(load, EncoderLoader):
            load = load.as_loaded(loaded)
        return replace(self, load=load, planned=loaded.spec)


def load_for(workers: LoadEncoder, *, elsewhere: bool) -> tuple[StagedEncoder, SharedEncoder]:
    """The encoder in this process, which plans and embeds goals, and the same for the workers.

    Args:
        workers: loads it where frames are embedded.
        elsewhere: workers are on other machines, with devices of their own: this one does
            without a device that it lacks. It is loaded on the CPU then.

    Raises:
        EncoderError: it cannot be had.
    """
    if elsewhere and isinstance(workers, EncoderLoader) and not _has(workers.device):
        loaded = SharedEncoder(workers.without_device()).acquire()
        return loaded, SharedEncoder(workers).pinned(loaded)
    encoder = SharedEncoder(workers)
    loaded = encoder.acquire()
    return loaded, encoder.pinned(loaded)


def _has(device: str) -> bool:
    if device == "cpu":  # spares a process without an encoder the import of torch
        return True
    from relabel.encoders.device import device_is_here

    return device_is_here(device)


def limit_threads(threads: int) -> None:
    """Bounds the native thread pools (BLAS, OpenMP) of this process, for the calling thread.

    Results are the same bytes only for the same number of threads, so it is always set, never
    left to the machine. To be called by the thread that computes, right before it does: OpenMP
    keeps its limit per thread (Beam sets up and processes in different ones), and a library
    loaded later, such as torch with an encoder, knows nothing of an earlier limit.
    """
    threadpool_limits(threads)
