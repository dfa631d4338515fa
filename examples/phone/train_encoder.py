"""Trains an open_clip model from scratch on captioned screens of the phone.

    python -m examples.phone.train_encoder --size middle --out /tmp/encoder

Screens are drawn anew: every app as often as the launcher, on phones of their own, sometimes below
a notification. The wordings of `captions.HELD_OUT` are never used. See `examples.clip.training`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from examples.clip import model, training
from examples.clip.model import Size
from examples.phone import captions
from examples.phone.apps import APPS
from examples.phone.phone import make_env
from examples.phone.screens import PIXELS, draw
from examples.playroom.evaluate import evaluate
from schemas.locations import path_argument

SIZES: Final = {
    "tiny": Size(16, 16, 1, 1, pixels=PIXELS, patch=24),
    "small": Size(32, 32, 1, 1, pixels=PIXELS, patch=24),
    "middle": Size(48, 48, 2, 2, pixels=PIXELS, patch=24),
    "large": Size(112, 112, 4, 2, pixels=PIXELS, patch=24),
}
CHECK_SEED: Final = 1_000_003  # of the phones that no encoder was trained on

_README = """\
# Phone encoder `{size}`

An open_clip model of {parameters:,} parameters (float16) for 96x96 screens of the phone. Load it as
`local-dir:` and this directory.

Made in {seconds:.0f} s by

    python -m examples.phone.train_encoder --out DIR {flags}

Measured after rounding to float16, with the default softmax reward (temperature 1/logit_scale,
negatives: the other apps and the null prompt) on {checked} screens of phones that were not trained
on:

```text
{report}
```
"""


def screens(count: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draws screens of phones of their own.

    Args:
        count: N.
        seed: of the phones.

    Returns:
        ``(N, 96, 96, 3) uint8``, and which of the apps is open, ``(N, 20) uint8``.
    """
    rng = np.random.default_rng([seed, 7])
    phone = make_env()
    frames = np.empty((count, PIXELS, PIXELS, 3), np.uint8)
    truth = np.zeros((count, len(APPS)), np.uint8)
    for place in range(count):
        phone.reset(seed=int(rng.integers(2**31)))
        app = int(rng.integers(-3, len(APPS)))
        phone.show(None if app < 0 else app, banner=rng.random() < 0.1)
        frames[place] = draw(phone.shown)
        if app >= 0:
            truth[place, app] = 1
    return frames, truth


def captioned(views: int, seed: int) -> training.Captioned:
    """What an encoder learns from: each app, and that none is open."""
    frames, truth = screens(views, seed)
    holds = np.concatenate([truth, ~truth.any(axis=1, keepdims=True)], axis=1).astype(np.float32)
    return training.Captioned(
        holds, lambda rows: model.pixels(frames[rows]), captions.training_texts()
    )


def probabilities(
    images: npt.NDArray[np.float32], texts: npt.NDArray[np.float32], temperature: float
) -> npt.NDArray[np.float64]:
    """Returns the softmax reward, where every goal's negatives are all other texts.

    Args:
        images: ``(N, D)``, unit norm.
        texts: ``(A + 1, D)``, unit norm; the last is the null prompt.
        temperature: divides the cosines.
    """
    logits = (images @ texts.T).astype(np.float64) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return shares[:, :-1]


def report(directory: Path, count: int) -> str:
    """Returns the figures of an encoder on fresh screens, as text."""
    frames, truth = screens(count, CHECK_SEED)
    network, tokenizer = model.load_model(directory)
    start = time.monotonic()
    images = model.embed_frames(network, frames)
    rate = count / (time.monotonic() - start)
    temperature = 1 / network.logit_scale.exp().item()
    lines = [f"{count} screens, {rate:.0f} frames/s, temperature 1/{1 / temperature:.2f}"]
    for name, texts_of in (
        ("goals.yaml", captions.goal_texts),
        ("held-out phrasings", captions.held_out_texts),
    ):
        said = [*(texts_of(app) for app in range(len(APPS))), [captions.NULLS[0]]]
        texts = np.stack([_mean(network, tokenizer, own) for own in said])
        scores = probabilities(images, texts, temperature)
        result = evaluate(truth, scores, ["open"] * len(APPS))
        found = f"{result.macro_average_precision:.4f}, base rate {result.base_rate:.4f}"
        lines.append(f"{name}: macro average precision {found}")
    return "\n".join(lines)


def _mean(network: Any, tokenizer: Any, texts: list[str]) -> npt.NDArray[np.float32]:
    mean = model.embed_texts(network, tokenizer, texts).mean(axis=0)
    unit: npt.NDArray[np.float32] = mean / np.linalg.norm(mean)
    return unit


def train(
    out: Path, size: str, recipe: training.Recipe, *, views: int, checked: int = 4000
) -> None:
    """Trains and saves an encoder, with a README that says what it reaches."""
    start = time.monotonic()
    network = training.train(out, SIZES[size], recipe, lambda: captioned(views, recipe.seed))
    training.say("checking on fresh phones")
    flags = f"--size {size} --steps {recipe.steps} --views {views} --batch {recipe.batch} "
    flags += f"--learning-rate {recipe.learning_rate:g} --seed {recipe.seed}"
    text = _README.format(
        size=size,
        parameters=model.parameter_count(network),
        seconds=time.monotonic() - start,
        flags=flags,
        checked=checked,
        report=report(out, checked),
    )
    (out / "README.md").write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.phone.train_encoder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=list(SIZES), default="middle", help="preset")
    parser.add_argument("--out", type=path_argument, required=True, help="directory to write")
    parser.add_argument("--steps", type=int, default=1500, help="optimizer steps (default: 1500)")
    parser.add_argument("--views", type=int, default=20_000, help="screens (default: 20000)")
    parser.add_argument("--batch", type=int, default=128, help="screens per step (default: 128)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="peak (default: 0.003)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(argv)
    recipe = training.Recipe(
        options.steps, options.batch, options.learning_rate, options.seed, options.threads
    )
    train(options.out, options.size, recipe, views=options.views)
    sys.stdout.write(f"{options.out}: open it as local-dir:{options.out}\n")


if __name__ == "__main__":
    main()
