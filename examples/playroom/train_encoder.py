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

from examples.clip import model, training
from examples.playroom import captions, check_encoder
from examples.playroom.encoder_sizes import SIZES, tile_pixels
from examples.playroom.scenes import training_views
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

    @property
    def recipe(self) -> training.Recipe:
        """What is not of the playroom alone."""
        return training.Recipe(self.steps, self.batch, self.learning_rate, self.seed, self.threads)


def train(options: Options) -> None:
    """Trains and saves an encoder; the same options, threads and machine give the same weights."""
    start = time.monotonic()
    network = training.train(
        options.out, SIZES[options.size], options.recipe, lambda: _captioned(options)
    )
    training.say("checking on held-out frames")
    report = _readme(options, network, time.monotonic() - start)
    (options.out / "README.md").write_text(report, encoding="utf-8")


def _captioned(options: Options) -> training.Captioned:
    views = training_views(options.views, options.seed)
    holds = captions.concept_truth(views.truth, views.nothing_seen).astype(np.float32)
    return training.Captioned(
        holds, lambda rows: tile_pixels(views.tiles[rows]), captions.training_texts()
    )


def _readme(options: Options, network: Any, seconds: float) -> str:
    flags = f"--size {options.size} --steps {options.steps} --views {options.views}"
    flags += f" --batch {options.batch} --learning-rate {options.learning_rate:g}"
    flags += f" --seed {options.seed} --threads {options.threads}"
    return _README.format(
        size=options.size,
        parameters=model.parameter_count(network),
        vocabulary=network.vocab_size,
        flags=flags,
        seconds=seconds,
        report=check_encoder.report(options.out, options.checked_frames),
        checked=options.checked_frames,
    )


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the layout of the description and shows defaults."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.playroom.train_encoder",
        description=__doc__,
        formatter_class=_Help,
    )
    known = Options("small", Path())
    parser.add_argument("--size", choices=sorted(SIZES), default="small", help="preset")
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
