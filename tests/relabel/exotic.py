"""A source with every kind of feature that RLDS data are seen to have, and some that cannot be.

Beside it: the same episodes as TFDS itself reads them, through `tf.data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from relabel.source.features import Leaf
from relabel.source.source import Source
from relabel.testing import encoded_image, write_rlds

kinds = tfds.features
LENGTHS = (3, 1, 0, 4)


def features() -> tfds.features.FeaturesDict:
    observation = {
        "image": kinds.Image(shape=(None, None, 3)),
        "zipped": kinds.Tensor(shape=(2, 3), dtype=np.float32, encoding="zlib"),
        "packed": kinds.Tensor(shape=(2,), dtype=np.float64, encoding="bytes"),
        "half": kinds.Tensor(shape=(2,), dtype=np.float16),
        "bytes": kinds.Tensor(shape=(3,), dtype=np.uint8),
        "flags": kinds.Tensor(shape=(2,), dtype=np.bool_),
        "label": kinds.ClassLabel(names=["ball", "box"]),
        "box": kinds.BBoxFeature(),
        "words": kinds.Tensor(shape=(2,), dtype=np.str_),
        "word": np.str_,
        "blob": np.str_,  # bytes that are no text
        "blobs": kinds.Tensor(shape=(2,), dtype=np.str_),
        "codes": kinds.Tensor(shape=(17,), dtype=np.int32),  # of UTF-8, padded with zeros
        "numbers": kinds.Sequence(np.int64),
        "points": kinds.Sequence(kinds.Tensor(shape=(2,), dtype=np.float32)),
        "arm": {"joints": {"angle": kinds.Tensor(shape=(1,), dtype=np.float32)}},
        # These cannot be columns.
        "deep": kinds.Sequence(kinds.Sequence(np.int64)),
        "table": kinds.Dataset({"k": np.int64}),
        "records": kinds.Sequence({"k": np.int64}),
    }
    step = {
        "observation": observation,
        "action": {"move": kinds.Tensor(shape=(2,), dtype=np.float32), "grip": np.int32},
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "language": kinds.Text(),
        "note": kinds.Text(),
        "phrasings": kinds.Sequence(kinds.Text()),
        "step": np.int64,  # a name that the tables need for themselves
    }
    return kinds.FeaturesDict(
        {
            "steps": kinds.Dataset(step),
            "episode_metadata": {"file": kinds.Text(), "n": np.int64},
            "n": np.int64,  # the same column as episode_metadata/n
            "robot": kinds.ClassLabel(names=["arm", "dog"]),
            "pose": kinds.Tensor(shape=(2,), dtype=np.float32),
            "thumbnail": kinds.Image(shape=(None, None, 3)),
        }
    )


def episodes() -> list[dict[str, Any]]:
    return [_episode(index, length) for index, length in enumerate(LENGTHS)]


def _episode(index: int, length: int) -> dict[str, Any]:
    rng = np.random.default_rng(index)
    return {
        "steps": [_step(rng, step, length) for step in range(length)],
        "episode_metadata": {"file": f"/raw/ü{index}", "n": 7 * index},
        "n": -1,
        "robot": index % 2,
        "pose": rng.random(2).astype(np.float32),
        "thumbnail": encoded_image(np.zeros((2, 2, 3), np.uint8)),
    }


def _step(rng: np.random.Generator, step: int, length: int) -> dict[str, Any]:
    observation = {
        "image": encoded_image(rng.integers(0, 256, (3 + step, 4, 3), dtype=np.uint8)),
        "zipped": rng.random((2, 3)).astype(np.float32),
        "packed": rng.random(2),
        "half": rng.random(2).astype(np.float16),
        "bytes": rng.integers(0, 256, 3, dtype=np.uint8),
        "flags": rng.random(2) < 0.5,
        "label": step % 2,
        "box": kinds.BBox(0.0, 0.25, 0.5, 1.0),
        "words": ["élan", f"word {step}"],
        "word": "" if step else "x",
        "blob": b"\x80\x03}" + bytes([step]),
        "blobs": [b"\xff\x00", b"\xfe"],
        "codes": np.array([*"öffne die tür".encode(), 0, 0], np.int32),
        "numbers": list(range(step)),
        "points": [[float(i), 0.5] for i in range((step + 1) % 3)],
        "arm": {"joints": {"angle": np.array([step / 8], np.float32)}},
        "deep": [[1], [2, step]],
        "table": [{"k": 1}],
        "records": [{"k": 1}, {"k": 2}],
    }
    return {
        "observation": observation,
        "action": {"move": rng.random(2).astype(np.float32), "grip": step},
        "is_first": step == 0,
        "is_last": step == length - 1,
        "is_terminal": False,
        "language": "öffne",
        "note": "  ",
        "phrasings": ["öffne", "mach auf"][: step + 1],
        "step": step,
    }


def write(directory: Path) -> Source:
    write_rlds(directory, features(), episodes(), shard_lengths=(3, 1), name="exotic")
    return Source.open(str(directory), "train")


def as_tfds_reads(source: Source) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Step columns and metadata of every episode, in order, images still encoded."""
    builder = tfds.builder_from_directory(source.directory)
    stream = builder.as_dataset(
        split=source.spec.split,
        decoders={"steps": _undecoded(list(source.features.steps))},
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    for example in stream:
        steps = list(example["steps"])
        columns = {
            leaf.spec.name: [_plain(_at(step, leaf.path[1:])) for step in steps]
            for leaf in source.features.steps
        }
        metadata = {
            leaf.spec.name: _plain(_at(example, leaf.path)) for leaf in source.features.metadata
        }
        yield columns, metadata


def _undecoded(leaves: list[Leaf]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for leaf in leaves:
        if leaf.spec.kind == "image":
            inner = tree
            for key in leaf.path[1:-1]:
                inner = inner.setdefault(key, {})
            inner[leaf.path[-1]] = tfds.decode.SkipDecoding()
    return tree


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _plain(value: Any) -> Any:
    return value.numpy()
