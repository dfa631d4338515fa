"""Frames on their way to the encoder: in batches, each different one decoded once.

Batches of one fixed size run across episode borders, never across slices; a chunk is a part of a
batch, small enough that the threads of a pool share even the first one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relabel.encoders.protocol import StagedEncoder
from relabel.frames.camera_frames import frame_of, is_one_colour, newest
from relabel.frames.decoding import Frame
from relabel.slices.profile import Profile
from relabel.source.reasons import told
from schemas.enums import CameraForm
from schemas.errors import FrameError
from schemas.tables import Array


@dataclass(frozen=True)
class Row:
    """One frame on its way: what every camera asked for has of it."""

    episode_id: str
    step: int
    values: tuple[Any, ...]  # as the source stores them, one per camera


@dataclass(frozen=True)
class Chunk:
    """Rows on their way to one batch, decoded and resized."""

    rows: Sequence[Row]
    cameras: tuple[Prepared, ...]


@dataclass(frozen=True)
class Prepared:
    """One camera's images of n rows, each different one once: stored logs repeat frames."""

    errors: dict[int, FrameError]  # row → why its image could not be decoded
    place: NDArray[np.int64]  # (n,) of each row's frame among `frames`; -1: it has none
    blank: NDArray[np.bool_]  # (n,) whether its frame is one colour; False where it has none
    frames: Any  # as the encoder's `prepare` made them; None if there are none


def chunked(rows: Iterable[Row], batch: int, chunk: int) -> Iterator[list[Row]]:
    """Lists of at most `chunk` rows, none of which belongs to two batches of `batch` rows."""
    iterator = iter(rows)
    for size in itertools.cycle(min(chunk, batch - start) for start in range(0, batch, chunk)):
        if not (part := list(itertools.islice(iterator, size))):
            return
        yield part


def rebatched(chunks: Iterable[Chunk], batch: int) -> Iterator[list[Chunk]]:
    """Chunks of `batch` rows together; the last batch may be shorter."""
    together: list[Chunk] = []
    for chunk in chunks:
        together.append(chunk)
        if sum(len(part.rows) for part in together) >= batch:
            yield together
            together = []
    if together:
        yield together


def prepare(
    values: Sequence[Any], form: CameraForm, encoder: StagedEncoder, profile: Profile
) -> Prepared:
    """Decodes and resizes one camera's images of n rows.

    Args:
        values: of n rows, as the source stores them.
        form: how it stores them.
        encoder: resizes the frames.
        profile: told where the time goes.
    """
    with profile.stage("decode"):
        pictures = [_picture(value, form) for value in values]
        keys = [_key(picture) for picture in pictures]
        decoded = {k: _decode(p) for k, p in dict(zip(keys, pictures, strict=True)).items()}
        frames = {k: frame for k, frame in decoded.items() if not isinstance(frame, FrameError)}
        blank = {key for key, frame in frames.items() if is_one_colour(frame)}
    with profile.stage("resize"):
        prepared, refused = _prepared(frames, encoder)
        decoded |= refused
        places = {key: n for n, key in enumerate(key for key in frames if key not in refused)}
        found = [decoded[key] for key in keys]
        return Prepared(
            {row: error for row, error in enumerate(found) if isinstance(error, FrameError)},
            np.array([places.get(key, -1) for key in keys], np.int64),
            np.array([key in blank and key in places for key in keys], np.bool_),
            prepared,
        )


def _prepared(
    frames: Mapping[Any, Frame], encoder: StagedEncoder
) -> tuple[Any, dict[Any, FrameError]]:
    """Frames resized together, and those that cannot be, with the reason."""
    refused: dict[Any, FrameError] = {}
    if not frames:
        return None, refused
    try:
        return encoder.prepare(list(frames.values())), refused
    except FrameError:  # of which frame it does not say
        for key, frame in frames.items():
            try:
                encoder.prepare([frame])
            except FrameError as error:
                refused[key] = error
    fit = [frame for key, frame in frames.items() if key not in refused]
    return (encoder.prepare(fit) if fit else None), refused


def _picture(value: Any, form: CameraForm) -> Any:
    """What is embedded of a step's value, or why there is nothing."""
    try:
        picture = newest(value, form)
    except Exception as error:  # no value of this form
        return FrameError(f"image: no {form.value} as its features promise: {told(error)}")
    if isinstance(picture, (bytes, np.ndarray, FrameError)):
        return picture
    return FrameError(
        f"image: expected a file's bytes or a tensor, got a value of {type(picture).__name__}"
    )


def _key(picture: Any) -> Any:
    """Equal for equal pictures."""
    is_array = isinstance(picture, np.ndarray)
    return (picture.shape, picture.tobytes()) if is_array else picture


def _decode(picture: Any) -> Frame | FrameError:
    try:
        return frame_of(picture)
    except FrameError as error:
        return error
    except Exception as error:  # of one image: no other is lost with it
        return FrameError(f"image: cannot be decoded: {told(error)}")


def joined_errors(parts: Sequence[Prepared]) -> dict[int, FrameError]:
    """Errors of a batch by their row in it."""
    starts = itertools.accumulate((len(part.place) for part in parts), initial=0)
    return {
        start + row: error
        for start, part in zip(starts, parts, strict=False)
        for row, error in part.errors.items()
    }


def embed_prepared(parts: Sequence[Prepared], encoder: StagedEncoder) -> Array:
    """Embeddings of the rows of a batch, NaN where an image could not be decoded.

    Args:
        parts: one camera's part of every chunk of the batch, N rows together.
        encoder: called once, with the frames that were decoded.

    Returns:
        (N, D) float32.
    """
    count, places = 0, []
    for part in parts:
        places.append(np.where(part.place < 0, -1, part.place + count))
        count += int(part.place.max(initial=-1)) + 1
    place = np.concatenate(places)
    embeddings = np.full((len(place), encoder.spec.dim), np.nan, np.float32)
    if count:
        embedded = encoder.embed([part.frames for part in parts if part.frames is not None])
        embeddings[place >= 0] = embedded[place[place >= 0]]
    return embeddings


def blanks(parts: Sequence[Prepared]) -> pa.Array:
    """Whether each row of a batch is one colour; null where its image could not be decoded."""
    missing = np.concatenate([part.place < 0 for part in parts])
    return pa.array(np.concatenate([part.blank for part in parts]), pa.bool_(), mask=missing)
