"""The encoder: a contrastive vision-language model that embeds frames and texts.

A name becomes an `OpenClipEncoder` in four steps, each of which stops with an `EncoderError`
where open_clip would go on:

    name ──▶ weights file ──▶ model (strict, float32) ──▶ fingerprint ──▶ device, precision
             none: error      random weights: error                      missing: error

Frames then pass through two stages, `prepare` and `embed`, which a pipelined caller overlaps;
`encode_images` is both.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from relabel.encoder_model import build_model, describe
from relabel.encoder_source import find_source
from relabel.encoder_texts import TextTower
from relabel.encoder_tokenizer import load_tokenizer, token_counts, token_limit
from relabel.frames import Frame, ResizeMode, fit_frame
from relabel.open_clip_import import import_open_clip
from schemas.encoders import EncoderSpec, Precision
from schemas.errors import EncoderError, FrameError

Embeddings = npt.NDArray[np.float32]  # (N, D), unit norm

_DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_IMAGE_BATCH = 256  # bounds the memory of encode_images, whatever the number of frames
_TEXT_BATCH = 256
# Pixels normalised at a time on a CPU: three float32 channels of them stay in its cache.
_CACHED_PIXELS = 1 << 16


def load_encoder(
    name: str, *, device: str = "cpu", precision: str = "auto", truncate_texts: bool = False
) -> OpenClipEncoder:
    """Load an open_clip model for inference.

    Args:
        name: `NAME:PRETRAINED_TAG`, `NAME:/path/to/checkpoint` (safetensors, or a torch
            file that `weights_only=True` can read) or `local-dir:/path` (a directory with
            open_clip_config.json, weights, and bpe_vocab.txt.gz if it has a vocabulary of
            its own). `NAME:/path` takes the preprocessing of the registered checkpoints
            of NAME if they agree on one, else open_clip's default.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` (a GPU if torch sees one).
        precision: `auto` (see `choose_precision`), `float32`, `bfloat16` or `float16`.
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
    source = find_source(name, clip)
    model = build_model(source, clip)
    tokenizer = load_tokenizer(source, model, clip)
    spec = describe(source, model, tokenizer, chosen)
    return OpenClipEncoder(model, tokenizer, spec, place, reason, truncate_texts=truncate_texts)


