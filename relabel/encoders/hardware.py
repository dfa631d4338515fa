"""What torch can compute with on this machine, in words."""

from __future__ import annotations

from typing import Any, Final

import torch

from relabel.encoders.device import choose_precision, resolve_device
from relabel.encoders.open_clip_import import import_open_clip, operators_are_stand_ins

# Beginnings of names: x86 and Arm.
_VECTOR: Final = ("amx", "avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "bf16", "neon", "sve")
_torch: Any = torch  # torch.cuda and torch.backends are typed in part


def devices() -> list[str]:
    """Every device that --device can name, with what it is."""
    cuda = range(_torch.cuda.device_count())
    found = [f"cuda:{place} ({_torch.cuda.get_device_name(place)})" for place in cuda]
    if _torch.backends.mps.is_available():
        found.append("mps (Apple GPU)")
    return ["cpu", *found]


def cpu_features() -> list[str]:
    """Instructions of the CPU that speed of matrix products depends on, by torch's names."""
    known = _torch.cpu.get_capabilities()
    return sorted(name for name, has in known.items() if has is True and name.startswith(_VECTOR))


def automatic() -> tuple[str, str, str]:
    """What `auto` picks: the device, the precision, and why that precision."""
    device = resolve_device("auto")
    precision, reason = choose_precision(device)
    return str(device), precision, reason


def open_clip_pairing() -> str:
    """Whether open_clip loads beside this torch and torchvision.

    Raises:
        ImportError: it does not, or one of them is missing.
        RuntimeError: torchvision is of another torch.
    """
    open_clip = import_open_clip()
    told = f"open_clip {open_clip.__version__} loads beside torch {torch.__version__}"
    if operators_are_stand_ins():
        return f"{told}; torchvision's compiled operators do not, and are not needed"
    return told
