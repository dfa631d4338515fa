"""Stored episodes, `tf.train.Example` protocol buffers, parsed into columns.

Not through TFDS's own parser, which stumbles over features that nobody asked for and does not
say which one is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from relabel.frames.videos import episode_frames
from relabel.source.features import Features, Leaf, column_name
from relabel.source.flags import FLAGS
from relabel.source.reasons import told
from schemas.enums import CameraForm
from schemas.errors import EpisodeError, EpisodeFramesError
from schemas.tables import Array

Cameras = Mapping[str, CameraForm]  # by name, as the tables call them
Example = Mapping[str, Any]  # stored name of a feature → its protocol buffer

_LOSSLESS: Final = {"int64_list": "biuf", "float_list": "f", "bytes_list": "O"}  # NumPy's kinds


def read_example(record: bytes) -> Example:
    """The features of a serialized episode.

    Raises:
        EpisodeError: it is none.
    """
    try:
        features = tf_example_pb2.Example.FromString(record).features.feature
    except Exception as error:  # protobuf's implementations differ in what they raise
        raise EpisodeError(f"the record does not parse: {told(error)}") from error
    if not features:
        raise EpisodeError("the record does not parse: it holds no feature at all")
    return cast(Example, features)


def undescribed(example: Example, features: Features) -> set[str]:
    """Stored names of what an example holds beyond the description."""
    names = {key.partition("/ragged_")[0] for key in example}
    return names - features.described


def stored_values(example: Example, leaf: Leaf) -> Any:
    """What an example holds of a feature: of all steps (T, …) or of the episode.

    Raises:
        EpisodeError: the feature is missing, or is not what the features promise.
    """
    name = leaf.spec.name
    if leaf.key not in example and f"{leaf.key}/ragged_flat_values" not in example:
        problem = "is missing from the record, though features.json has it"
        raise EpisodeError(f"feature {name!r} {problem}; {_cure(name)}")
    try:
        return _stored(example, leaf)
    except Exception as error:  # NumPy and TFDS raise their own kinds
        raise _unreadable(leaf, error) from error


def _unreadable(leaf: Leaf, error: Exception) -> EpisodeError:
    name = leaf.spec.name
    return EpisodeError(f"feature {name!r}: {told(error)}; {_cure(name)}")


def _cure(name: str) -> str:
    return f"`--exclude {name}` reads all records without it"


def _stored(example: Example, leaf: Leaf) -> Any:
    ragged = f"{leaf.key}/ragged_flat_values"
    feature = example[leaf.key if leaf.key in example else ragged]
    field = feature.WhichOneof("kind")
    dtype = np.dtype(leaf.stored.np_dtype)
    values = [] if field is None else getattr(feature, field).value
    if len(values) and dtype.kind not in _LOSSLESS[field]:
        wanted = "strings" if dtype.kind == "O" else f"values of {dtype}"
        raise ValueError(f"expected {wanted}, the record has a {field}")
    if dtype.kind == "b" and not set(values) <= {0, 1}:
        raise ValueError(f"expected values of 0 and 1, got {sorted(set(values))[:3]}")
    array: Array = np.array(values, dtype)
    shape = tuple(leaf.stored.shape)
    if not shape:
        if len(array) != 1:
            raise ValueError(f"expected one value, the record has {len(array)}")
        return array.item()
    rows = _row_lengths(example, leaf.key)
    if rows:
        return _nested(array.reshape(-1, *shape[len(rows) + 1 :]), rows)
    if not len(array):  # several open lengths: which of them is 0 does not show
        return array.reshape([0 if n is None else n for n in shape])
    return array.reshape([-1 if n is None else n for n in shape])


def _nested(values: Array, rows: Sequence[Sequence[int]]) -> list[Any]:
    """Values cut into lists, and these into lists of lists.

    TFDS writes row lengths of every sequence in a sequence, also of those of a fixed length, which
    its own parser then takes for another level.

    Args:
        values: (N, …) all of them.
        rows: lengths of the lists of each level, the outermost level first.
    """
    nested: Any = values
    for lengths in reversed(rows):
        ends = np.cumsum(lengths, dtype=int)
        nested = [nested[end - n : end] for n, end in zip(lengths, ends.tolist(), strict=True)]
    return cast(list[Any], nested)


def _row_lengths(example: Example, key: str) -> list[Any]:
    lengths: list[Any] = []
    while (name := f"{key}/ragged_row_lengths_{len(lengths)}") in example:
        lengths.append(example[name].int64_list.value)
    return lengths


class EpisodeParser:
    """Parses serialized episodes into the columns asked for, and only these.

    Args:
        features: of the source.
        columns: names of step features; the flags are parsed beside them.
        cameras: names and forms of those that hold frames: strings stay bytes, and what is stored
            once per episode becomes one value per step.
    """

    def __init__(
        self, features: Features, columns: Sequence[str], cameras: Cameras | None = None
    ) -> None:
        self._cameras = cameras or {}
        wanted = {*columns, *FLAGS}
        self._steps = [leaf for leaf in features.steps if leaf.spec.name in wanted]
        self._metadata = list(features.metadata)
        self._videos = [v for v in features.videos if column_name(v) in self._cameras]

    def parse(self, record: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Step columns and metadata of one record.

        Returns:
            Step columns by name, (T, *shape) arrays or lists of T values (bytes of an image,
            str of a text, None of one that does not decode, list of such of phrasings);
            metadata by name.

        Raises:
            EpisodeError: the record does not hold what the features promise.
        """
        example = read_example(record)
        columns = {leaf.spec.name: self._column(example, leaf) for leaf in self._steps}
        metadata = {leaf.spec.name: _metadata_value(example, leaf) for leaf in self._metadata}
        length = self._length(columns)
        steps = {name: _values(name, column, length) for name, column in columns.items()}
        videos = {column_name(leaf): self._video(example, leaf, length) for leaf in self._videos}
        return {**steps, **videos}, metadata

    def _length(self, columns: Mapping[str, Any]) -> int:
        """T, on which all but the cameras must agree: these lose their frames otherwise."""
        known = {n: len(v) for n, v in columns.items() if not isinstance(v, EpisodeFramesError)}
        others = {name: count for name, count in known.items() if name not in self._cameras}
        _check_lengths(others or known)
        if not others and len(known) < len(columns):
            raise next(v for v in columns.values() if isinstance(v, EpisodeFramesError))
        return next(iter((others or known).values()), 0)

    def _video(self, example: Example, leaf: Leaf, steps: int) -> Sequence[Any]:
        form = self._cameras[column_name(leaf)]
        try:
            return episode_frames(stored_values(example, leaf), form, steps)
        except Exception as error:  # as above
            return [EpisodeFramesError(told(error))] * steps

    def _column(self, example: Example, leaf: Leaf) -> Any:
        """The values of a feature; of a camera that has none, the reason.

        A table of another camera may be made later, and must have the same episodes.
        """
        if leaf.spec.name not in self._cameras:
            return steps_column(example, leaf)
        try:
            if leaf.spec.dtype == "object":
                return list(stored_values(example, leaf))
            return steps_column(example, leaf)
        except EpisodeError as error:
            return EpisodeFramesError(str(error))


