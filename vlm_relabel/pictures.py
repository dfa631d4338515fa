"""Frames of a store for people to look at: those that it kept, else those of its source.

Only the frames that are asked for are decoded, and one episode is in memory at a time.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from PIL import Image

from relabel.frames.camera_frames import seen
from relabel.frames.decoding import Frame
from schemas import fields
from schemas.enums import CameraForm
from schemas.errors import SourceError
from schemas.manifests import StepsManifest
from schemas.slices import Slice
from schemas.store import Store

Wanted = Mapping[str, Sequence[int]]  # steps, rising, by the id of their episode
Picture = tuple[Frame | None, ...]  # one frame per camera; None: it cannot be read

_FLAGS: Final = (fields.IS_FIRST, fields.IS_LAST)  # that tell episodes of one record apart


class Pictures(Protocol):
    """Gives frames."""

    origin: str  # where they come from, for people
    cameras: tuple[str, ...]

    def each(self, wanted: Wanted) -> Iterator[tuple[str, int, Picture]]:
        """Some frames, in the order of the store: episode, step, and what its cameras show.

        Those of episodes that the store or the source does not have are left out.
        """


def open_pictures(store: Store, cameras: Sequence[str] = (), source: str | None = None) -> Pictures:
    """What gives the frames of a store.

    Args:
        store: its steps table may have kept frames (--keep-frames).
        cameras: dotted names; (): those that were embedded.
        source: directory of the source; None: where the store was made from.

    Raises:
        SourceError: the source is not there, or the store does not know where it was.
        StoreError: the source is another one.
    """
    steps = store.table_manifest("steps")
    chosen = tuple(cameras) or _embedded(store)
    if not chosen:
        raise SourceError(f"{store.location}: no camera was embedded; name one with --camera")
    kept = steps.frames if isinstance(steps, StepsManifest) else ()
    if source is None and set(chosen) <= set(kept):
        return KeptPictures(store, chosen)
    location = source or next(iter(steps.typed("--source")), None)
    if location is None:
        raise SourceError(
            f"{store.location}: does not say where its source is, and has kept no frames of "
            f"{', '.join(chosen)}; name the source with --source"
        )
    return SourcePictures(store, chosen, location)


def _embedded(store: Store) -> tuple[str, ...]:
    return tuple(dict.fromkeys(table.camera for table in store.embeddings()))


class KeptPictures:
    """Of frames that the steps table has."""

    def __init__(self, store: Store, cameras: tuple[str, ...]) -> None:
        self.origin = "frames kept in the store"
        self.cameras = cameras
        self._store = store

    def each(self, wanted: Wanted) -> Iterator[tuple[str, int, Picture]]:
        """As `Pictures`."""
        columns = [fields.EPISODE_ID, fields.STEP, *self.cameras]
        steps = {episode_id: set(own) for episode_id, own in wanted.items()}
        for piece, _ in _pieces(self._store, wanted):
            for batch in self._store.batches("steps", piece, columns, rows=256):
                keys = zip(*(batch.column(name).to_pylist() for name in columns[:2]), strict=True)
                for row, (episode_id, step) in enumerate(keys):
                    if step in steps.get(episode_id, ()):
                        files = (batch.column(name)[row].as_py() for name in self.cameras)
                        yield episode_id, step, tuple(seen(f, CameraForm.IMAGE) for f in files)


class SourcePictures:
    """Of frames that are read from the source again."""

    def __init__(self, store: Store, cameras: tuple[str, ...], location: str) -> None:
        # These need TFDS, which frames that were kept do without.
        from relabel.jobs.store_plan import check_source
        from relabel.source.source import Source

        self.origin = location
        self._store = store
        self._source = Source.open_as(location, store.manifest.source.instruction, store.manifest)
        check_source(store, self._source)
        self._forms = self._source.resolve_cameras(cameras)
        self.cameras = tuple(self._forms)

    def each(self, wanted: Wanted) -> Iterator[tuple[str, int, Picture]]:
        """As `Pictures`."""
        from relabel.source.episodes import Episode

        flags = [leaf.spec.name for leaf in self._source.columns if leaf.spec.name in _FLAGS]
        for _, runs in _pieces(self._store, wanted):
            for run in runs:
                for item in self._source.read(run, [*flags, *self.cameras], self._forms):
                    if isinstance(item, Episode):
                        steps = [s for s in wanted.get(item.id, ()) if s < item.length]
                        yield from ((item.id, s, self._picture(item.steps, s)) for s in steps)

    def _picture(self, steps: Mapping[str, Sequence[object]], step: int) -> Picture:
        return tuple(seen(steps[name][step], form) for name, form in self._forms.items())


def _pieces(store: Store, wanted: Wanted) -> Iterator[tuple[Slice, list[Slice]]]:
    """The slices that hold some episodes, each with the runs of their records."""
    places: dict[str, set[int]] = {}
    for episode_id in wanted:
        shard, _, place = episode_id.rpartition("/")
        record = place.partition(".")[0]  # a record of several episodes has them as 7.0, 7.1, …
        if record.isdecimal():
            places.setdefault(shard, set()).add(int(record))
    for piece in store.slices:
        records = places.get(f"{piece.split}/{piece.shard}", set())
        own = sorted(place for place in records if piece.start <= place < piece.stop)
        if own:
            yield piece, [replace(piece, start=a, stop=b) for a, b in _runs(own)]


def _runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Rising numbers as [start, stop) of neighbours."""
    for _, group in itertools.groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        numbers = [place for _, place in group]
        yield numbers[0], numbers[-1] + 1


# --- small pictures -----------------------------------------------------------------------------


def thumbnail(picture: Picture, size: int) -> Image.Image | None:
    """What a frame's cameras show, side by side.

    Args:
        picture: frames of the cameras; one that is missing leaves its place grey.
        size: height, in pixels; frames are never enlarged.

    Returns:
        RGB, or None if there is no frame at all.
    """
    frames = [frame for frame in picture if frame is not None]
    if not frames:
        return None
    images = [_small(frames[0] if f is None else f, size, blank=f is None) for f in picture]
    height = max(image.height for image in images)
    whole = Image.new("RGB", (sum(image.width for image in images), height), (128, 128, 128))
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole


def _small(frame: Frame, size: int, *, blank: bool) -> Image.Image:
    height, width = frame.shape[:2]
    ratio = min(1.0, size / height)
    small = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    if blank:
        return Image.new("RGB", small, (128, 128, 128))
    image = Image.fromarray(np.asarray(frame))
    return image if ratio == 1 else image.resize(small, Image.Resampling.LANCZOS)


def webp(image: Image.Image, quality: int = 75) -> bytes:
    """An image as a WebP file, which every browser since 2020 shows."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()
