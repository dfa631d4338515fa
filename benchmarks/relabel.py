"""`relabel` end to end against the bare encoder: the price of everything around the forward pass.

    python -m benchmarks.relabel [--encoder ViT-B-32|tiny] [--height 256 --width 256]

The bare encoder runs `forward` on a batch that lies in memory, normalised; same batch, threads and
precision. End to end is a job from JPEG records to committed rewards of 10 goals, in this process,
from the moment the encoder is loaded: the start of the pipeline counts, most of a second.
"decode bound" is what the cores could do if decoding and resizing were all added to the forward.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import torch

from benchmarks import common
from pipelines import jobs
from relabel.encoders.open_clip import OpenClipEncoder, load_encoder
from relabel.encoders.protocol import LoadEncoder
from relabel.encoders.registry import encoder_loader
from relabel.frames.decoding import decode_frame
from relabel.jobs.options import (
    EmbedOptions,
    JobOptions,
    ScoreOptions,
)
from relabel.jobs.report import JobReport
from relabel.testing import encoded_image


def job(
    source: Path, store: Path, load: LoadEncoder, goals: Path, batch: int = 64, decode: int = 2
) -> JobReport:
    """One profiled job in this process; the clock starts when encoder and goals are ready."""
    return jobs.relabel(
        JobOptions(store=str(store), profile=True),
        EmbedOptions(
            source=str(source),
            split="train",
            cameras=("observation.image",),
            encoder=load,
            batch_size=batch,
            decode_threads=decode,
        ),
        ScoreOptions(encoder=load, goals=str(goals)),
    )


def bare(encoder: OpenClipEncoder, pixels: torch.Tensor, batches: int) -> float:
    """Frames per second of `forward` on a batch in memory, its result brought to the CPU."""

    def run() -> None:
        for _ in range(batches):
            encoder.forward(pixels).cpu()

    return batches * len(pixels) / common.seconds(run)


def decode_and_resize(encoder: OpenClipEncoder, images: list[bytes]) -> float:
    """Seconds of one core per frame."""

    def run() -> None:
        encoder.prepare([decode_frame(image) for image in images])

    return min(common.seconds(run) for _ in range(3)) / len(images)


def main() -> None:
    """Runs and prints the comparison."""
    parser = common.options(__doc__, repeats=3)
    parser.add_argument("--encoder", default="ViT-B-32", help="architecture, or tiny")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--decode-threads", type=int, default=2)
    parser.add_argument("--frames", type=int, help="default: 768, or 12,800 for tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    tiny = options.encoder == "tiny"
    frames = options.frames or (12_800 if tiny else 768)
    if options.quick:
        frames, options.repeats, options.batch = (1280 if tiny else 32), 1, min(options.batch, 16)
    size = (options.height, options.width)
    with common.folder() as folder:
        name = common.TINY if tiny else common.random_vit(folder, options.encoder)
        load = encoder_loader(name, options.device, options.precision)
        encoder = load_encoder(name, device=options.device, precision=options.precision)
        source = common.jpeg_source(folder / "1.0.0", episodes=16, steps=frames // 16, size=size)
        goals = common.goals_file(folder / "goals.yaml", 10)
        photos = list(common.photos(options.batch, *size))
        pixels = encoder.preprocess(photos)
        batches = max(1, frames // options.batch)
        bare(encoder, pixels, 1)  # warm
        reports: list[JobReport] = []

        def whole() -> float:
            store = folder / f"store-{len(reports)}"
            reports.append(job(source, store, load, goals, options.batch, options.decode_threads))
            return reports[-1].frames_new / reports[-1].elapsed_s

        cases = {"bare": lambda: bare(encoder, pixels, batches), "relabel": whole}
        found = common.interleaved(cases, options.repeats)
        preparing = decode_and_resize(encoder, [encoded_image(p, "JPEG") for p in photos])
    rates = common.medians(found)
    cores = torch.get_num_threads()
    bound = 1 / (1 + preparing * rates["bare"] / cores)
    ratio = common.paired_ratio(found, "relabel", "bare")
    slices = statistics.median(
        r.frames_new / r.profile.slices_s / rates["bare"] for r in reports if r.profile
    )
    profile = reports[-1].profile
    common.show(
        f"{options.encoder}, {encoder.spec.precision}, {size[0]}x{size[1]} JPEG, {frames} frames",
        ("", "frames/s", "ratio to bare"),
        [
            ("bare forward", rates["bare"], 1.0),
            ("relabel, whole job", rates["relabel"], ratio),
            ("relabel, inside slices", slices * rates["bare"], slices),
            ("bound: decoding on the same cores", bound * rates["bare"], bound),
        ],
        {
            "frames_per_s": found,
            "ratio": ratio,
            "ratio_in_slices": slices,
            "bound": bound,
            "decode_and_resize_ms": 1000 * preparing,
            "threads": torch.get_num_threads(),
            "profile": profile.model_dump() if profile else None,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
