"""What an encoder is, to those who write one and to the jobs that use it.

`Encoder` is all that an encoder from outside has to be. `StagedEncoder` is what jobs run: the same
in two stages, so that decoding threads resize while the model computes. `relabel.encoders.foreign`
makes the second of the first, and checks whatever it returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.encoders import EncoderSpec


class Encoder(Protocol):
    """What embeds frames and goals into one space; neither method runs in two threads at once."""

    @property
    def spec(self) -> EncoderSpec:
        """Identity and constants.

        Its `fingerprint` must change whenever the same frame would get another embedding: stored
        embeddings are reused, and runs are resumed, where it is the same.
        """
        ...

    def encode_images(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds frames of one size.

        Args:
            frames: (B, H, W, 3) uint8 RGB, as stored, neither resized nor cropped; B is 1 to 256,
                and H and W may change from call to call.

        Returns:
            (B, D) float32, finite, unit norm, in the order given. A row depends on its frame alone.
        """
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeds texts.

        Args:
            texts: 1 to 256 texts.

        Returns:
            (N, D) float32, finite, unit norm, in the order given. A row depends on its text alone.
        """
        ...


class TextEncoder(Protocol):
    """What embeds goals for frames that are embedded already."""

    @property
    def spec(self) -> EncoderSpec:
        """Identity and constants."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) embeddings of N texts, finite and not 0."""
        ...


class StagedEncoder(Protocol):
    """What jobs embed with: an `OpenClipEncoder`, a `ForeignEncoder`, or a fake of a test."""

    @property
    def spec(self) -> EncoderSpec:
        """Identity and constants."""
        ...

    def prepare(self, frames: Sequence[NDArray[np.uint8]]) -> Any:
        """N frames (H, W, 3) uint8 of any sizes as `embed` takes them; called by any thread."""
        ...

    def embed(self, parts: Sequence[Any]) -> NDArray[np.float32]:
        """Unit-norm (N, D) embeddings of what `prepare` made, together one batch."""
        ...

    def encode_images(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit-norm (N, D) embeddings of N frames (H, W, 3) uint8 of any sizes."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm (N, D) embeddings of N texts."""
        ...


@runtime_checkable
class LimitsTexts(Protocol):
    """An encoder that refuses texts which its model would not read to the end."""

    def long_texts(self, texts: Sequence[str]) -> dict[int, str]:
        """Places of the texts that `encode_texts` refuses as too long, and why in a few words.

        Embeds nothing.
        """
        ...


LoadEncoder = Callable[[], StagedEncoder]  # picklable, to be called where an encoder is needed


@dataclass(frozen=True)
class EncoderLoader(ABC):
    """What a user asked for by options; loads the encoder when it is called, in any process."""

    name: str  # as the user gave it
    device: str = "cpu"
    precision: str = "auto"
    truncate_texts: bool = False
    preprocess: str | None = None

    @classmethod
    @abstractmethod
    def takes(cls, name: str) -> bool:
        """Whether encoders of this name are loaded by this class; loads nothing."""

    @abstractmethod
    def __call__(self) -> StagedEncoder:
        """The encoder.

        Raises:
            EncoderError: It cannot be had as asked for.
        """

    @abstractmethod
    def for_texts(self, stored: Collection[EncoderSpec]) -> StagedEncoder:
        """The encoder that embeds goals for frames that are embedded already.

        Args:
            stored: encoders of the embeddings that there are.

        Raises:
            EncoderError: It cannot be had, or it is not clear which of the stored ones is meant.
        """

    @abstractmethod
    def as_stored(self, spec: EncoderSpec) -> StagedEncoder:
        """The encoder with the settings of a stored one; the caller compares fingerprints."""

    @abstractmethod
    def as_loaded(self, encoder: StagedEncoder) -> Self:
        """The same, with what `auto` became when `encoder` was loaded by this one.

        On another machine `auto` might become something else.
        """

    @property
    def path(self) -> str | None:
        """Of the weights, or of their folder; None: they have none, or it is not known."""
        return None

    def absolute(self) -> Self:
        """The same, for processes with another working directory."""
        return self

    def without_device(self) -> Self:
        """The same on the CPU, for a machine that lacks the device that others have."""
        return replace(self, device="cpu")

    def on_device_of(self, encoder: StagedEncoder) -> Self:
        """The same, with the device that `auto` became, if the encoder tells it."""
        device = getattr(encoder, "device", None)
        return (
            self if device is None or self.device != "auto" else replace(self, device=str(device))
        )
