"""RLDS feature specifications as flat columns.

Only here, in `examples` and in `source` is TFDS imported. TensorFlow itself is not needed: stored
examples are protocol buffers, and images stay encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

import numpy as np
import tensorflow_datasets as tfds

from relabel.source.flags import FLAGS, FORM, decode_flag, flag_problem
from relabel.source.texts import decode_phrasings, decode_text, language_rank
from schemas import fields
from schemas.enums import CameraForm
from schemas.errors import SourceError
from schemas.tables import FieldSpec

Path = tuple[str, ...]


@dataclass(frozen=True)
class Leaf:
    """One feature of the specification."""

    spec: FieldSpec
    path: Path  # keys from the top of the example
    stored: Any  # TFDS's `TensorInfo` of what an example holds: of all steps, or of the episode
    decode: Callable[[Any], Any] | None  # of one stored value, where it is not the value itself
    declared_text: bool = False  # a `Text`; a string tensor may hold any bytes
    frames: CameraForm | None = None  # of an episode: how it holds one frame per step
    words: bool = True  # of a text: sampled values are what people say, not paths or identifiers

    @property
    def key(self) -> str:
        """Name in a stored example."""
        return "/".join(self.path)

    @property
    def in_steps(self) -> bool:
        """Whether there is a value per step, not one per episode."""
        return self.path[0] == fields.STEPS


@dataclass(frozen=True)
class Features:
    """A source's feature specification, flattened."""

    steps: tuple[Leaf, ...]  # everything below `steps`, images included
    metadata: tuple[Leaf, ...]  # everything else, one value per episode
    left_out: Mapping[str, str]  # dotted name → why it cannot be a column
    videos: tuple[Leaf, ...] = ()  # of the episode, with a frame for each of its steps
    described: frozenset[str] = frozenset()  # stored names of all features, usable or not

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the image features of a step."""
        return tuple(leaf.spec.name for leaf in self.steps if leaf.spec.kind == "image")

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Names of all texts, those that sound like an instruction first.

        Of these, words before paths and identifiers, and steps before episodes. A text of the
        episode is named as its column of the episodes table is.
        """
        texts = [leaf for leaf in (*self.steps, *self.metadata) if leaf.spec.kind == "text"]

        def place(leaf: Leaf) -> tuple[int, bool, bool]:
            return language_rank(column_name(leaf)), not leaf.words, not leaf.in_steps

        return tuple(map(column_name, sorted(texts, key=place)))

    @property
    def language_fields(self) -> tuple[str, ...]:
        """Those of `text_fields` that may say what an episode was told to do.

        By their names; where no name sounds like it, all texts of steps that are words. Texts of
        an episode with other names are paths and dates.
        """
        likely = tuple(name for name in self.text_fields if language_rank(name) < 2)
        texts = [leaf for leaf in self.steps if leaf.spec.kind == "text"]
        return likely or tuple(leaf.spec.name for leaf in texts if leaf.words)


def column_name(leaf: Leaf) -> str:
    """Name of a feature's column in the steps or in the episodes table."""
    return leaf.spec.name if leaf.in_steps else fields.METADATA_PREFIX + leaf.spec.name


