"""The image tower in a lower precision than float32, but for its last steps.

What a cosine is computed from is then rounded once, behind the tower's blocks, instead of again at
the last normalisation and projection. The text tower is never lowered: its few texts cost nothing,
and every reward depends on them.
"""

from __future__ import annotations

from typing import Any

import torch

# The last steps, by the tower's kind: open_clip's own, its ResNet, and a tower of timm behind
# which open_clip has a head.
_LAST = ("ln_post", "proj", "attnpool", "head")
_LAST_OF_TIMM = ("trunk.attn_pool", "trunk.fc_norm", "trunk.head")  # of its vision transformers


def lower_image_tower(visual: Any, dtype: torch.dtype) -> None:
    """Cast an image tower in place, and leave its last steps in float32.

    Args:
        visual: open_clip's image tower, in float32.
        dtype: float32 changes nothing.
    """
    if dtype == torch.float32:
        return
    kept = _last_steps(visual)
    inside = tuple(f"{step}." for step in kept)
    for name, tensor in (*visual.named_parameters(), *visual.named_buffers()):
        if tensor.is_floating_point() and name not in kept and not name.startswith(inside):
            tensor.data = tensor.data.to(dtype)
    for name, module in visual.named_modules():
        if name in kept:
            module.register_forward_pre_hook(_raise_to_float32)


def _last_steps(visual: Any) -> set[str]:
    """Names of the modules and parameters behind the blocks of a tower."""
    names = [*_LAST]
    if type(getattr(visual, "trunk", None)).__name__ == "VisionTransformer":
        names += _LAST_OF_TIMM
    return set(names)


def _raise_to_float32(_: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.float() if isinstance(x, torch.Tensor) else x for x in inputs)
