"""RLDS feature specifications as flat columns, and the parsing of an episode into them.

The only module, with `source`, that imports TFDS. TensorFlow itself is not needed: TFDS parses
`tf.train.Example` protocol buffers with NumPy, and images stay encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_parser

from schemas import fields
from schemas.errors import EpisodeError, SourceError
from schemas.tables import Array, FieldSpec

Path = tuple[str, ...]


@dataclass(frozen=True)
class Leaf:
    """One feature of the specification."""

    spec: FieldSpec
    path: Path  # keys from the top of the example
    decode: Callable[[Any], Any] | None  # of one step's value, where storage differs from value


@dataclass(frozen=True)
class Features:
    """A source's feature specification, flattened."""

    steps: tuple[Leaf, ...]  # everything below `steps`, images included
    metadata: tuple[Leaf, ...]  # everything else, one value per episode
    left_out: Mapping[str, str]  # dotted name → why it cannot be a column
    serialized: Mapping[str, Any]  # TFDS's own description of the stored form

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the image features of a step."""
        return tuple(leaf.spec.name for leaf in self.steps if leaf.spec.kind == "image")

    @property
    def language_fields(self) -> tuple[str, ...]:
        """Names of the text features of a step; those called instruction or language first."""
        names = [leaf.spec.name for leaf in self.steps if leaf.spec.kind == "text"]
        return tuple(sorted(names, key=lambda n: not ("language" in n or "instruction" in n)))


def read_features(features: Any, origin: str) -> Features:
    """Flattens the features of a TFDS dataset.

    Args:
        features: `builder.info.features`.
        origin: the directory, for error texts.

    Raises:
        SourceError: there is no nested `steps` dataset, so it is not RLDS.
    """
    top = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    steps = top.pop(fields.STEPS, None)
    if not isinstance(steps, tfds.features.Dataset):
        got = ", ".join(sorted(top)) or type(features).__name__
        if steps is not None:
            got = f"steps of kind {type(steps).__name__}"
        raise SourceError(
            f"{origin}: not RLDS: expected a nested dataset 'steps', got the features: {got}; "
            "see https://github.com/google-research/rlds#dataset-format"
        )
    step_leaves, left_out = _split(
        _walk(steps.feature, (fields.STEPS,)), reserved=(fields.EPISODE_ID, fields.STEP)
    )
    metadata, more = _split(leaf for key, f in sorted(top.items()) for leaf in _walk(f, (key,)))
    # An image or video of a whole episode belongs to no frame.
    images = {leaf.spec.name: "an image of the whole episode" for leaf in metadata if _image(leaf)}
    metadata = tuple(leaf for leaf in metadata if not _image(leaf))
    serialized = features.get_serialized_info()
    return Features(step_leaves, metadata, {**left_out, **more, **images}, serialized)


def _image(leaf: Leaf) -> bool:
    return leaf.spec.kind == "image"


def _split(
    leaves: Iterator[Leaf | tuple[str, str]], reserved: Sequence[str] = ()
) -> tuple[tuple[Leaf, ...], dict[str, str]]:
    usable: dict[str, Leaf] = {}
    left_out: dict[str, str] = {}
    for leaf in leaves:
        if not isinstance(leaf, Leaf):
            left_out.update([leaf])
        elif leaf.spec.name in usable or leaf.spec.name in reserved:
            left_out[".".join(leaf.path)] = f"there is a column {leaf.spec.name!r} already"
        else:
            usable[leaf.spec.name] = leaf
    return tuple(usable.values()), left_out


def _walk(feature: Any, path: Path) -> Iterator[Leaf | tuple[str, str]]:
    if isinstance(feature, tfds.features.FeaturesDict):
        for key, inner in sorted(feature.items()):  # a protobuf map has no order
            yield from _walk(inner, (*path, key))
        return
    name = _name(path)
    if isinstance(feature, (tfds.features.Dataset, tfds.features.Video, tfds.features.Audio)):
        yield name, f"a {type(feature).__name__} feature cannot be a column"
        return
    info = feature.get_tensor_info()
    if not isinstance(info, tfds.features.TensorInfo):
        yield name, f"a {type(feature).__name__} of several values cannot be a column"
        return
    spec = FieldSpec(
        name=name, kind=_kind(feature), dtype=_dtype(info), shape=_shape(feature, info)
    )
    if spec.problem:
        yield name, spec.problem
        return
    yield Leaf(spec, path, _decoder(feature, info))


def _name(path: Path) -> str:
    inner = path[1:] if path[0] in (fields.STEPS, "episode_metadata") and len(path) > 1 else path
    return ".".join(inner)


def _kind(feature: Any) -> Any:
    if isinstance(feature, tfds.features.Image):
        return "image"
    return "text" if isinstance(feature, tfds.features.Text) else "tensor"


def _dtype(info: Any) -> str:
    dtype = np.dtype(info.np_dtype if hasattr(info, "np_dtype") else info.dtype)
    return "object" if dtype.kind in "OSU" else str(dtype)


def _shape(feature: Any, info: Any) -> tuple[int | None, ...]:
    return () if _kind(feature) != "tensor" else tuple(info.shape)


def _decoder(feature: Any, info: Any) -> Callable[[Any], Any] | None:
    if _kind(feature) != "tensor":
        return None
    stored = feature.get_serialized_info()
    same = getattr(stored, "shape", None) == info.shape and _dtype(stored) == _dtype(info)
    return None if same else cast(Callable[[Any], Any], feature.decode_example_np)


class EpisodeParser:
    """Parses serialized episodes into the columns asked for, and only these.

    Args:
        features: of the source.
        columns: names of step features.
    """

    def __init__(self, features: Features, columns: Sequence[str]) -> None:
        wanted = set(columns)
        self._steps = [leaf for leaf in features.steps if leaf.spec.name in wanted]
        self._metadata = list(features.metadata)
        paths = [leaf.path for leaf in (*self._steps, *self._metadata)]
        # TFDS's parser stumbles over a ragged feature that it was not told of.
        paths += _ragged_paths(features.serialized)
        subset: dict[str, Any] = {}
        for path in paths:
            _put(subset, path, _get(features.serialized, path))
        self._parser = example_parser.ExampleParserNp(subset)

    def parse(self, record: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Step columns and metadata of one episode.

        Returns:
            Step columns by name, (T, *shape) arrays or lists of T values (bytes of an image,
            str of a text); metadata by name.

        Raises:
            EpisodeError: the record does not hold what the features promise.
        """
        try:
            example = self._parser.parse_example(record)
            steps = {leaf.spec.name: _steps_column(leaf, example) for leaf in self._steps}
            metadata = {leaf.spec.name: _metadata_value(leaf, example) for leaf in self._metadata}
        except Exception as error:  # protobuf, NumPy and TFDS each raise their own kinds
            raise EpisodeError(f"the record does not parse: {error}") from error
        lengths = {name: len(values) for name, values in steps.items()}
        if len(set(lengths.values())) > 1:
            raise EpisodeError(f"its features disagree on the number of steps: {lengths}")
        return steps, metadata


