"""Cameras that show nothing: one colour all over, or no image at all, for whole episodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from relabel.frames.camera_frames import frame_of, is_one_colour, newest
from schemas import fields
from schemas.enums import CameraForm
from schemas.errors import FrameError
from schemas.manifests import EmbeddingManifest
from schemas.store import Store
from schemas.tables import Array

_LOOKED_AT: Final = 5  # frames of a sampled episode
_CURE: Final = "--skip-blank-cameras scores a frame by its other cameras"


@dataclass
class _Blanks:
    """How many episodes a camera shows nothing in."""

    episodes: int = 0
    one_colour: int = 0
    empty: int = 0

    def add(self, one_colour: bool, empty: bool) -> None:
        """Counts one episode."""
        self.episodes += 1
        self.one_colour += one_colour
        self.empty += empty

    def notes(self, camera: str, which: str = "") -> Iterator[str]:
        """A sentence for each way of showing nothing."""
        name = camera.replace(".", "/")
        counted = ((self.one_colour, "shows one colour only"), (self.empty, "has no image"))
        for count, what in counted:
            if count:
                yield f"{name}: {what} in {count} of {self.episodes} {which}episodes; {_CURE}"


def sampled_blank_notes(
    forms: Mapping[str, CameraForm], episodes: Iterable[Mapping[str, Sequence[Any]]]
) -> list[str]:
    """What sampled episodes show of the cameras, a few frames of each.

    Args:
        forms: the cameras.
        episodes: per episode the values of T steps by camera.
    """
    found = {camera: _Blanks() for camera in forms}
    for steps in episodes:
        for camera, form in forms.items():
            found[camera].add(*_shows_nothing(steps[camera], form))
    return [note for camera, blanks in found.items() for note in blanks.notes(camera, "sampled ")]


def _shows_nothing(values: Sequence[Any], form: CameraForm) -> tuple[bool, bool]:
    """Whether some frames of an episode are of one colour, and whether there is none."""
    places = np.unique(np.linspace(0, len(values) - 1, _LOOKED_AT).round().astype(int))
    some = [values[place] for place in places.tolist()]
    empty = all(isinstance(value, bytes) and not value for value in some)
    return not empty and all(_is_one_colour(value, form) for value in some), empty


def _is_one_colour(value: Any, form: CameraForm) -> bool:
    try:
        return is_one_colour(frame_of(newest(value, form)))
    except FrameError:  # told where it is embedded
        return False


def blank_notes(store: Store, table: EmbeddingManifest) -> list[str]:
    """What a finished embedding table tells of its camera; nothing of an older one."""
    if table.is_of_first_format:  # without the column
        return []
    found = _Blanks()
    for piece in store.slices:
        content = store.read_slices(table.table, [piece], [fields.STEP, fields.BLANK])
        for blank, missing in _episodes(content):
            found.add(bool(np.all(blank)), bool(np.all(missing)))
    return list(found.notes(table.camera))


def _episodes(content: pa.Table) -> Iterator[tuple[Array, Array]]:
    """Which frames of each episode that has any are of one colour, and which are missing."""
    if not content.num_rows:
        return
    column = content.column(fields.BLANK).combine_chunks()
    missing = column.is_null().to_numpy(zero_copy_only=False)
    blank = column.fill_null(False).to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(content.column(fields.STEP).to_numpy() == 0)[1:]
    yield from zip(np.split(blank, starts), np.split(missing, starts), strict=True)
