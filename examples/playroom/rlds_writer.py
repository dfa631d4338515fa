"""Writes episodes as a TFDS/RLDS dataset directory: TFRecord shards, then TFDS's own metadata.

The only module of the playroom that imports TensorFlow. The shards are written directly with
`features.serialize_example` and declared by `tfds.folder_dataset.write_metadata`: TFDS's own
`SequentialWriter` names files without their shard count, and a `GeneratorBasedBuilder` shuffles
through temporary files.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from examples.playroom.goals import GOALS
from examples.playroom.view import FRAME_PIXELS, STATE_SIZE

NAME, VERSION = "playroom", "1.0.0"


def features() -> tfds.features.FeaturesDict:
    """Returns the RLDS features of an episode, with the length of every tensor."""
    observation = {
        "image": tfds.features.Image(
            shape=(FRAME_PIXELS, FRAME_PIXELS, 3), encoding_format="png", doc="egocentric view"
        ),
        "state": tfds.features.Tensor(shape=(STATE_SIZE,), dtype=tf.float32, doc="symbolic state"),
    }
    step = {
        "observation": observation,
        "action": tfds.features.Scalar(tf.int64, doc="left, right, forward, pickup, drop"),
        "reward": tfds.features.Scalar(tf.float32, doc="1 if the commanded goal holds next"),
        "discount": tfds.features.Scalar(tf.float32, doc="0 if the action ends the episode"),
        "is_first": tf.bool,
        "is_last": tf.bool,
        "is_terminal": tf.bool,
        "language_instruction": tfds.features.Text(doc="the commanded goal's wording"),
        "truth": tfds.features.Tensor(
            shape=(len(GOALS),), dtype=tf.uint8, doc="which goals hold now, in goals.yaml's order"
        ),
        "held_out": tfds.features.Scalar(tf.bool, doc="no encoder was trained on these pixels"),
    }
    metadata = {
        "seed": tfds.features.Scalar(tf.int64, doc="of the room, the goal and the policy"),
        "goal_id": tfds.features.Text(doc="the commanded goal"),
        "policy": tfds.features.Text(doc="the behaviour policy"),
    }
    return tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(step), "episode_metadata": metadata}
    )


def write_split(
    out: Path, split: str, episodes: Iterator[dict[str, Any]], *, count: int, shards: int
) -> int:
    """Writes `count` episodes as one split, in order, and returns the number of frames.

    Args:
        out: dataset directory; other splits in it are kept.
        split: name of the new split.
        episodes: yields at least `count` episodes.
        count: number of episodes.
        shards: number of TFRecord files, of almost equal numbers of episodes.

    Raises:
        FileExistsError: files of this split are there already; nothing is overwritten.
    """
    out.mkdir(parents=True, exist_ok=True)
    old = sorted(out.glob(f"{NAME}-{split}.tfrecord-*"))
    if old:
        raise FileExistsError(
            f"{out} has a split {split!r} already ({len(old)} files); "
            "choose another --out or --split, or remove them"
        )
    spec, frames, lengths, sizes = features(), 0, [], 0
    borders = [count * shard // shards for shard in range(shards + 1)]
    for shard, (start, stop) in enumerate(pairwise(borders)):
        path = out / f"{NAME}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for episode in islice(episodes, stop - start):
                record = spec.serialize_example(episode)
                writer.write(record)
                frames, sizes = frames + len(episode["steps"]), sizes + len(record)
        lengths.append(stop - start)
    _write_metadata(out, spec, _splits(out, split, lengths, sizes))
    return frames


def _splits(out: Path, split: str, lengths: list[int], size_bytes: int) -> list[Any]:
    """Returns the new split's description after those of the splits that are there already."""
    template = tfds.core.ShardedFileTemplate(
        data_dir=out, dataset_name=NAME, split=split, filetype_suffix="tfrecord"
    )
    new = tfds.core.SplitInfo(
        name=split, shard_lengths=lengths, num_bytes=size_bytes, filename_template=template
    )
    if not (out / "dataset_info.json").exists():
        return [new]
    old = tfds.builder_from_directory(str(out)).info.splits
    return [*(info for name, info in old.items() if name != split), new]


def _write_metadata(out: Path, spec: tfds.features.FeaturesDict, splits: list[Any]) -> None:
    tfds.folder_dataset.write_metadata(
        data_dir=str(out),
        features=spec,
        split_infos=splits,
        version=VERSION,
        check_data=False,
        description="Playroom episodes with per-goal truth, by examples.playroom.collect.",
    )
