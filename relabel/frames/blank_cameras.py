"""Cameras that show nothing: one colour all over, or no image at all, for whole episodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from relabel.frames.camera_frames import frame_of, is_one_colour, newest
from schemas import fields
from schemas.enums import CameraForm
from schemas.errors import FrameError
from schemas.footers import Count, read_summary
from schemas.manifests import EmbeddingManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import Array

_LOOKED_AT: Final = 5  # frames of a sampled episode
_CURE: Final = "--skip-blank-cameras scores a frame by its other cameras"


class Blanks(BaseModel):
    """How many episodes a camera shows nothing in."""

    model_config = ConfigDict(extra="ignore", strict=True)

    episodes: Count = 0  # that have any frame
    one_colour: Count = 0
    empty: Count = 0

    @classmethod
    def of(cls, content: pa.Table) -> Blanks:
        """Of some whole episodes of an embedding table: its columns `step` and `blank`."""
        found = cls()
        for blank, missing in _episodes(content):
            found.add(bool(np.all(blank)), bool(np.all(missing)))
        return found

    def merge(self, other: Blanks) -> None:
        """Counts other episodes too."""
        self.episodes += other.episodes
        self.one_colour += other.one_colour
        self.empty += other.empty

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
    found = {camera: Blanks() for camera in forms}
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
    if table.figures is not None:
        return list(read_summary(store, table, Blanks).notes(table.camera))
    found = Blanks()
    for piece in store.slices:
        found.merge(slice_blanks(store, table, piece))
    return list(found.notes(table.camera))


def slice_blanks(store: Store, table: EmbeddingManifest, piece: Slice) -> Blanks:
    """Of one committed slice."""
    return Blanks.of(store.read_slices(table.table, [piece], [fields.STEP, fields.BLANK]))


def _episodes(content: pa.Table) -> Iterator[tuple[Array, Array]]:
    """Which frames of each episode that has any are of one colour, and which are missing."""
    if not content.num_rows:
        return
    column = content.column(fields.BLANK).combine_chunks()
    missing = column.is_null().to_numpy(zero_copy_only=False)
    blank = column.fill_null(False).to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(content.column(fields.STEP).to_numpy() == 0)[1:]
    yield from zip(np.split(blank, starts), np.split(missing, starts), strict=True)