def read_features(features: Any, origin: str, exclude: Sequence[str] = ()) -> Features:
    """Flattens the features of a TFDS dataset.

    Args:
        features: `builder.info.features`.
        origin: the directory, for error texts.
        exclude: patterns of dotted names to leave out.

    Raises:
        SourceError: there is no nested `steps` dataset, so it is not RLDS; a flag that is none;
            a pattern that no feature matches.
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
    serialized = features.get_serialized_info()
    of_steps = list(_walk(steps.feature, (fields.STEPS,)))
    of_episode = [pair for key, f in sorted(top.items()) for pair in _walk(f, (key,))]
    excluded = _excluded([path for _, path in (*of_steps, *of_episode)], exclude, origin)
    split = _Flattening(origin, serialized, excluded)
    videos = tuple(
        split.video(kind, path)
        for kind, path in of_episode
        if _is_video(kind) and path not in excluded
    )
    of_episode = [(k, path) for k, path in of_episode if path not in {v.path for v in videos}]
    step_leaves, left_out = split(of_steps, reserved=(fields.EPISODE_ID, fields.STEP))
    metadata, more = split(of_episode)
    # An image or video of a whole episode belongs to no frame.
    images = {leaf.spec.name: "an image of the whole episode" for leaf in metadata if _image(leaf)}
    metadata = tuple(leaf for leaf in metadata if not _image(leaf))
    described = frozenset(_stored_names(serialized))
    return Features(step_leaves, metadata, {**left_out, **more, **images}, videos, described)


def _stored_names(serialized: Mapping[str, Any]) -> Iterator[str]:
    for key, inner in serialized.items():
        if isinstance(inner, Mapping):
            yield from (f"{key}/{name}" for name in _stored_names(inner))
        else:
            yield key


def _is_video(feature: Any) -> bool:
    """Whether a feature is a list of images, such as a `Video`."""
    is_list = isinstance(feature, tfds.features.Sequence)
    return is_list and isinstance(feature.feature, tfds.features.Image)


def _image(leaf: Leaf) -> bool:
    return leaf.spec.kind == "image"


def _walk(feature: Any, path: Path) -> Iterator[tuple[Any, Path]]:
    """The features that are no dictionary, with their paths."""
    if not isinstance(feature, tfds.features.FeaturesDict):
        yield feature, path
        return
    for key, inner in sorted(feature.items()):  # a protobuf map has no order
        yield from _walk(inner, (*path, key))


def _excluded(paths: Sequence[Path], patterns: Sequence[str], origin: str) -> dict[Path, str]:
    """Paths that a pattern matches, with the pattern."""
    excluded: dict[Path, str] = {}
    for pattern in patterns:
        dotted = pattern.strip("/").replace("/", ".")
        found = [p for p in paths if any(fnmatchcase(name, dotted) for name in _names(p))]
        if not found:
            raise SourceError(
                f"{origin}: --exclude {pattern}: no such feature; there are "
                + ", ".join(sorted(map(_name, paths)))
            )
        excluded |= dict.fromkeys(found, f"excluded by --exclude {pattern}")
    return excluded


def _names(path: Path) -> set[str]:
    """Ways to name a feature: as a column, and in full."""
    prefix = "" if path[0] == fields.STEPS else fields.METADATA_PREFIX
    return {_name(path), prefix + _name(path), ".".join(path)}


def _name(path: Path) -> str:
    inner = path[1:] if path[0] in (fields.STEPS, "episode_metadata") and len(path) > 1 else path
    return ".".join(inner)


@dataclass(frozen=True)
class _Flattening:
    """Features into leaves and what is left out."""

    origin: str
    serialized: Mapping[str, Any]  # TFDS's own description of the stored form
    excluded: Mapping[Path, str]

    def __call__(
        self, walked: Sequence[tuple[Any, Path]], reserved: Sequence[str] = ()
    ) -> tuple[tuple[Leaf, ...], dict[str, str]]:
        usable: dict[str, Leaf] = {}
        left_out: dict[str, str] = {}
        for feature, path in walked:
            name = _name(path)
            leaf = self.excluded.get(path) or self._leaf(feature, path)
            if not isinstance(leaf, Leaf):
                left_out[name] = leaf
            elif name in usable or name in reserved:
                left_out[".".join(path)] = f"there is a column {name!r} already"
            else:
                usable[name] = leaf
        return tuple(usable.values()), left_out

    def _leaf(self, feature: Any, path: Path) -> Leaf | str:
        if path[0] == fields.STEPS and path[1:2] and path[1] in FLAGS:
            return self._flag(feature, path)
        return self._leaf_of(feature, path)

    def video(self, feature: Any, path: Path) -> Leaf:
        """A list of images, one per step."""
        dtype = _dtype(feature.feature.get_tensor_info())
        spec = FieldSpec(name=_name(path), kind="image", dtype=dtype)
        return Leaf(spec, path, self._stored(path), None, frames=CameraForm.FRAMES)

    def _flag(self, feature: Any, path: Path) -> Leaf:
        info = feature.get_tensor_info()
        if len(path) > 2:
            problem: str | None = f"{FORM}; got a dictionary"
        elif isinstance(feature, (tfds.features.Dataset, tfds.features.Image)) or not isinstance(
            info, tfds.features.TensorInfo
        ):
            problem = f"{FORM}; got {_article(type(feature).__name__)}"
        else:
            problem = flag_problem(_dtype(info), tuple(info.shape))
        if problem:
            raise SourceError(
                f"{self.origin}: {path[1]}: {problem}; `--exclude {path[1]}*` reads the dataset "
                "without it"
            )
        plain = _tensor_decoder(feature, info)
        spec = FieldSpec(name=_name(path), kind="tensor", dtype="bool")
        decode = decode_flag if plain is None else lambda value: decode_flag(plain(value))
        return Leaf(spec, path, self._stored(path), decode)

    def _leaf_of(self, feature: Any, path: Path) -> Leaf | str:
        """A feature as a column, or why it cannot be one."""
        what = _article(type(feature).__name__)
        if isinstance(feature, tfds.features.Image):
            dtype = _dtype(feature.get_tensor_info())  # depth has more bits
            spec = FieldSpec(name=_name(path), kind="image", dtype=dtype)
            return Leaf(spec, path, self._stored(path), None)
        if isinstance(feature, (tfds.features.Dataset, tfds.features.Video, tfds.features.Audio)):
            return f"{what} feature cannot be a column"
        info, stored = feature.get_tensor_info(), feature.get_serialized_info()
        if not isinstance(info, tfds.features.TensorInfo):
            return f"{what} of several values cannot be a column"
        if not isinstance(feature, tfds.features.Tensor) and not _same(info, stored):
            inner = getattr(feature, "feature", feature)
            return f"{what} of {type(inner).__name__} cannot be a column"
        text = _dtype(info) == "object"
        spec = FieldSpec(
            name=_name(path),
            kind="text" if text else "tensor",
            dtype=_dtype(info),
            shape=tuple(info.shape),
        )
        if spec.problem:
            return spec.problem
        if path[0] == fields.STEPS and None in _shape_in_lists(self._stored(path)):
            return f"{what} of open length: its records do not say where a step's values end"
        decode = _text_decoder(spec) if text else _tensor_decoder(feature, info)
        inner = feature.feature if isinstance(feature, tfds.features.Sequence) else feature
        return Leaf(spec, path, self._stored(path), decode, isinstance(inner, tfds.features.Text))

    def _stored(self, path: Path) -> Any:
        tree = self.serialized
        for key in path:
            tree = tree[key]
        return tree


def _shape_in_lists(stored: Any) -> tuple[int | None, ...]:
    """The stored shape behind the lengths of lists, which alone a record tells."""
    return tuple(stored.shape[max(1, stored.sequence_rank) :])


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"


def _dtype(info: Any) -> str:
    dtype = np.dtype(info.np_dtype if hasattr(info, "np_dtype") else info.dtype)
    return "object" if dtype.kind in "OSU" else str(dtype)


def _same(info: Any, stored: Any) -> bool:
    """Whether values are stored as they are."""
    return getattr(stored, "shape", None) == info.shape and _dtype(stored) == _dtype(info)


def _tensor_decoder(feature: Any, info: Any) -> Callable[[Any], Any] | None:
    if _same(info, feature.get_serialized_info()):
        return None
    return cast(Callable[[Any], Any], feature.decode_example_np)


def _text_decoder(spec: FieldSpec) -> Callable[[Any], Any]:
    return decode_phrasings if spec.shape else decode_text
