"""Where an encoder runs, and in which precision: what there is, or an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import torch

from schemas.encoders import Precision
from schemas.errors import EncoderError

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(name: str) -> torch.device:
    """Turn a device name into a device that exists.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        EncoderError: If torch cannot use it; never another device in its place.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = named_device(name)
    problem = _device_problem(device)
    if problem:
        raise EncoderError(
            f"device {name!r}: {problem}; use --device cpu, or --device auto for what there is"
        )
    return device


def named_device(name: str) -> torch.device:
    """The device of a name, which need not exist here.

    Raises:
        EncoderError: there is none of that name.
    """
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise EncoderError(f"device {name!r}: expected auto, cpu, cuda, cuda:N or mps")
    return torch.device(name)


def device_is_here(name: str) -> bool:
    """Whether torch can use a device on this machine; `auto` is whatever it can use.

    Raises:
        EncoderError: as `named_device`.
    """
    return name == "auto" or _device_problem(named_device(name)) is None


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


def choose_precision(device: torch.device) -> tuple[Precision, str]:
    """What `auto` means: the fastest precision that does not move rewards.

    A reward is a score compared with a threshold. float16 in the tower's blocks moves scores no
    further than storing embeddings in float16 does; bfloat16, with three bits less, moves them
    ten times as far, and flips rewards (`benchmarks.precision`). It is for who asks for it.

    Args:
        device: Where the model will run.

    Returns:
        The precision, and the reason in words.
    """
    if device.type == "cuda":
        return "float16", "auto: fast on a GPU, and moves scores by less than 0.01"
    if device.type != "cpu":
        return "float32", f"auto: nothing else was measured on {device.type}"
    if native := native_bfloat16():
        return "float32", f"auto: bfloat16 is faster here ({native}), but flips rewards"
    return "float32", "auto: a CPU without native bfloat16 has nothing faster"


def native_bfloat16(cpu: Mapping[str, Any] | None = None) -> str | None:
    """The CPU's instructions for bfloat16, by torch's name; None: it has none, and is slow.

    Args:
        cpu: What the CPU can do, by torch's names; None asks torch.
    """
    known = torch.cpu.get_capabilities() if cpu is None else cpu
    return next((name for name in ("amx_bf16", "avx512_bf16") if known.get(name, False)), None)


def _gpu_has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def check_precision(device: torch.device, precision: str) -> Precision:
    """Accept a precision that a device can compute in.

    Any CPU is accepted for any precision, however slow, so that embeddings can be reproduced.

    Raises:
        EncoderError: If the precision is unknown, or the device has no such arithmetic.
    """
    known = known_precision(precision)
    if precision == "bfloat16" and device.type == "cuda" and not _gpu_has_bfloat16():
        raise EncoderError("precision bfloat16: this GPU has none; use float16, float32 or auto")
    return known


def known_precision(precision: str) -> Precision:
    """Accept the name of a precision.

    Raises:
        EncoderError: If there is none of that name.
    """
    if precision not in DTYPES:
        known = ", ".join(["auto", *DTYPES])
        raise EncoderError(f"precision {precision!r}: expected one of {known}")
    return cast(Precision, precision)
