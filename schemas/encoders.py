"""What a manifest says of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Precision = Literal["float32", "bfloat16", "float16"]


class EncoderSpec(BaseModel):
    """Identity and constants of one encoder: what its embeddings depend on.

    Two encoders with one fingerprint give the same embeddings up to rounding; the
    fingerprint therefore covers weights, preprocessing and precision, and leaves out
    name, path and device.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    name: str  # as the user gave it: "ViT-B-32:laion2b_s34b_b79k", "local-dir:/models/small"
    slug: str  # the name as part of a file name: "ViT-B-32-laion2b_s34b_b79k", "small"
    fingerprint: str  # sha256 over weights, preprocessing and precision
    weights_sha256: str
    preprocess: dict[str, Any]  # open_clip's: size, mean, std, interpolation, resize_mode, ...
    precision: Precision
    dim: int  # D, length of an embedding
    logit_scale: float  # multiplier of the cosine in the model's own softmax; 1/temperature
    logit_bias: float | None = None  # of sigmoid-trained (SigLIP) models only

    @property
    def key(self) -> str:
        """Name and fingerprint in one word, as used in a store's folder names."""
        return f"{self.slug}-{self.fingerprint[:8]}"


class ImageEncoder(Protocol):
    """What embeds frames: an `OpenClipEncoder`, or a fake of `relabel.testing`."""

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


class Encoder(ImageEncoder, Protocol):
    """What embeds frames and goals into one space."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm (N, D) embeddings of N texts."""
        ...