def _values(name: str, column: Any, length: int) -> Any:
    """T values; where a camera has none, or another number, T times the reason."""
    if not isinstance(column, EpisodeFramesError) and len(column) != length:
        column = EpisodeFramesError(
            f"feature {name!r}: expected one frame per step, got {len(column)} for {length} steps; "
            "which belongs to which step cannot be told"
        )
    return [column] * length if isinstance(column, EpisodeFramesError) else column


def steps_column(example: Example, leaf: Leaf) -> Any:
    """One feature of all steps, decoded; see `EpisodeParser.parse`."""
    values = stored_values(example, leaf)
    try:
        if leaf.decode is not None:
            values = [leaf.decode(value) for value in values]
        if leaf.spec.kind != "tensor" or None in leaf.spec.shape:
            return list(values)
        array: Array = np.asarray(values, np.dtype(leaf.spec.dtype))
        return array.reshape(len(array), *cast(tuple[int, ...], leaf.spec.shape))
    except Exception as error:  # as above
        raise _unreadable(leaf, error) from error


def _metadata_value(example: Example, leaf: Leaf) -> Any:
    value = stored_values(example, leaf)
    try:
        if leaf.decode is not None:
            value = leaf.decode(value)
        if leaf.spec.kind == "tensor" and leaf.spec.shape:
            return np.ravel(value).tolist()
    except Exception as error:  # as above
        raise _unreadable(leaf, error) from error
    return value


def _check_lengths(lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) <= 1:
        return
    ((common, _),) = Counter(lengths.values()).most_common(1)
    odd = {name: length for name, length in lengths.items() if length != common}
    told_of = ", ".join(f"{name!r} has {length}" for name, length in odd.items())
    raise EpisodeError(
        f"its features disagree on the number of steps: {told_of}, the others {common}; "
        f"{_cure(next(iter(odd)))}"
    )
