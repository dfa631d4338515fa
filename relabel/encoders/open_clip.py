"""The encoder: a contrastive vision-language model that embeds frames and texts.

A name becomes an `OpenClipEncoder` in four steps, each of which stops with an `EncoderError`
where open_clip would go on:

    name ──▶ weights file ──▶ model (strict, float32) ──▶ fingerprint ──▶ device, precision
             none: error      random weights: error                      missing: error

Frames then pass through two stages, `prepare` and `embed`, which a pipelined caller overlaps;
`encode_images` is both.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from relabel.encoders.batches import batches, check_frames, rows_by_shape
from relabel.encoders.device import (
    DTYPES,
    check_precision,
    choose_precision,
    known_precision,
    resolve_device,
)
from relabel.encoders.images import lower_image_tower
from relabel.encoders.model import build_model, describe
from relabel.encoders.open_clip_import import import_open_clip
from relabel.encoders.pixels import Transform
from relabel.encoders.texts import TextTower
from relabel.encoders.tokenizer import load_tokenizer, token_counts, token_limit
from relabel.encoders.weights import find_source
from relabel.frames.decoding import Frame
from schemas.encoders import EncoderSpec, Precision
from schemas.errors import EncoderError

Embeddings = npt.NDArray[np.float32]  # (N, D), unit norm

_IMAGE_BATCH = 256  # bounds the memory of encode_images, whatever the number of frames
_TEXT_BATCH = 256


def load_encoder(
    name: str,
    *,
    device: str = "cpu",
    precision: str = "auto",
    preprocess: str | Mapping[str, Any] | None = None,
    truncate_texts: bool = False,
) -> OpenClipEncoder:
    """Load an open_clip model for inference.

    Args:
        name: `NAME:PRETRAINED_TAG`, `NAME:/path/to/checkpoint` (safetensors, or a torch
            file that `weights_only=True` can read) or `local-dir:/path` (a directory with
            open_clip_config.json, weights, and bpe_vocab.txt.gz if it has a vocabulary of
            its own, or the files of its Hugging Face tokenizer).
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` (a GPU if torch sees one).
        precision: `auto` (see `choose_precision`), `float32`, `bfloat16` or `float16`.
        preprocess: Of `NAME:/path`: a tag of NAME, `openai`, `imagenet` or `siglip`, or
            settings as in a spec; None takes what the registered checkpoints of NAME agree on,
            or open_clip's default if there are none.
        truncate_texts: Cut texts that are longer than the model reads, as open_clip does,
            instead of refusing them.

    Returns:
        The encoder, in eval mode on its device.

    Raises:
        EncoderError: If the name is unknown, the weights are missing, damaged or of
            another architecture, the activation is not the one the weights were trained
            with (QuickGELU), or device or precision cannot be had.
    """
    place = resolve_device(device)
    if precision == "auto":
        chosen, reason = choose_precision(place)
    else:
        chosen, reason = check_precision(place, precision), "asked for"
    clip = import_open_clip()
    source = find_source(name, clip, preprocess)
    model = build_model(source, clip)
    tokenizer = load_tokenizer(source, model, clip)
    specs = describe(source, model, tokenizer)
    return OpenClipEncoder(
        *(model, tokenizer, specs[chosen], place, reason),
        specs=specs,
        truncate_texts=truncate_texts,
    )


def load_stored(name: str, spec: EncoderSpec, *, device: str = "cpu") -> OpenClipEncoder:
    """Load the encoder that a manifest tells of, with its precision and its preprocessing.

    Args:
        name: where it is now, as for `load_encoder`.
        spec: from the manifest.
        device: as for `load_encoder`.

    Raises:
        EncoderError: as `load_encoder`; whoever uses it checks that it is the same encoder.
    """
    return load_encoder(name, device=device, precision=spec.precision, preprocess=spec.preprocess)


class OpenClipEncoder:
    """An open_clip model on one device in one precision: a `StagedEncoder`.

    Attributes:
        spec: Identity and constants, as stored in manifests.
        device: Where the model runs; names the GPU that `auto` found.
        specs: What `spec` is, or would be, in each precision.
        precision_reason: Why this precision, in words for a log line.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        spec: EncoderSpec,
        device: torch.device,
        precision_reason: str,
        *,
        specs: Mapping[Precision, EncoderSpec] | None = None,
        truncate_texts: bool = False,
    ) -> None:
        """Take over a loaded float32 model: moves and casts it; see `load_encoder`."""
        self.spec = spec
        self.specs = {spec.precision: spec} if specs is None else specs
        self.device = device
        self.precision_reason = precision_reason
        self._dtype = DTYPES[spec.precision]
        # open_clip has no types: its models are modules with methods of their own.
        self._model: Any = model.to(device).eval().requires_grad_(False)
        lower_image_tower(self._model.visual, self._dtype)
        self._texts = TextTower(self._model)
        self._tokenizer = tokenizer
        self._truncate_texts = truncate_texts
        self._texts_only = False
        self._held = threading.local()  # memory of a batch, per thread
        self._transform = Transform.from_config(spec.preprocess, device)

    def for_texts(self, precision: str) -> OpenClipEncoder:
        """The same encoder for goals of frames that were embedded in `precision`, maybe elsewhere.

        Texts are embedded in float32 whatever the precision. Shares the model; embeds no frame.

        Raises:
            EncoderError: If there is no such precision.
        """
        other = copy.copy(self)
        other.spec = self.specs[known_precision(precision)]
        other.precision_reason = "that of the stored embeddings"
        other._texts_only = precision != self.spec.precision
        return other

    def prepare(self, frames: Sequence[Frame]) -> torch.Tensor:
        """Resize, pad and crop frames as open_clip's inference transform does.

        May be called by several threads at once; it uses one core.

        Args:
            frames: N frames, each (H, W, 3) uint8 RGB; sizes may differ.

        Returns:
            (N, 3, height, width) uint8, on a GPU if the encoder is on one.

        Raises:
            FrameError: If a frame has another shape or type; the text names its index.
        """
        check_frames(frames)
        with torch.inference_mode():
            groups = rows_by_shape(frames)
            fitted = [
                self._transform.fit(torch.from_numpy(np.stack([frames[row] for row in rows])))
                for rows in groups
            ]
            if len(groups) == 1:
                return fitted[0]
            together = torch.empty(
                (len(frames), 3, *self._transform.size),
                dtype=torch.uint8,
                device=fitted[0].device if fitted else "cpu",
            )
            for rows, pixels in zip(groups, fitted, strict=True):
                together[rows] = pixels
            return together

    def preprocess(self, frames: Sequence[Frame]) -> torch.Tensor:
        """Resize, crop and normalise frames as open_clip's inference transform does.

        Args:
            frames: as `prepare` takes them.

        Returns:
            (N, 3, height, width) on the encoder's device, in its precision.

        Raises:
            FrameError: If a frame has another shape or type; the text names its index.
        """
        pixels = self._empty(len(frames))
        self._normalise([self.prepare(frames)], pixels)
        return pixels

    def embed(self, parts: Sequence[torch.Tensor]) -> Embeddings:
        """Embed prepared frames as one batch.

        Args:
            parts: results of `prepare`, N frames in all; N is at least 1.

        Returns:
            (N, D) float32, unit norm, in the order given.

        Raises:
            EncoderError: If an embedding is not finite.
        """
        # Fresh memory would cost more than the arithmetic that fills it.
        count = sum(len(part) for part in parts)
        held = getattr(self._held, "pixels", None)
        if held is None or len(held) < count:
            held = self._held.pixels = self._empty(count)
        self._normalise(parts, held[:count])
        return self._collect([self.forward(held[:count])])

    def _empty(self, count: int) -> torch.Tensor:
        size = (count, 3, *self._transform.size)
        return torch.empty(size, dtype=self._dtype, device=self.device)

    def _normalise(self, parts: Sequence[torch.Tensor], out: torch.Tensor) -> None:
        start = 0
        with torch.inference_mode():
            for part in parts:
                self._transform.normalise(part, out[start : start + len(part)])
                start += len(part)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embed preprocessed frames.

        Args:
            pixels: (N, 3, height, width) from `preprocess`.

        Returns:
            (N, D) float32 on the encoder's device, unit norm (normalised in float32).
        """
        if self._texts_only:
            raise EncoderError(f"encoder {self.spec.name}: was loaded for texts, got frames")
        with torch.inference_mode():
            return _unit(self._model.encode_image(pixels))

    def encode_images(self, frames: Sequence[Frame]) -> Embeddings:
        """Embed frames.

        Args:
            frames: N frames, each (H, W, 3) uint8 RGB; N may be 0.

        Returns:
            (N, D) float32, unit norm, in the order given. A row does not depend on the
            other frames beyond float rounding.

        Raises:
            FrameError: If a frame has another shape or type.
            EncoderError: If an embedding is not finite.
        """
        lots = batches(frames, _IMAGE_BATCH)
        parts = [self.embed([self.prepare(lot)]) for lot in lots]
        return np.concatenate(parts) if parts else np.zeros((0, self.spec.dim), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts.

        Args:
            texts: N texts; N may be 0, or thousands.

        Returns:
            (N, D) float32, unit norm, in the order given.

        Raises:
            EncoderError: If texts have more tokens than the model reads (open_clip would
                cut them, and two goals could become one) unless `truncate_texts` was asked
                for, all of them together; or if an embedding is not finite.
        """
        if long := self.long_texts(texts):
            lines = [
                f"text {place} of {len(texts)}: {why}: {texts[place]!r}"
                for place, why in long.items()
            ]
            raise EncoderError(
                f"encoder {self.spec.name}: {len(long)} of {len(texts)} texts are too long:\n  "
                + "\n  ".join(lines)
                + "\nshorten them, or cut such texts with --truncate-texts"
            )
        return self._collect([self._embed_texts(batch) for batch in batches(texts, _TEXT_BATCH)])

    def long_texts(self, texts: Sequence[str]) -> dict[int, str]:
        """Texts that `encode_texts` refuses because the model would not read them to the end.

        Args:
            texts: N texts.

        Returns:
            Place in `texts` → why, in words, such as "83 tokens, the model reads 75"; empty if
            all are short enough, or if texts are to be cut. Nothing is embedded.
        """
        if self._truncate_texts:
            return {}
        limit = token_limit(self._tokenizer)
        counts = enumerate(token_counts(self._tokenizer, texts))
        return {
            place: f"{count} tokens, the model reads {limit}"
            for place, count in counts
            if count > limit
        }

    def _embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        tokens = self._tokenizer(list(texts))
        known, highest = getattr(self._model, "vocab_size", None), int(tokens.max())
        if known is not None and highest >= known:
            raise EncoderError(
                f"encoder {self.spec.name}: its tokenizer gives token {highest}, the model knows "
                f"{known}; the tokenizer belongs to another model"
            )
        with torch.inference_mode():
            return _unit(self._texts.embed(tokens.to(self.device)))

    def _collect(self, parts: list[torch.Tensor]) -> Embeddings:
        """Bring embeddings to the CPU as one checked array."""
        if not parts:
            return np.zeros((0, self.spec.dim), np.float32)
        embeddings = cast(Embeddings, torch.cat(parts).cpu().numpy())
        if np.isfinite(embeddings).all():
            return embeddings
        bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        raise EncoderError(
            f"encoder {self.spec.name}: {len(bad)} of {len(embeddings)} embeddings are not finite "
            f"(first at {bad[0]}) in {self.spec.precision}; the weights are damaged or the "
            "precision is too narrow: try --precision float32"
        )


# --- small steps ----------------------------------------------------------------------------


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Rows of unit length, normalised in float32 whatever the model computes in."""
    return functional.normalize(features.float(), dim=-1)
