"""Cameras: which features of a source hold frames, and in which form.

A feature's type tells most of it. What it cannot tell is looked up in sampled values: whether a
string is an image file, and whether floats lie in [0, 1]. A planner decides once and records the
form of each camera; workers follow the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from relabel.frames.decoding import FORMATS, file_format
from schemas.enums import CameraForm
from schemas.tables import FieldSpec

MIN_SIDE: Final = 16  # pixels; a smaller tensor is a grid or a matrix until the user says otherwise
MAX_STACK: Final = 16  # frames; a longer first axis is a volume
_CHANNELS: Final = (1, 3, 4)
_FLOATS: Final = ("float16", "float32", "float64")
_DEPTH_WORDS: Final = ("depth", "disparity")
_HALF_LEVEL: Final = 0.5 / 255  # a value this far outside [0, 1] still rounds to a level

Shape = tuple[int, ...]
Steps = Mapping[str, Sequence[Any]]  # of one episode: T values by feature; strings as bytes


@dataclass(frozen=True)
class Found:
    """The cameras of a source, and what looks like one and is none."""

    forms: Mapping[str, CameraForm] = field(default_factory=dict)  # camera → its form
    refused: Mapping[str, str] = field(default_factory=dict)  # feature → why it is not proposed
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What a feature's type says of it."""

    form: CameraForm | None  # taken if the user names it; None: it cannot be, or is ambiguous
    objection: str | None = None  # why it is not taken unasked; None: it is
    listed: bool = True  # it looks like a camera, so that an objection is worth telling


def find_cameras(
    specs: Sequence[FieldSpec], sample: Callable[[list[str]], Iterable[Steps]]
) -> Found:
    """The cameras among the features of a step.

    Args:
        specs: of the features.
        sample: some episodes' values of the features named; called at most once, and only if
            there is a feature whose type does not tell.
    """
    judged = {spec.name: judge(spec) for spec in specs}
    unsure = [s for s in specs if judged[s.name].objection is None and needs_values(s)]
    if unsure:
        judged |= objections_of_values(unsure, sample([spec.name for spec in unsure]))
    forms = {n: j.form for n, j in judged.items() if j.form and j.objection is None}
    refused = {n: j.objection for n, j in judged.items() if j.objection and j.listed}
    notes = [note for spec in specs if spec.name in forms for note in _notes(spec)]
    return Found(forms, refused, tuple(notes))


def needs_values(spec: FieldSpec) -> bool:
    """Whether the type alone does not tell that a feature is a camera."""
    return spec.kind == "tensor" and spec.dtype in (*_FLOATS, "object")


def layouts(spec: FieldSpec) -> tuple[CameraForm, ...]:
    """Every form that a feature's type permits."""
    if spec.kind == "image":
        return (CameraForm.IMAGE,) if spec.dtype == "uint8" else ()
    if spec.kind == "text":
        return ()
    if spec.dtype == "object":
        return () if spec.shape else (CameraForm.ENCODED,)
    if spec.dtype not in ("uint8", *_FLOATS):
        return ()
    return tuple(_sides(spec))


def _sides(spec: FieldSpec) -> dict[CameraForm, tuple[int, int]]:
    """(height, width) of a tensor's frame by every form that its shape permits."""
    if None in spec.shape:
        return {}
    sides = {}
    match spec.shape:
        case (int(h), int(w)):
            sides[CameraForm.PIXELS] = (h, w)
        case (int(a), int(b), int(c)):
            if c in _CHANNELS:
                sides[CameraForm.PIXELS] = (a, b)
            sides[CameraForm.STACK] = (b, c)
            if a in _CHANNELS:
                sides[CameraForm.CHANNELS_FIRST] = (b, c)
            sides[CameraForm.STACK_LAST] = (a, b)
        case (int(_), int(h), int(w), int(c)) if c in _CHANNELS:
            sides[CameraForm.STACK] = (h, w)
    return sides


def judge(spec: FieldSpec) -> Judgement:
    """What the type of a feature of a step says of it."""
    judgement = _judge_type(spec)
    if judgement.form is not None and judgement.objection is None and _is_called_depth(spec.name):
        return Judgement(judgement.form, "its name says depth; name it if it shows colours")
    return judgement


def _judge_type(spec: FieldSpec) -> Judgement:
    if spec.kind == "image":
        if spec.dtype == "uint8":
            return Judgement(CameraForm.IMAGE)
        return Judgement(None, f"{spec.dtype} is depth or a measurement, not 8 bits of colour")
    if spec.kind == "text":
        return Judgement(None, "it holds text", listed=False)
    if spec.dtype == "object":
        if spec.shape:
            return Judgement(None, "it holds a list of strings; a frame is one file per step")
        return Judgement(CameraForm.ENCODED, listed=False)
    return _judge_tensor(spec)


