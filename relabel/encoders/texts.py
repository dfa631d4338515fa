"""The text tower of an open_clip model, without the padding.

A CLIP tower reads 77 tokens, of which a goal has a dozen. It is causal, and its embedding is
taken at the end-of-text token (Radford et al. 2021, arXiv 2103.00020, section 2.4), so what is
behind that token cannot reach the embedding. Leaving it out gives the same embedding, up to
rounding, for a fraction of the arithmetic. Towers of another kind read all tokens.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn


class TextTower(nn.Module):
    """The texts' part of a model; shares its weights.

    Args:
        model: open_clip's, in eval mode, on its device.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # A model has the tower's parts itself or keeps them in `text`.
        inside = hasattr(model, "text")
        tower = model.text if inside else model
        pool = getattr(tower, "pool_type" if inside else "text_pool_type", None)
        self._prefix = "model.text." if inside else "model."
        self._short = pool == "argmax" and _is_causal(tower)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed tokens as they are."""
        return cast(torch.Tensor, self.model.encode_text(tokens))

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed tokenized texts.

        Args:
            tokens: (N, context length) with padding, N at least 1.

        Returns:
            (N, D) of any norm, in the model's precision.
        """
        if not self._short:
            return self.forward(tokens)
        length = int(tokens.argmax(dim=-1).max()) + 1  # the end-of-text token is the highest
        places, mask = f"{self._prefix}positional_embedding", f"{self._prefix}attn_mask"
        shorter = {
            places: self.get_parameter(places)[:length],
            mask: self.get_buffer(mask)[:length, :length],
        }
        called = torch.func.functional_call(self, shorter, (tokens[:, :length],))
        return cast(torch.Tensor, called)


def _is_causal(tower: Any) -> bool:
    """Whether a token sees the earlier ones alone, and no class token follows them."""
    mask = getattr(tower, "attn_mask", None)
    if mask is None or getattr(tower, "cls_emb", None) is not None:
        return False
    later = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool(torch.isneginf(mask[later]).all())
