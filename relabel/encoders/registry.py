"""Which encoders there are, by the form of their names. A new kind is a class and a line here."""

from __future__ import annotations

from typing import Final

from relabel.encoders.factory import FactoryLoader
from relabel.encoders.open_clip_loader import OpenClipLoader
from relabel.encoders.protocol import EncoderLoader

# The first that takes a name loads it; the last one takes every name, and says what it knows.
ENCODERS: Final[tuple[type[EncoderLoader], ...]] = (
    FactoryLoader,  # my_module:factory, my_module:factory(width=4)
    OpenClipLoader,  # NAME:PRETRAINED_TAG, NAME:/path/to/checkpoint, local-dir:/path
)


def encoder_loader(
    name: str,
    device: str = "cpu",
    precision: str = "auto",
    truncate_texts: bool = False,
    preprocess: str | None = None,
) -> EncoderLoader:
    """A picklable function that loads an encoder; loads none yet.

    Args:
        name: as the user gave it to `--encoder`.
        device: `cpu`, `cuda`, `cuda:N`, `mps` or `auto`.
        precision: `float32`, `bfloat16`, `float16` or `auto`.
        truncate_texts: cut texts that are longer than the model reads.
        preprocess: what a checkpoint file was trained with, where nothing tells it.
    """
    kind = next(kind for kind in ENCODERS if kind.takes(name))
    return kind(name, device, precision, truncate_texts, preprocess)
