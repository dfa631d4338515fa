"""Trains an open_clip model from scratch on captioned playroom views.

    python -m examples.playroom.train_encoder --size small --out /tmp/encoder

Every batch meets one wording of every concept: the goals, and the nulls that say that no goal of a
family holds. Each pair of frame and caption is a yes or a no, learned with a sigmoid (as SigLIP
does): a frame can have several right captions, or none of a family. So every Place caption whose
things are seen but not side by side is a hard negative. Frames of the held-out bucket
(`view.is_held_out`) and the wordings of `captions.HELD_OUT` are never used.

The model is written as a `local-dir:` model of open_clip: config, float16 weights, vocabulary.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from examples.playroom import captions, check_encoder, model, vocabulary
from examples.playroom.scenes import Views, training_views
from schemas.locations import path_argument

_README = """\
# Playroom encoder `{size}`

An open_clip model of {parameters:,} parameters (float16) with a vocabulary of {vocabulary} pieces,
for 84x84 frames of the playroom. Load it as `local-dir:` and this directory; its tokenizer needs
`bpe_vocab.txt.gz`, which open_clip does not find by itself.

Made in {seconds:.0f} s by

    python -m examples.playroom.train_encoder --out DIR \\
        {flags}

Measured after rounding to float16, with the default softmax reward (temperature 1/logit_scale,
negatives of goals.yaml) on frames of fresh episodes whose pixel hash is in the held-out bucket;
again by `python -m examples.playroom.check_encoder DIR --frames {checked}`:

```text
{report}
```

"goals.yaml" scores the wordings of goals.yaml, which are among the captions trained on; "held-out
phrasings" scores wordings (`captions.HELD_OUT`) that were not. A held-out frame differs from every
training frame in at least one tile; the kind of room and its nine things are the same.
"""


@dataclass(frozen=True)
class Options:
    """How an encoder is trained."""

    size: str
    out: Path
    steps: int = 1500
    views: int = 60_000
    batch: int = 128
    learning_rate: float = 3e-3
    seed: int = 0
    threads: int = 1
    checked_frames: int = 10_000


class Captions:
    """Draws one wording of every concept."""

    def __init__(self, tokenizer: Any, rng: np.random.Generator) -> None:
        texts = captions.training_texts()
        self._counts = np.array([len(wordings) for wordings in texts])
        self._starts = np.cumsum(self._counts) - self._counts
        self._tokens = tokenizer([wording for wordings in texts for wording in wordings])
        self._rng = rng

    def draw(self) -> torch.Tensor:
        """Returns the tokens of one wording per concept, ``(CONCEPT_COUNT, context) int64``."""
        rows: torch.Tensor = self._tokens[self._starts + self._rng.integers(self._counts)]
        return rows


class Losses:
    """The three parts of the loss, with one learned anchor per concept in the embedding space.

    - frames against anchors, and frames against captions: is the caption true of the frame?
      (sigmoid over all pairs; summed over concepts, mean over frames);
    - captions against anchors: 1 - cosine, summed over concepts. It pulls every wording of a
      concept to the concept's anchor.

    Without anchors a text tower that does not yet tell captions apart holds up the image tower, and
    the other way round: a macro average precision of 0.10 after 1,200 steps (with: 0.40 after 350).
    """

    def __init__(self, network: Any, embedding: int) -> None:
        self._network = network
        self.anchors = torch.nn.Parameter(torch.randn(captions.CONCEPT_COUNT, embedding))

    def __call__(
        self, frames: torch.Tensor, tokens: torch.Tensor, holds: torch.Tensor
    ) -> torch.Tensor:
        """Returns the loss of a batch, a scalar.

        Args:
            frames: ``(B, 3, 84, 84) float32``.
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


def train(options: Options) -> None:
    """Trains and saves an encoder; the same options, threads and machine give the same weights."""
    start = time.monotonic()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    texts = [text for wordings in captions.training_texts() for text in wordings]
    vocab_size = vocabulary.write_vocabulary(options.out / vocabulary.BPE_FILE, texts)
    network: Any = model.new_model(options.out, model.SIZES[options.size], vocab_size)
    _say(f"{sum(value.numel() for value in network.parameters())} parameters, drawing views")
    views = training_views(options.views, options.seed)
    _fit(network, views, options)
    model.save_weights(network, options.out)
    _say("checking on held-out frames")
    report = _readme(options, vocab_size, network, time.monotonic() - start)
    (options.out / "README.md").write_text(report, encoding="utf-8")


def _readme(options: Options, vocab_size: int, network: Any, seconds: float) -> str:
    parameters = sum(value.numel() for value in network.parameters())
    flags = f"--size {options.size} --steps {options.steps} --views {options.views}"
    flags += f" --batch {options.batch} --learning-rate {options.learning_rate:g}"
    flags += f" --seed {options.seed} --threads {options.threads}"
    return _README.format(
        size=options.size,
        parameters=parameters,
        vocabulary=vocab_size,
        flags=flags,
        seconds=seconds,
        report=check_encoder.report(options.out, options.checked_frames),
        checked=options.checked_frames,
    )


def _fit(network: Any, views: Views, options: Options) -> None:
    rng = np.random.default_rng(options.seed)
    holds = captions.concept_truth(views.truth, views.nothing_seen).astype(np.float32)
    draws = Captions(model.tokenizer_of(options.out), rng)
    losses = Losses(network, model.SIZES[options.size].embedding)
    weights = [*network.parameters(), losses.anchors]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.learning_rate, total_steps=options.steps, pct_start=0.1
    )
    start = time.monotonic()
    network.train()
    for step in range(1, options.steps + 1):
        rows = rng.integers(len(views.tiles), size=options.batch)
        frames = model.tile_pixels(views.tiles[rows])
        loss = losses(frames, draws.draw(), torch.from_numpy(holds[rows]))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == options.steps:
            passed, scale = time.monotonic() - start, network.logit_scale.exp().item()
            done = f"step {step}/{options.steps}, {passed:.0f} s"
            _say(f"{done}, loss {loss.item():.4f}, logit scale {scale:.1f}")


def _say(text: str) -> None:
    sys.stderr.write(f"train_encoder: {text}\n")
    sys.stderr.flush()


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the layout of the description and shows defaults."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.playroom.train_encoder",
        description=__doc__,
        formatter_class=_Help,
    )
    known = Options("small", Path())
    parser.add_argument("--size", choices=sorted(model.SIZES), default="small", help="preset")
    parser.add_argument("--out", type=path_argument, required=True, help="model directory to write")
    parser.add_argument("--steps", type=int, default=known.steps, help="optimizer steps")
    parser.add_argument("--views", type=int, default=known.views, help="training views")
    parser.add_argument("--batch", type=int, default=known.batch, help="views per step")
    parser.add_argument("--learning-rate", type=float, default=known.learning_rate, help="peak")
    parser.add_argument("--seed", type=int, default=known.seed, help="of views, weights, batches")
    parser.add_argument("--threads", type=int, default=known.threads, help="CPU threads")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and trains."""
    options = Options(**vars(_parser().parse_args(argv)))
    train(options)
    sys.stdout.write(f"{options.out}: open it as local-dir:{options.out}\n")


if __name__ == "__main__":
    main()
