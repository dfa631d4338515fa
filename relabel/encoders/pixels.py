"""open_clip's inference transform, over tensors of many frames, on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional

from relabel.frames.decoding import ResizeMode, fit_frame

# Pixels normalised at a time on a CPU: three float32 channels of them stay in its cache.
_CACHED_PIXELS = 1 << 16


@dataclass(frozen=True)
class Transform:
    """Resizes, crops and normalises; the settings of one model."""

    size: tuple[int, int]  # (height, width) of the model's input
    mode: ResizeMode
    interpolation: Literal["bicubic", "bilinear"]
    fill: int  # 0..255, colour of the padding
    mean: torch.Tensor  # (3, 1, 1) float32, of pixels in 0..1
    std: torch.Tensor  # (3, 1, 1) float32
    device: torch.device

    @classmethod
    def from_config(cls, config: Mapping[str, Any], device: torch.device) -> Transform:
        """From open_clip's preprocessing settings."""
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
    return resize_in_float(pixels, size, interpolation)


def resize_in_float(
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
