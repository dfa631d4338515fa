"""Single levers, each against the code as it is: forward pass, decoding, repeated frames.

    python -m benchmarks.levers [--source DIR ...]

Forward: an open_clip architecture with random weights on a batch in memory: as it is, channels
last, compiled, and a short tail as it is or padded to the batch. Decoding: Pillow as it is, with
the copy of `convert`, and at reduced scale (`draft`), whose pixels are then compared after
resizing. Repeated frames: of each `--source`, the share of frames whose encoded bytes came before
in the same slice.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import common
from relabel.encoder import OpenClipEncoder, load_encoder
from relabel.frames import decode_frame
from relabel.source import Episode, Source
from relabel.testing import encoded_image
from schemas.slices import plan_slices


def forwards(encoder: OpenClipEncoder, batch: int) -> dict[str, Callable[[], float]]:
    """Seconds per frame of the forward pass, by lever."""
    frames = list(common.photos(batch, 256, 256))
    pixels = encoder.preprocess(frames)
    last = pixels.contiguous(memory_format=torch.channels_last)
    few = pixels[: batch * 5 // 8]
    compiled = torch.compile(encoder._model.encode_image)

    def compiled_forward(given: torch.Tensor) -> None:
        with torch.inference_mode():
            compiled(given)

    compiled_forward(pixels)  # compiles
    return {
        "as it is": lambda: common.seconds(lambda: encoder.forward(pixels)) / batch,
        "channels last": lambda: common.seconds(lambda: encoder.forward(last)) / batch,
        "torch.compile": lambda: common.seconds(lambda: compiled_forward(pixels)) / batch,
        "tail of 5/8, not padded": lambda: common.seconds(lambda: encoder.forward(few)) / len(few),
        "tail of 5/8, padded": lambda: common.seconds(lambda: encoder.forward(pixels)) / len(few),
    }


def _converted(image: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened.convert("RGB"))


def _draft(image: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(image)) as opened:
        opened.draft("RGB", (size, size))
        return np.asarray(opened)


def decoders(images: list[bytes], size: int) -> dict[str, Callable[[], float]]:
    """Seconds per frame of decoding, by lever."""

    def each(decode: Callable[[bytes], object]) -> Callable[[], float]:
        return lambda: common.seconds(lambda: [decode(image) for image in images]) / len(images)

    return {
        "as it is": each(decode_frame),
        "with convert's copy": each(_converted),
        "at reduced scale": each(lambda image: _draft(image, size)),
    }


def reduced_scale_error(images: list[bytes], encoder: OpenClipEncoder) -> float:
    """Mean difference, in levels of 255, of the encoder's input after decoding at reduced scale."""
    size = encoder._transform.size[0]
    exact = encoder.prepare([decode_frame(image) for image in images]).float()
    reduced = encoder.prepare([_draft(image, size) for image in images]).float()
    return float((exact - reduced).abs().mean())


def repeated(directory: Path, split: str = "train") -> dict[str, float]:
    """Shares of frames that came before, in the same episode and in the same slice."""
    source = Source.open(str(directory), split)
    slices = plan_slices(split, source.spec.shard_lengths, source.default_episodes_per_slice())
    camera, frames, in_episode, in_slice = source.cameras[0], 0, 0, 0
    for piece in slices[:16]:
        seen: set[bytes] = set()
        for episode in source.read(piece, [camera]):
            if not isinstance(episode, Episode):
                continue
            own = [hashlib.sha256(image).digest() for image in episode.steps[camera]]
            frames += len(own)
            in_episode += len(own) - len(set(own))
            in_slice += sum(
                digest in seen or digest in itertools.islice(own, i) for i, digest in enumerate(own)
            )
            seen.update(own)
    return {"frames": frames, "in episode": in_episode / frames, "in slice": in_slice / frames}


def main() -> None:
    """Runs and prints the comparisons."""
    parser = common.options(__doc__)
    parser.add_argument("--encoder", default="ViT-B-32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--source", type=Path, nargs="*", default=[], help="RLDS directories")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.batch = 1, 8
    with common.folder() as folder:
        encoder = load_encoder(common.random_vit(folder, options.encoder))
        large = [encoded_image(frame, "JPEG") for frame in common.photos(32, 480, 640)]
        groups = {
            f"forward, {options.encoder}, batch {options.batch}": forwards(encoder, options.batch),
            "decode, 640x480": decoders(large, encoder._transform.size[0]),
        }
        error = reduced_scale_error(large, encoder)
        found = {
            group: common.interleaved(cases, options.repeats) for group, cases in groups.items()
        }
    rows = [
        (f"{group}: {name}", 1000 * s, common.paired_ratio(values, name, "as it is"))
        for group, values in found.items()
        for name, s in common.medians(values).items()
    ]
    shares = {str(directory): repeated(directory) for directory in options.source}
    rows += [
        (f"{name}: repeated in slice", "", share["in slice"]) for name, share in shares.items()
    ]
    common.show(
        f"levers; decoding at reduced scale moves the input by {error:.2f} of 255 on average",
        ("lever", "ms/frame", "ratio"),
        rows,
        {"s_per_frame": found, "reduced_scale_error": error, "repeated": shares},
        options.out,
    )


if __name__ == "__main__":
    main()
