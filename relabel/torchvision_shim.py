"""Lets a CPU-only torch live with a torchvision that was built for CUDA.

open_clip imports torchvision for its image transforms. The registry's torchvision is
built for CUDA: beside a CPU-only torch its compiled operators cannot be loaded, and its
import stops at "operator torchvision::nms does not exist", because it registers shape
functions for two operators that nobody defined. Defining the two schemas first, without
kernels, lets the import pass. The transforms never call them; a detector that did would
get torch's own error for an operator without a kernel.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_torch: Any = torch  # torch.library and torch.ops carry no types
# A Library withdraws its definitions when it is collected, so it lives as long as the module.
_kept: list[Any] = []


def prepare_torchvision() -> bool:
    """Define the missing torchvision operators, if torchvision could not be imported without.

    Call it before the first import of torchvision or open_clip. It is cheap, changes
    nothing where it is not needed, and may be called any number of times.

    Returns:
        True if this call defined the operators, False if there was nothing to do.
    """
    if _kept or "torchvision" in sys.modules or torch.version.cuda is not None:
        return False
    if hasattr(torch.ops.torchvision, "nms") or not _operators_fail_to_load():
        return False
    library = _torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _kept.append(library)
    return True


def _operators_fail_to_load() -> bool:
    """Whether torchvision is installed with a compiled part that this torch cannot load."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False  # not installed: its own ImportError says so better
    # The same call that torchvision makes at import, where it swallows the error.
    try:
        for library in sorted(Path(spec.origin).parent.glob("_C.*")):
            _torch.ops.load_library(str(library))
    except (ImportError, OSError):
        return True
    return not hasattr(torch.ops.torchvision, "nms")