def _steps_column(leaf: Leaf, example: Mapping[str, Any]) -> Any:
    values = _get(example, leaf.path)
    if leaf.spec.kind == "text":
        return [value.decode("utf-8") for value in values]
    if leaf.spec.kind == "image" or None in leaf.spec.shape:
        return list(values)
    if leaf.decode is not None:
        values = [leaf.decode(value) for value in values]
    array: Array = np.asarray(values, None if leaf.spec.dtype == "object" else leaf.spec.dtype)
    return array.reshape(len(array), *cast(tuple[int, ...], leaf.spec.shape))


def _metadata_value(leaf: Leaf, example: Mapping[str, Any]) -> Any:
    value = _get(example, leaf.path)
    if leaf.decode is not None:
        value = leaf.decode(value)
    if isinstance(value, bytes) and leaf.spec.kind == "text":
        return value.decode("utf-8")
    return np.ravel(value).tolist() if leaf.spec.shape else value


def _ragged_paths(serialized: Mapping[str, Any], path: Path = ()) -> list[Path]:
    paths: list[Path] = []
    for key, value in serialized.items():
        if isinstance(value, Mapping):
            paths += _ragged_paths(value, (*path, key))
        elif tuple(value.shape).count(None) > 1:
            paths.append((*path, key))
    return paths


def _get(tree: Mapping[str, Any], path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
