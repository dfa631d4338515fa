"""What the frames that an encoder was trained on are like, for `vlm-relabel audit`.

    python -m examples.playroom.reference examples/playroom/encoders/small

Draws the views that the encoder was trained on once more, and writes coverage.parquet beside its
weights: prototypes of their embeddings, and how far a view that did not make them may be from
these. No held-out frame and no frame of another kind is used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from examples.playroom.scenes import Views, training_views
from examples.playroom.train_encoder import Options
from examples.playroom.view import frames_of
from relabel.encoders.open_clip import OpenClipEncoder, load_encoder
from relabel.evaluation.coverage import REFERENCE, make_reference, write_reference
from schemas.locations import path_argument

_BATCH = 512


def make(directory: Path, views: int, seed: int) -> Path:
    """Writes the reference of a model directory and returns its path."""
    encoder = load_encoder(f"local-dir:{directory}", precision="float32")
    trained = training_views(views, seed)
    order = np.random.default_rng(seed).permutation(len(trained.tiles))
    embeddings = _embedded(encoder, Views(trained.tiles[order], trained.truth[order]))
    held_back = len(embeddings) // 4
    origin = f"{views:,} of the playroom's views that the encoder was trained on"
    reference = make_reference(
        embeddings[held_back:], embeddings[:held_back], encoder.spec, origin, seed=seed
    )
    path = directory / REFERENCE
    write_reference(reference, str(path))
    return path


def _embedded(encoder: OpenClipEncoder, views: Views) -> np.ndarray:
    starts = range(0, len(views.tiles), _BATCH)
    parts = [encoder.encode_images(list(frames_of(views.tiles[s : s + _BATCH]))) for s in starts]
    return np.concatenate(parts)


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and writes a reference."""
    known = Options("small", Path())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=path_argument, help="a local-dir: model")
    parser.add_argument("--views", type=int, default=known.views, help="that it was trained on")
    parser.add_argument("--seed", type=int, default=known.seed, help="that it was trained with")
    options = parser.parse_args(argv)
    sys.stdout.write(f"{make(options.directory, options.views, options.seed)}\n")


if __name__ == "__main__":
    main()
