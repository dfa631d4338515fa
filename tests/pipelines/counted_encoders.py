"""Encoders that tests count, slow down or break. Importable by worker processes."""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from relabel.testing import PixelMeanEncoder
from schemas.errors import EncoderError

loads: list[int] = []  # one entry per encoder loaded in this process: its version
frames: list[int] = []  # one entry per encode_images in this process: how many frames


class CountingEncoder(PixelMeanEncoder):
    """A `PixelMeanEncoder` that notes in `loads` and `frames` what was asked of it."""

    def __init__(self, version: int = 0) -> None:
        super().__init__(version)
        loads.append(version)

    def encode_images(self, images: Sequence[Any]) -> Any:
        """Counts, then embeds."""
        frames.append(len(images))
        return super().encode_images(images)


class TellingEncoder(PixelMeanEncoder):
    """Gives every text a direction of its own, so that no two goals are alike."""

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """(N, 4) unit-norm embeddings."""
        seeds = [zlib.crc32(text.encode()) for text in texts]
        drawn = np.array([np.random.default_rng(seed).normal(size=4) for seed in seeds])
        unit = drawn.reshape(-1, 4) / np.linalg.norm(drawn.reshape(-1, 4), axis=1, keepdims=True)
        return unit.astype(np.float32)


def load_other() -> CountingEncoder:
    """An encoder with another fingerprint."""
    return CountingEncoder(version=1)


def load_other_in_workers() -> PixelMeanEncoder:
    """What a machine with other weights at the same place loads: another encoder in a worker."""
    in_worker = "pytest" not in sys.modules
    return PixelMeanEncoder(version=int(in_worker))


class SlowEncoder(PixelMeanEncoder):
    """Needs 0.2 s per batch, so that a test can kill its process in mid-run."""

    def encode_images(self, images: Sequence[Any]) -> Any:
        """Waits, then embeds."""
        time.sleep(0.2)
        return super().encode_images(images)


class BrokenEncoder(PixelMeanEncoder):
    """Fails on the first frame it sees."""

    def encode_images(self, images: Sequence[Any]) -> Any:
        """Always raises."""
        raise EncoderError("encoder broken: an embedding is not finite; use float32")


def load_thread_probe() -> PixelMeanEncoder:
    """Loads torch, as true encoders do, and tells the number of its threads by its embeddings."""
    import torch

    class Probe(PixelMeanEncoder):
        def encode_images(self, images: Sequence[Any]) -> Any:
            embeddings = super().encode_images(images)
            embeddings[:] = 0
            embeddings[:, torch.get_num_threads() - 1] = 1
            return embeddings

    return Probe()


class Heavy:
    """Loads an encoder, and carries something that nobody needs."""

    def __init__(self, load: bytes) -> None:
        self.load = load

    def __call__(self) -> PixelMeanEncoder:
        return PixelMeanEncoder()
