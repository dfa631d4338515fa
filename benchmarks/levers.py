"""Single levers, each against the code as it is: forward pass, decoding, repeated frames.

    python -m benchmarks.levers [--source DIR ...]

Forward: an open_clip architecture with random weights on a batch in memory: as it is, channels
last, compiled, in bfloat16, and a short tail as it is or padded to the batch. Decoding: Pillow as
it is, with the copy of `convert`, TensorFlow's decoder, and at reduced scale (`draft`), whose
pixels are then compared after resizing. Texts: the tower with and without padding. Repeated frames:
a job with the shipped tiny encoder on frames that are all different, and on as many of which each
comes twice; and of each `--source`, the share of frames whose encoded bytes came before in the same
slice.
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
from benchmarks.relabel import job
from relabel.encoders.open_clip import OpenClipEncoder, load_encoder
from relabel.encoders.registry import encoder_loader
from relabel.frames.decoding import decode_frame
from relabel.source.source import Episode, Source
from relabel.testing import encoded_image
from schemas.locations import path_argument
from schemas.slices import plan_slices


def forwards(name: str, encoder: OpenClipEncoder, batch: int) -> dict[str, Callable[[], float]]:
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
    half = load_encoder(name, precision="bfloat16")
    halves = half.preprocess(frames)
    return {
        "as it is": lambda: common.seconds(lambda: encoder.forward(pixels)) / batch,
        "channels last": lambda: common.seconds(lambda: encoder.forward(last)) / batch,
        "torch.compile": lambda: common.seconds(lambda: compiled_forward(pixels)) / batch,
        "bfloat16": lambda: common.seconds(lambda: half.forward(halves)) / batch,
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

    import tensorflow as tf

    def each(decode: Callable[[bytes], object]) -> Callable[[], float]:
        return lambda: common.seconds(lambda: [decode(image) for image in images]) / len(images)

    return {
        "as it is": each(decode_frame),
        "with convert's copy": each(_converted),
        "TensorFlow": each(lambda image: tf.io.decode_jpeg(image, dct_method="INTEGER_ACCURATE")),
        "at reduced scale": each(lambda image: _draft(image, size)),
    }


def texts(encoder: OpenClipEncoder, count: int) -> dict[str, Callable[[], float]]:
    """Seconds per text of the text tower, by lever."""
    named = [f"put thing {i} into place {i}" for i in range(count)]

    def padded() -> None:
        with torch.inference_mode():
            encoder._model.encode_text(encoder._tokenizer(named))

    return {
        "as it is": lambda: common.seconds(lambda: encoder.encode_texts(named)) / count,
        "with padding": lambda: common.seconds(padded) / count,
    }


def jobs_of(folder: Path, frames: int) -> dict[str, Callable[[], float]]:
    """Seconds per frame of a job inside its slices, by how often a frame comes."""
    load = encoder_loader(common.TINY, "cpu", "float32")
    goals, turn = common.goals_file(folder / "goals.yaml", 1), itertools.count()

    def run(times: int) -> Callable[[], float]:
        place = folder / f"times-{times}" / "1.0.0"
        source = common.jpeg_source(
            place, episodes=16, steps=frames // 16, size=(256, 256), times=times
        )

        def timed() -> float:
            done = job(source, folder / f"store-{next(turn)}", load, goals)
            return done.profile.slices_s / done.frames_new if done.profile else float("nan")

        return timed

    return {"as it is": run(1), "each frame twice": run(2)}


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
    parser.add_argument(
        "--source", type=path_argument, nargs="*", default=[], help="RLDS directories"
    )
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.batch = 1, 8
    with common.folder() as folder:
        name = common.random_vit(folder, options.encoder)
        encoder = load_encoder(name, precision="float32")
        large = [encoded_image(frame, "JPEG") for frame in common.photos(32, 480, 640)]
        groups = {
            f"forward, {options.encoder}, batch {options.batch}": forwards(
                name, encoder, options.batch
            ),
            "decode, 640x480": decoders(large, encoder._transform.size[0]),
            f"texts, {options.encoder}": texts(encoder, options.batch),
            "job, tiny, 256x256": jobs_of(folder, 640 if options.quick else 6400),
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
        ("lever", "ms each", "ratio"),
        rows,
        {"s_per_frame": found, "reduced_scale_error": error, "repeated": shares},
        options.out,
    )


if __name__ == "__main__":
    main()
