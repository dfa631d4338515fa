"""What the first episodes of a source hold: lengths, sizes of frames, ranges of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from relabel.frames.camera_frames import frame_of, is_one_colour, newest
from relabel.source.episodes import Episode
from schemas.dead_letters import DeadLetter
from schemas.enums import CameraForm
from schemas.errors import FrameError
from schemas.tables import FieldSpec

_FRAMES_LOOKED_AT: Final = 3  # of an episode and camera: the first, the middle one, the last
_MOST_VALUES: Final = 64  # of a column whose range is told value by value
_EXAMPLES: Final = 3
_LONGEST_EXAMPLE: Final = 60  # characters


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class LengthReport(_Model):
    """Steps of the sampled episodes."""

    episodes: int
    min: int
    median: float
    max: int


class CameraReport(_Model):
    """Frames of one camera, as far as they were looked at."""

    name: str
    form: CameraForm
    sizes: tuple[tuple[int, int], ...]  # (height, width), each different one
    frames: int  # looked at
    one_colour: int  # of these
    problem: str | None  # of the first frame that cannot be decoded

    @property
    def is_dark(self) -> bool:
        """Whether none of its frames shows anything."""
        return 0 < self.frames == self.one_colour

    @property
    def is_broken(self) -> bool:
        """Whether none of its frames can be decoded."""
        return self.frames > 0 and not self.sizes


class RangeReport(FieldSpec):
    """A column, and which values it has in the sampled episodes."""

    low: float | None = None  # of all its finite values; None: there is none
    high: float | None = None
    lows: tuple[float, ...] = ()  # value by value of a step, flattened; (): too many, or one
    highs: tuple[float, ...] = ()
    distinct: int | None = None  # of one whole number or bool
    not_finite: int = 0  # values that are NaN or infinite


class MetadataReport(FieldSpec):
    """A value of an episode."""

    examples: tuple[str, ...] = ()  # distinct ones, cut to 60 characters


class Content(_Model):
    """What the sampled episodes hold."""

    records: int  # looked at
    unreadable: tuple[str, ...]  # episode and reason, of each record that could not be read
    empty: int  # episodes without any step
    lengths: LengthReport | None  # None: no episode could be read
    cameras: tuple[CameraReport, ...]
    actions: tuple[RangeReport, ...]
    metadata: tuple[MetadataReport, ...]

    def notes(self) -> list[str]:
        """What is unusual about frames and numbers."""
        broken = [f"{c.name}: {c.problem}" for c in self.cameras if c.problem]
        odd = [
            f"{column.name}: {column.not_finite} values in the sampled episodes are not finite"
            for column in self.actions
            if column.not_finite
        ]
        empty = [f"episodes without any step: {self.empty}"] if self.empty else []
        return [*broken, *odd, *empty]


def look_at(
    items: Iterable[Episode | DeadLetter],
    *,
    cameras: Mapping[str, CameraForm],
    actions: Sequence[FieldSpec],
    metadata: Sequence[FieldSpec],
) -> Content:
    """Looks at each episode once, and keeps none.

    Args:
        items: the sampled episodes, with the values of all actions and of the cameras that are
            to be looked at.
        cameras: form by name.
        actions: columns whose range is told.
        metadata: values of an episode that are shown.
    """
    seen = _Seen(
        {name: _Camera(name, form) for name, form in cameras.items()},
        {spec.name: _Range(spec) for spec in actions},
        {spec.name: {} for spec in metadata},
    )
    for item in items:
        seen.add(item)
    return Content(
        records=len(seen.records),
        unreadable=tuple(seen.unreadable),
        empty=seen.lengths.count(0),
        lengths=_lengths([length for length in seen.lengths if length]),
        cameras=tuple(camera.report() for camera in seen.cameras.values()),
        actions=tuple(values.report() for values in seen.actions.values()),
        metadata=tuple(
            MetadataReport(**dict(spec), examples=tuple(seen.metadata[spec.name])[:_EXAMPLES])
            for spec in metadata
        ),
    )


def _lengths(lengths: Sequence[int]) -> LengthReport | None:
    if not lengths:
        return None
    return LengthReport(
        episodes=len(lengths),
        min=min(lengths),
        median=float(np.median(lengths)),
        max=max(lengths),
    )


class _Seen:
    """What came by so far."""

    def __init__(
        self,
        cameras: dict[str, _Camera],
        actions: dict[str, _Range],
        metadata: dict[str, dict[str, None]],
    ) -> None:
        self.cameras = cameras
        self.actions = actions
        self.metadata = metadata
        self.records: set[str] = set()
        self.unreadable: list[str] = []
        self.lengths: list[int] = []

    def add(self, item: Episode | DeadLetter) -> None:
        if isinstance(item, DeadLetter):
            self.records.add(item.episode_id)
            self.unreadable.append(f"{item.episode_id}: {item.reason}")
            return
        self.records.add(_record_of(item))
        self.lengths.append(item.length)
        for name, examples in self.metadata.items():
            examples[_shown(item.metadata.get(name))] = None
        if item.length:
            for name, camera in self.cameras.items():
                if name in item.steps:
                    camera.add(item.steps[name])
            for name, values in self.actions.items():
                values.add(item.steps[name])


def _record_of(episode: Episode) -> str:
    """Id of the record that an episode is from; of several in one, "train/0/3.1" is one."""
    return episode.id.rpartition(".")[0] if episode.is_part else episode.id


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_EXAMPLE else text[: _LONGEST_EXAMPLE - 1] + "…"


class _Camera:
    """Frames of one camera so far."""

    def __init__(self, name: str, form: CameraForm) -> None:
        self._name = name
        self._form = form
        self._sizes: dict[tuple[int, int], None] = {}
        self._frames = 0
        self._one_colour = 0
        self._problem: str | None = None

    def add(self, values: Sequence[Any]) -> None:
        for place in sorted({*np.linspace(0, len(values) - 1, _FRAMES_LOOKED_AT, dtype=int)}):
            self._frames += 1
            try:
                frame = frame_of(newest(values[place], self._form))
            except FrameError as error:
                self._problem = self._problem or str(error)
                continue
            self._sizes[frame.shape[:2]] = None
            self._one_colour += is_one_colour(frame)

    def report(self) -> CameraReport:
        return CameraReport(
            name=self._name.replace(".", "/"),
            form=self._form,
            sizes=tuple(sorted(self._sizes)),
            frames=self._frames,
            one_colour=self._one_colour,
            problem=self._problem,
        )


class _Range:
    """Values of one column so far."""

    def __init__(self, spec: FieldSpec) -> None:
        self._spec = spec
        self._low: Any = None  # (W,) float64, inf where no value is finite
        self._high: Any = None
        self._distinct: set[float] = set()
        self._not_finite = 0

    def add(self, values: Any) -> None:
        if self._spec.kind != "tensor" or self._spec.dtype == "object" or self._is_ragged:
            return
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        finite = np.isfinite(flat)
        self._not_finite += int((~finite).sum())
        low = np.where(finite, flat, np.inf).min(axis=0)
        high = np.where(finite, flat, -np.inf).max(axis=0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)
        if flat.shape[1] == 1 and not self._spec.dtype.startswith("float"):
            self._distinct.update(flat[:, 0].tolist())

    @property
    def _is_ragged(self) -> bool:
        return None in self._spec.shape

    def report(self) -> RangeReport:
        own = dict(self._spec)
        if self._low is None or not np.isfinite(self._low).any():
            return RangeReport(**own, not_finite=self._not_finite)
        low, high = self._low[np.isfinite(self._low)], self._high[np.isfinite(self._high)]
        by_value = 1 < len(self._low) <= _MOST_VALUES and len(low) == len(self._low)
        return RangeReport(
            **own,
            low=float(low.min()),
            high=float(high.max()),
            lows=tuple(self._low.tolist()) if by_value else (),
            highs=tuple(self._high.tolist()) if by_value else (),
            distinct=len(self._distinct) or None,
            not_finite=self._not_finite,
        )