def _judge_tensor(spec: FieldSpec) -> Judgement:
    sides = _sides(spec)
    large = [form for form, (h, w) in sides.items() if min(h, w) >= MIN_SIDE]
    form = next(iter(large or sides), None)
    if not sides:
        shape = ", ".join("?" if n is None else str(n) for n in spec.shape)
        return Judgement(None, f"{spec.dtype}[{shape}] holds no frame", listed=False)
    if not large:
        told = f"smaller than {MIN_SIDE} x {MIN_SIDE}, so it may be a grid or a matrix"
        ambiguous = form is not CameraForm.PIXELS and len(sides) > 1
        return Judgement(None if ambiguous else form, told, listed=False)
    if spec.dtype not in ("uint8", *_FLOATS):
        told = "is depth or a measurement" if spec.dtype == "uint16" else "holds no colours"
        listed = spec.dtype == "uint16" or form is CameraForm.PIXELS
        return Judgement(
            None, f"{spec.dtype} {told}; frames are uint8, or floats in [0, 1]", listed
        )
    return _judge_frames(spec, form, large)


def _judge_frames(
    spec: FieldSpec, form: CameraForm | None, large: Sequence[CameraForm]
) -> Judgement:
    """Of a tensor that is large enough, of a type that frames have."""
    choice = " or ".join(f"{spec.name.replace('.', '/')}={layout}" for layout in large)
    planes = spec.shape[-1] not in _CHANNELS
    if spec.dtype in _FLOATS and (planes or _is_called_depth(spec.name)):
        return Judgement(
            None,
            f"{spec.dtype} without colour channels is taken for depth"
            if planes
            else "its name says depth",
        )
    if form is CameraForm.PIXELS and not planes:
        return Judgement(form)
    if len(spec.shape) == 2:
        return Judgement(form, "one uint8 plane may be a mask or a map; name it if it is a frame")
    if form is not CameraForm.STACK or (spec.shape[0] == 3 and len(spec.shape) == 3):
        return Judgement(None, f"its axes can be read in several ways: name it as {choice}")
    if (spec.shape[0] or 0) > MAX_STACK:
        return Judgement(None, f"more than {MAX_STACK} planes are a volume, not frames", False)
    return Judgement(form)


def _is_called_depth(name: str) -> bool:
    return any(word in name.lower() for word in _DEPTH_WORDS)


def _notes(spec: FieldSpec) -> list[str]:
    """What is assumed of a camera, for the user to object."""
    name = spec.name.replace(".", "/")
    if spec.kind == "tensor" and len(spec.shape) == 3 and spec.shape[-1] == 4:
        return [
            f"{name}: its four channels are read as RGBA; if they are a stack of grey frames, "
            f"name it as {name}={CameraForm.STACK_LAST}"
        ]
    is_stack = judge(spec).form is CameraForm.STACK and spec.kind == "tensor"
    return [f"{name}: is a stack of {spec.shape[0]} frames; the last is read"] if is_stack else []


@dataclass
class _Seen:
    """Values of one feature that were looked at."""

    files: Counter[str] = field(default_factory=Counter)  # strings that are images, by format
    texts: int = 0  # strings that are none, and not empty
    low: float = np.inf
    high: float = -np.inf
    finite: bool = True

    def add(self, values: Sequence[Any]) -> None:
        """Takes the values of one episode's steps."""
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            if values.size:
                low, high = float(values.min()), float(values.max())  # NaN if there is one
                self.finite &= bool(np.isfinite(low) and np.isfinite(high))
                self.low, self.high = min(self.low, low), max(self.high, high)
            return
        for value in values:
            if found := file_format(value):
                self.files[found] += 1
            else:
                self.texts += bool(value)


def objections_of_values(
    specs: Sequence[FieldSpec], episodes: Iterable[Steps]
) -> dict[str, Judgement]:
    """What sampled values say against features that could be cameras, where they do.

    Args:
        specs: of the features.
        episodes: looked at one after the other.
    """
    seen = {spec.name: _Seen() for spec in specs}
    for steps in episodes:
        for name, values in seen.items():
            values.add(steps[name])
    found = {spec.name: _objection(spec, seen[spec.name]) for spec in specs}
    return {name: objection for name, objection in found.items() if objection is not None}


def _objection(spec: FieldSpec, seen: _Seen) -> Judgement | None:
    if spec.dtype == "object":
        return _objection_to_strings(seen)
    if not seen.finite:
        return Judgement(None, "holds values that are not finite")
    if seen.low < -_HALF_LEVEL or seen.high > 1 + _HALF_LEVEL:
        told = f"{spec.dtype} from {seen.low:g} to {seen.high:g} in sampled episodes"
        return Judgement(None, f"{told}; frames are uint8, or floats in [0, 1]")
    return None


def _objection_to_strings(seen: _Seen) -> Judgement | None:
    if any(seen.files[known] for known in FORMATS):
        return None
    if seen.files:
        told = f"holds {' and '.join(seen.files)} files; readable formats are {', '.join(FORMATS)}"
        return Judgement(None, told)
    told = f"none of {seen.texts} sampled texts begins as an image file does"
    return Judgement(None, told, listed=False)
