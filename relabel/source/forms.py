"""What the values of the first episodes tell of features that their description leaves open.

A string may be a text or any bytes; a row of integers may be a text in codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from relabel.frames.decoding import FORMATS, file_format
from relabel.frames.videos import is_video_file
from relabel.source.examples import Example, stored_values
from relabel.source.features import Features, Leaf
from relabel.source.texts import are_codes, are_texts, are_words, decode_codes
from schemas.enums import CameraForm
from schemas.errors import EpisodeError
from schemas.tables import FieldSpec

_INTEGERS: Final = "iu"  # NumPy's kinds
_VALUES_PER_EPISODE: Final = 32  # looked at; strings may be images

Form = Callable[[Leaf, Sequence[Any]], Leaf]


def settle(features: Features, sample: Iterable[Example]) -> Features:
    """The same features, with what the sample shows them to be.

    Args:
        features: as described.
        sample: stored episodes; none: all is as described.
    """
    leaves = [leaf for leaf in (*features.steps, *features.metadata) if _is_open(leaf)]
    values: dict[str, list[Any]] = {leaf.key: [] for leaf in leaves}
    for example in sample if leaves else ():
        for leaf in leaves:
            values[leaf.key] += _values(example, leaf)

    def settled(leaf: Leaf) -> Leaf:
        seen = values.get(leaf.key)
        for form in FORMS if seen else ():
            leaf = form(leaf, seen or ())
        return leaf

    metadata = tuple(map(settled, features.metadata))
    return replace(
        features,
        steps=tuple(map(settled, features.steps)),
        metadata=tuple(leaf for leaf in metadata if leaf.frames is None),
        videos=(*features.videos, *(leaf for leaf in metadata if leaf.frames is not None)),
    )


def _is_open(leaf: Leaf) -> bool:
    """Whether a form may change it."""
    return _is_string(leaf) or _is_row_of_integers(leaf)


def _values(example: Example, leaf: Leaf) -> list[Any]:
    """Some stored values of an episode; none if it is not as described."""
    try:
        values = stored_values(example, leaf)
    except EpisodeError:
        return []
    if not leaf.in_steps:
        return [values]
    return list(values)[:: max(1, len(values) // _VALUES_PER_EPISODE)]


def _is_string(leaf: Leaf) -> bool:
    return leaf.spec.kind == "text" and leaf.decode is not None


def _is_row_of_integers(leaf: Leaf) -> bool:
    spec = leaf.spec
    is_row = spec.kind == "tensor" and len(spec.shape) == 1
    return is_row and np.dtype(spec.dtype).kind in _INTEGERS


def text_or_bytes(leaf: Leaf, values: Sequence[Any]) -> Leaf:
    """Strings that are no texts stay bytes."""
    if not _is_string(leaf) or leaf.declared_text:
        return leaf
    flat = [text for value in values for text in np.ravel(np.asarray(value, object))]
    if are_texts(flat):
        return leaf
    return replace(leaf, spec=leaf.spec.model_copy(update={"kind": "tensor"}), decode=None)


def codes(leaf: Leaf, values: Sequence[Any]) -> Leaf:
    """Integers that spell texts are texts."""
    if not _is_row_of_integers(leaf):
        return leaf
    plain = leaf.decode or np.asarray
    if not are_codes(leaf.spec.name, [plain(value) for value in values]):
        return leaf
    spec = FieldSpec(name=leaf.spec.name, kind="text", dtype="object", codes=True)
    return replace(leaf, spec=spec, decode=lambda value: decode_codes(plain(value)))


def encoded_frames(leaf: Leaf, values: Sequence[Any]) -> Leaf:
    """Strings that are image files are bytes, whatever they are declared to be."""
    if not _is_string(leaf) or leaf.spec.shape:
        return leaf
    if not any(file_format(bytes(value)) in FORMATS for value in values):
        return leaf
    return replace(leaf, spec=leaf.spec.model_copy(update={"kind": "tensor"}), decode=None)


def video_file(leaf: Leaf, values: Sequence[Any]) -> Leaf:
    """Strings of an episode that are video files are frames."""
    if leaf.in_steps or not _is_string(leaf) or leaf.spec.shape:
        return leaf
    if not any(is_video_file(value) for value in values):
        return leaf
    spec = leaf.spec.model_copy(update={"kind": "image", "dtype": "uint8"})
    return replace(leaf, spec=spec, decode=None, frames=CameraForm.VIDEO)


def words_or_names(leaf: Leaf, values: Sequence[Any]) -> Leaf:
    """Texts that are paths or identifiers are no instructions."""
    if leaf.spec.kind != "text" or leaf.decode is None:
        return leaf
    told = [leaf.decode(value) for value in values]
    texts = [text for own in told for text in (own if isinstance(own, list) else [own])]
    return replace(leaf, words=are_words(text for text in texts if text))


FORMS: Final[tuple[Form, ...]] = (video_file, encoded_frames, text_or_bytes, codes, words_or_names)
