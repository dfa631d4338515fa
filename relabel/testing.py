"""Fakes and small inputs for tests: ours, and those of projects built on ours.

`PixelMeanEncoder` is an encoder whose embeddings can be predicted by hand; `write_rlds` makes a
true RLDS dataset directory of any features; TFDS imports TensorFlow for some (zlib, ragged).
"""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image

from relabel.source.records import masked_crc
from schemas.encoders import EncoderSpec

FileFormat = Literal["tfrecord", "array_record"]


class PixelMeanEncoder:
    """Embeds a frame as its mean red, green and blue, plus one constant, at unit norm.

    A text is embedded as the colour whose name it contains ("a red box"), grey if none.
    Frames must be (H, W, 3) uint8.

    Args:
        version: enters the fingerprint, so that two differ.
    """

    _COLOURS: Mapping[str, tuple[float, float, float]] = {
        "red": (1, 0, 0),
        "green": (0, 1, 0),
        "blue": (0, 0, 1),
    }

    def __init__(self, version: int = 0) -> None:
        self.calls: list[int] = []  # frames per call
        fingerprint = hashlib.sha256(f"pixel-mean-{version}".encode()).hexdigest()
        self.spec = EncoderSpec(
            name=f"pixel-mean:{version}",
            slug="pixel-mean",
            fingerprint=fingerprint,
            weights_sha256=fingerprint,
            preprocess={},
            precision="float32",
            dim=4,
            logit_scale=10.0,
            logit_bias=-2.0,
        )

    def prepare(self, frames: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.uint8]]:
        """The frames themselves."""
        return frames

    def embed(self, parts: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.float32]:
        """(N, 4) unit-norm embeddings."""
        return self.encode_images(list(itertools.chain.from_iterable(parts)))

    def encode_images(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, 4) unit-norm embeddings."""
        for frame in frames:
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                raise ValueError(f"expected (H, W, 3) uint8, got {frame.dtype}{frame.shape}")
        self.calls.append(len(frames))
        return _unit([frame.reshape(-1, 3).mean(axis=0) / 255 for frame in frames])

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 4) unit-norm embeddings."""
        grey = (0.5, 0.5, 0.5)
        named = ([c for name, c in self._COLOURS.items() if name in text] for text in texts)
        return _unit([colours[0] if colours else grey for colours in named])


def _unit(colours: Sequence[Any]) -> NDArray[np.float32]:
    vectors = np.array([[*colour, 0.1] for colour in colours], np.float64).reshape(-1, 4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    single: NDArray[np.float32] = unit.astype(np.float32)
    return single


def load_pixel_mean_encoder() -> PixelMeanEncoder:
    """A picklable function that makes a `PixelMeanEncoder`, as jobs take it."""
    return PixelMeanEncoder()


def encoded_image(pixels: NDArray[np.uint8], kind: Literal["PNG", "JPEG"] = "PNG") -> bytes:
    """An image file's bytes.

    Args:
        pixels: (H, W, 3) uint8.
        kind: PNG keeps every value, JPEG does not.
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_rlds(
    directory: Path,
    features: tfds.features.FeaturesDict,
    episodes: Iterable[Mapping[str, Any]],
    *,
    shard_lengths: Sequence[int],
    name: str = "small",
    split: str = "train",
    file_format: FileFormat = "tfrecord",
) -> Path:
    """Writes one split of an RLDS dataset directory, readable by TFDS; other splits are kept.

    Args:
        directory: made if need be.
        features: with a nested dataset `steps`.
        episodes: values as `features` takes them, in order; images may be encoded bytes.
        shard_lengths: episodes per shard; their sum is how many are taken from `episodes`.
        name: of the dataset.
        split: of the dataset.
        file_format: of the shards.

    Returns:
        The directory.

    Raises:
        FileExistsError: the split is there already.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = sorted(directory.glob(f"{name}-{split}.{file_format}-*"))
    if written:
        raise FileExistsError(
            f"{directory} has a split {split!r} already ({len(written)} files); choose another "
            "directory or split, or remove them"
        )
    records, size = (serialize_episode(features, episode) for episode in episodes), 0
    for shard, length in enumerate(shard_lengths):
        suffix = f"{shard:05d}-of-{len(shard_lengths):05d}"
        path = directory / f"{name}-{split}.{file_format}-{suffix}"
        size += write_shard(path, itertools.islice(records, length), file_format)
    _write_metadata(directory, features, name, split, shard_lengths, size, file_format)
    return directory


def serialize_episode(features: tfds.features.FeaturesDict, episode: Mapping[str, Any]) -> bytes:
    """One episode as a serialized `tf.train.Example`."""
    return bytes(features.serialize_example(_with_streams(episode, features)))


def _with_streams(value: Any, feature: Any) -> Any:
    """TFDS takes encoded images as open files only."""
    if isinstance(value, Mapping):
        known = dict(feature.items()) if isinstance(feature, tfds.features.FeaturesDict) else {}
        return {key: _with_streams(inner, known.get(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_streams(inner, getattr(feature, "feature", None)) for inner in value]
    is_image = isinstance(feature, tfds.features.Image) and isinstance(value, bytes)
    return io.BytesIO(value) if is_image else value


def write_shard(path: Path, records: Iterable[bytes], file_format: FileFormat) -> int:
    """Writes serialized episodes to one shard file; their length in bytes, without framing."""
    size = 0
    if file_format == "tfrecord":
        with path.open("wb") as stream:
            for record in records:
                stream.write(_framed(record))
                size += len(record)
        return size
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
        size += len(record)
    writer.close()
    return size


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return b"".join((length, _crc(length), record, _crc(record)))


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc(data))


def _write_metadata(
    directory: Path,
    features: tfds.features.FeaturesDict,
    name: str,
    split: str,
    shard_lengths: Sequence[int],
    size: int,
    file_format: FileFormat,
) -> None:
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name=name, split=split, filetype_suffix=file_format
    )
    new = tfds.core.SplitInfo(
        name=split, shard_lengths=list(shard_lengths), num_bytes=size, filename_template=template
    )
    old = {}
    if (directory / "dataset_info.json").exists():
        old = dict(tfds.builder_from_directory(str(directory)).info.splits.items())
    tfds.folder_dataset.write_metadata(
        data_dir=str(directory),
        features=features,
        split_infos=[*(info for key, info in old.items() if key != split), new],
        version="1.0.0",
        check_data=False,
    )
