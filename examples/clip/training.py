"""Trains a small open_clip model on frames of which it is known what is true.

A *concept* is something a caption can say; it has several wordings. Every batch meets one wording
of every concept. Each pair of frame and caption is a yes or a no, learned with a sigmoid (as SigLIP
does): a frame can have several right captions, or none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from examples.clip import model, vocabulary
from examples.clip.model import Size

Draw = Callable[[npt.NDArray[np.int64]], torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a model learns."""

    steps: int
    batch: int = 128  # frames of a step
    learning_rate: float = 3e-3  # at its peak
    seed: int = 0  # of weights and batches
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Captioned:
    """N frames, and which of C concepts are true of each."""

    holds: npt.NDArray[np.float32]  # (N, C) 0 or 1
    draw: Draw  # rows (B,) → the model's input (B, 3, S, S)
    texts: list[list[str]]  # C, the wordings of each concept


class Captions:
    """Draws one wording of every concept."""

    def __init__(self, texts: list[list[str]], tokenizer: Any, rng: np.random.Generator) -> None:
        self._counts = np.array([len(wordings) for wordings in texts])
        self._starts = np.cumsum(self._counts) - self._counts
        self._tokens = tokenizer([wording for wordings in texts for wording in wordings])
        self._rng = rng

    def draw(self) -> torch.Tensor:
        """Returns the tokens of one wording per concept, ``(C, context) int64``."""
        rows: torch.Tensor = self._tokens[self._starts + self._rng.integers(self._counts)]
        return rows


class Losses:
    """The three parts of the loss, with one learned anchor per concept in the embedding space.

    - frames against anchors, and frames against captions: is the caption true of the frame?
      (sigmoid over all pairs; summed over concepts, mean over frames);
    - captions against anchors: 1 - cosine, summed over concepts. It pulls every wording of a
      concept to the concept's anchor.

    Without anchors a text tower that does not yet tell captions apart holds up the image tower, and
    the other way round: in the playroom a macro average precision of 0.10 after 1,200 steps (with:
    0.40 after 350).
    """

    def __init__(self, network: Any, concepts: int, embedding: int) -> None:
        self._network = network
        self.anchors = torch.nn.Parameter(torch.randn(concepts, embedding))

    def __call__(
        self, frames: torch.Tensor, tokens: torch.Tensor, holds: torch.Tensor
    ) -> torch.Tensor:
        """Returns the loss of a batch, a scalar.

        Args:
            frames: ``(B, 3, S, S) float32``.
            tokens: one wording per concept, ``(C, context) int64``.
            holds: ``(B, C) float32``, 1 where the concept is true of the frame.
        """
        image = self._network.encode_image(frames, normalize=True)
        text = self._network.encode_text(tokens, normalize=True)
        anchors = functional.normalize(self.anchors, dim=-1)
        astray = (1 - (text * anchors.detach()).sum(dim=1)).sum()
        total: torch.Tensor
        total = self._pairs(image, anchors, holds) + self._pairs(image, text, holds) + astray
        return total

    def _pairs(self, image: torch.Tensor, said: torch.Tensor, holds: torch.Tensor) -> torch.Tensor:
        scale, bias = self._network.logit_scale.exp(), self._network.logit_bias
        logits = scale * image @ said.T + bias
        loss = functional.binary_cross_entropy_with_logits(logits, holds, reduction="none")
        summed: torch.Tensor = loss.sum(dim=1).mean()
        return summed


def train(out: Path, size: Size, recipe: Recipe, views: Callable[[], Captioned]) -> Any:
    """Trains a model and writes it as a `local-dir:` model: config, float16 weights, vocabulary.

    The same arguments, threads and machine give the same weights.

    Args:
        out: directory to write.
        size: of the model.
        recipe: of the training.
        views: draws what it learns from.

    Returns:
        The network.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    out.mkdir(parents=True, exist_ok=True)
    captioned = views()
    texts = [text for wordings in captioned.texts for text in wordings]
    vocab_size = vocabulary.write_vocabulary(out / vocabulary.BPE_FILE, texts)
    network = model.new_model(out, size, vocab_size)
    say(f"{model.parameter_count(network)} parameters, {len(captioned.holds)} views")
    _fit(network, size, model.tokenizer_of(out), captioned, recipe)
    model.save_weights(network, out)
    return network


def _fit(network: Any, size: Size, tokenizer: Any, captioned: Captioned, recipe: Recipe) -> None:
    rng = np.random.default_rng(recipe.seed)
    draws = Captions(captioned.texts, tokenizer, rng)
    losses = Losses(network, len(captioned.texts), size.embedding)
    weights = [*network.parameters(), losses.anchors]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    start = time.monotonic()
    network.train()
    for step in range(1, recipe.steps + 1):
        rows = rng.integers(len(captioned.holds), size=recipe.batch)
        holds = torch.from_numpy(captioned.holds[rows])
        loss = losses(captioned.draw(rows), draws.draw(), holds)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == recipe.steps:
            passed, scale = time.monotonic() - start, network.logit_scale.exp().item()
            done = f"step {step}/{recipe.steps}, {passed:.0f} s"
            say(f"{done}, loss {loss.item():.4f}, logit scale {scale:.1f}")


def say(text: str) -> None:
    """A line of progress on standard error."""
    sys.stderr.write(f"train_encoder: {text}\n")
    sys.stderr.flush()
