"""What a manifest says of an encoder."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["float32", "bfloat16", "float16"]

_SHA256_DIGITS = 64


class EncoderSpec(BaseModel):
    """Identity and constants of one encoder: what its embeddings depend on.

    Two encoders with one fingerprint give frames the same embeddings up to rounding; the
    fingerprint therefore covers weights, architecture, preprocessing and precision, and leaves
    out name, path and device. Texts depend on the tokenizer as well, which is part of what a
    reward set is, not of what an embedding table is.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    name: str  # as the user gave it: "ViT-B-32:laion2b_s34b_b79k", "local-dir:/models/small"
    slug: str  # the name as part of a file name: "ViT-B-32-laion2b_s34b_b79k", "small"
    fingerprint: str  # sha256 over weights, preprocessing and precision
    weights_sha256: str
    tokenizer_sha256: str | None = None  # None: not recorded, as in stores of format 1
    preprocess: dict[str, Any]  # open_clip's: size, mean, std, interpolation, resize_mode, ...
    precision: Precision
    dim: int  # D, length of an embedding
    logit_scale: float  # multiplier of the cosine in the model's own softmax; 1/temperature
    logit_bias: float | None = None  # of sigmoid-trained (SigLIP) models only

    @property
    def key(self) -> str:
        """Name and fingerprint in one word, as used in a store's folder names."""
        return f"{self.slug}-{self.fingerprint[:8]}"

    def differences(self, other: EncoderSpec) -> list[str]:
        """What keeps this encoder from being `other`: keys with both values.

        Name and slug do not matter, nor does a tokenizer that one of the two does not tell.
        """
        unknown = None in (self.tokenizer_sha256, other.tokenizer_sha256)
        left_out = {"name", "slug", *(["tokenizer_sha256"] if unknown else [])}
        mine, theirs = (spec.model_dump(exclude=left_out) for spec in (self, other))
        # The fingerprint says that something differs; the others say what.
        keys = [key for key in mine if mine[key] != theirs[key]]
        keys = [key for key in keys if key != "fingerprint"] or keys
        return [f"{key} {_told(mine[key])}, not {_told(theirs[key])}" for key in keys]


def _told(value: Any) -> str:
    text = str(value)
    return text[:8] if len(text) == _SHA256_DIGITS else text