class OpenClipEncoder:
    """An open_clip model on one device in one precision: a `schemas.encoders.Encoder`.

    Attributes:
        spec: Identity and constants, as stored in manifests.
        device: Where the model runs; names the GPU that `auto` found.
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
        truncate_texts: bool = False,
    ) -> None:
        """Take over a loaded float32 model: moves and casts it; see `load_encoder`."""
        self.spec = spec
        self.device = device
        self.precision_reason = precision_reason
        self._dtype = _DTYPES[spec.precision]
        # open_clip has no types: its models are modules with methods of their own.
        self._model: Any = model.to(device, self._dtype).eval().requires_grad_(False)
        self._texts = TextTower(self._model)
        self._tokenizer = tokenizer
        self._truncate_texts = truncate_texts
        self._held = threading.local()  # memory of a batch, per thread
        self._transform = _Transform.from_config(spec.preprocess, device)

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
        _check_frames(frames)
        with torch.inference_mode():
            groups = _rows_by_shape(frames)
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
        batches = _batches(frames, _IMAGE_BATCH)
        parts = [self.embed([self.prepare(batch)]) for batch in batches]
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
        return self._collect([self._embed_texts(batch) for batch in _batches(texts, _TEXT_BATCH)])

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


# --- device and precision -------------------------------------------------------------------


def resolve_device(name: str) -> torch.device:
    """Turn a device name into a device that exists.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        EncoderError: If torch cannot use it; never another device in its place.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise EncoderError(f"device {name!r}: expected auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    problem = _device_problem(device)
    if problem:
        raise EncoderError(
            f"device {name!r}: {problem}; use --device cpu, or --device auto for what there is"
        )
    return device


def _device_problem(device: torch.device) -> str | None:
    """Why torch cannot use a device, or None."""
    if device.type == "mps" and not torch.backends.mps.is_available():
        return f"torch {torch.__version__} sees no Apple GPU"
    if device.type != "cuda":
        return None
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        return f"torch {torch.__version__} sees {count} CUDA devices"
    return None


def choose_precision(
    device: torch.device, cpu: Mapping[str, Any] | None = None
) -> tuple[Precision, str]:
    """The fastest precision that a device computes in natively.

    bfloat16 without native instructions is several times slower than float32, so a CPU is
    asked for them, as is an older GPU.

    Args:
        device: Where the model will run.
        cpu: What the CPU can do, by torch's names; None asks torch.

    Returns:
        The precision, and the reason in words.
    """
    if device.type == "cuda":
        if _gpu_has_bfloat16():
            return "bfloat16", "this GPU computes in bfloat16"
        return "float16", "this GPU has no bfloat16"
    if device.type != "cpu":
        return "float32", f"not measured on {device.type}"
    known = torch.cpu.get_capabilities() if cpu is None else cpu
    for instruction in ("amx_bf16", "avx512_bf16"):
        if known.get(instruction, False):
            return "bfloat16", f"this CPU has {instruction}"
    return "float32", "this CPU has no native bfloat16"


def _gpu_has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def check_precision(device: torch.device, precision: str) -> Precision:
    """Accept a precision that a device can compute in.

    bfloat16 is accepted on any CPU, where it may be slow, so that embeddings can be
    reproduced. float16 on a CPU is refused: it overflows where bfloat16 does not, and is
    nowhere faster.

    Raises:
        EncoderError: If the precision is unknown, or the device has no such arithmetic.
    """
    if precision not in _DTYPES:
        known = ", ".join(["auto", *_DTYPES])
        raise EncoderError(f"precision {precision!r}: expected one of {known}")
    if precision == "float16" and device.type == "cpu":
        raise EncoderError("precision float16: not on a CPU; use bfloat16, float32 or auto")
    if precision == "bfloat16" and device.type == "cuda" and not _gpu_has_bfloat16():
        raise EncoderError("precision bfloat16: this GPU has none; use float16, float32 or auto")
    return cast(Precision, precision)


# --- preprocessing --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Transform:
    """open_clip's inference transform, over tensors of many frames."""

    size: tuple[int, int]  # (height, width) of the model's input
    mode: ResizeMode
    interpolation: Literal["bicubic", "bilinear"]
    fill: int  # 0..255, colour of the padding
    mean: torch.Tensor  # (3, 1, 1) float32, of pixels in 0..1
    std: torch.Tensor  # (3, 1, 1) float32
    device: torch.device

    @classmethod
    def from_config(cls, config: Mapping[str, Any], device: torch.device) -> _Transform:
        size = config["size"]
        height, width = (size, size) if isinstance(size, int) else size
        mode = config["resize_mode"]
        # open_clip ignores the interpolation when it fills an input that is not square.
        bilinear = config["interpolation"] == "bilinear" and (mode != "shortest" or height == width)
        return cls(
            size=(height, width),
            mode=mode,
            interpolation="bilinear" if bilinear else "bicubic",
            fill=config["fill_color"],
            mean=_per_channel(config["mean"], device),
            std=_per_channel(config["std"], device),
            device=device,
        )

    def fit(self, stack: torch.Tensor) -> torch.Tensor:
        """Resize, pad and crop frames of one size.

        Args:
            stack: (N, H, W, 3) uint8 on the CPU.

        Returns:
            (N, 3, height, width) uint8, where it was resized.
        """
        height, width = stack.shape[1:3]
        fit = fit_frame((height, width), self.size, self.mode)
        # Other devices than CUDA may lack the kernel; the CPU has a fast one.
        on_gpu = self.device.type == "cuda"
        pixels = (stack.to(self.device) if on_gpu else stack).permute(0, 3, 1, 2)
        pixels = _resize(pixels, fit.resized, self.interpolation)
        if any(fit.pad):
            pixels = functional.pad(pixels, fit.pad, value=self.fill)
        (top, left), (rows, columns) = fit.crop, self.size
        return pixels[:, :, top : top + rows, left : left + columns]

    def normalise(self, fitted: torch.Tensor, out: torch.Tensor) -> None:
        """Write (pixel / 255 - mean) / std of fitted frames into `out`, of as many rows.

        On a CPU a few frames at a time, so that the intermediate values stay in its cache.
        """
        area = self.size[0] * self.size[1]
        step = len(out) if out.is_cuda else max(1, _CACHED_PIXELS // area)
        for start in range(0, len(out), step or 1):
            part = fitted[start : start + step].to(self.device).contiguous().float()
            out[start : start + step] = part.div_(255).sub_(self.mean).div_(self.std)


def _resize(pixels: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Resize (N, 3, H, W) uint8 with Pillow's antialiasing filters.

    torch's uint8 kernel on a CPU computes as Pillow does: width first, rounded to uint8 in
    between. A GPU has float kernels only, so the two passes and roundings are spelled out;
    in one pass, bicubic overshoot would differ from Pillow by up to 20 levels.
    """
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    if not pixels.is_cuda:
        return functional.interpolate(pixels, size, mode=interpolation, antialias=True)
    return _resize_in_float(pixels, size, interpolation)


def _resize_in_float(
    pixels: torch.Tensor, size: tuple[int, int], interpolation: str
) -> torch.Tensor:
    """`_resize` with float kernels."""
    values = pixels.float()
    for target in ((values.shape[2], size[1]), size):
        values = functional.interpolate(values, target, mode=interpolation, antialias=True)
        values = values.add_(0.5).floor_().clamp_(0, 255)
    return values.to(torch.uint8)


def _per_channel(values: float | Sequence[float], device: torch.device) -> torch.Tensor:
    """(3, 1, 1) float32 from three numbers, or one for all channels."""
    numbers = [values] * 3 if isinstance(values, int | float) else list(values)
    return torch.tensor(numbers, dtype=torch.float32, device=device)[:, None, None]


# --- small steps ----------------------------------------------------------------------------


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Rows of unit length, normalised in float32 whatever the model computes in."""
    return functional.normalize(features.float(), dim=-1)


def _check_frames(frames: Sequence[Frame]) -> None:
    """Refuse what is not an RGB image of 8 bits a channel."""
    for index, frame in enumerate(frames):
        rgb = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
        if not rgb or frame.dtype != np.uint8:
            raise FrameError(
                f"frame {index} of {len(frames)}: expected uint8[H, W, 3], "
                f"got {frame.dtype}{list(frame.shape)}"
            )


def _rows_by_shape(frames: Sequence[Frame]) -> list[list[int]]:
    """Indices of the frames of each size, sizes in order of appearance."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        rows.setdefault(frame.shape, []).append(index)
    return list(rows.values())


def _batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
