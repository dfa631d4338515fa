"""Which features are cameras: by their types, by sampled values, and by what the user says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from relabel.frames.camera_names import resolve_cameras
from relabel.frames.cameras import Found, Steps, find_cameras
from relabel.testing import encoded_image
from schemas.enums import CameraForm
from schemas.errors import SourceError
from schemas.tables import FieldSpec

PNG = encoded_image(np.zeros((2, 2, 3), np.uint8))
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8L"


def tensor(name: str, dtype: str, *shape: int | None) -> FieldSpec:
    return FieldSpec(name=name, kind="tensor", dtype=dtype, shape=shape)


def find(spec: FieldSpec, *episodes: Sequence[Any]) -> Found:
    """The cameras of a source of one feature, which has these values."""

    def sample(names: list[str]) -> Iterable[Steps]:
        assert names == [spec.name]
        assert episodes, "the type alone should tell"
        return [{spec.name: values} for values in episodes]

    return find_cameras([spec], sample)


@pytest.mark.parametrize(
    ("dtype", "shape", "form"),
    [
        ("uint8", (84, 84, 3), "pixels"),
        ("uint8", (16, 640, 1), "pixels"),
        ("uint8", (84, 84, 4), "pixels"),  # RGBA, with a note
        ("uint8", (4, 84, 84), "stack"),
        ("uint8", (1, 84, 84), "stack"),
        ("uint8", (2, 84, 84, 3), "stack"),
        ("uint8", (3, 84, 84, 1), "stack"),
        # None of these unasked:
        ("uint8", (15, 84, 3), None),  # small
        ("uint8", (8, 8, 3), None),
        ("uint8", (84, 84), None),  # a mask?
        ("uint8", (3, 84, 84), None),  # channels first, or a stack?
        ("uint8", (84, 84, 9), None),
        ("uint8", (64, 64, 64), None),  # a volume
        ("uint8", (7,), None),
        ("uint8", (), None),
        ("uint8", (84, None, 3), None),
        ("uint16", (84, 84, 1), None),
        ("uint16", (84, 84), None),
        ("int32", (84, 84, 3), None),
        ("float32", (84, 84), None),  # depth
        ("float32", (4, 84, 84), None),
        ("float32", (4, 4, 1), None),
        ("bool", (84, 84, 1), None),
    ],
)
def test_what_a_tensor_is_by_its_type(
    dtype: str, shape: tuple[int | None, ...], form: str | None
) -> None:
    found = find(tensor("observation.x", dtype, *shape))
    assert dict(found.forms) == ({"observation.x": form} if form else {})


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (FieldSpec(name="d", kind="image", dtype="uint16"), "uint16 is depth"),
        (FieldSpec(name="d", kind="image", dtype="float32"), "float32 is depth"),
        (tensor("d", "uint16", 84, 84), "uint16 is depth"),
        (tensor("d", "float32", 84, 84), "without colour channels is taken for depth"),
        (tensor("depth_front", "float32", 84, 84, 1), "its name says depth"),
        (FieldSpec(name="o.depth_front", kind="image", dtype="uint8"), "its name says depth"),
        (tensor("depth_front", "uint8", 84, 84, 1), "its name says depth; name it if it shows c"),
        (tensor("depth_front", "uint8", 4, 84, 84), "its name says depth"),
        (tensor("depth_front", "object"), "its name says depth"),
        (tensor("x", "object", 1), "a list of strings; a frame is one file per step"),
        (tensor("x", "int32", 84, 84, 3), "int32 holds no colours"),
        (tensor("x", "uint8", 84, 84), "may be a mask"),
        (tensor("x", "uint8", 3, 84, 84), "name it as x=stack or x=channels-first"),
    ],
)
def test_what_looks_like_a_camera_and_is_none_is_told(spec: FieldSpec, told: str) -> None:
    found = find(spec)
    assert not found.forms
    assert told in found.refused[spec.name]


@pytest.mark.parametrize("spec", [tensor("t", "uint8", 8, 8, 3), tensor("t", "float32", 7)])
def test_small_tensors_are_not_worth_a_word(spec: FieldSpec) -> None:
    assert find(spec) == Found()


def test_floats_in_the_range_of_colours_are_frames() -> None:
    spec = tensor("x", "float32", 16, 16, 3)
    frames = np.full((2, 16, 16, 3), 0.5, np.float32)
    assert dict(find(spec, frames, frames * 2).forms) == {"x": "pixels"}
    assert dict(find(spec, frames * 0 - 1e-4).forms) == {"x": "pixels"}, "rounding is forgiven"


@pytest.mark.parametrize(("value", "told"), [(255.0, "from 0 to 255"), (-1.0, "from -1 to 0")])
def test_floats_beyond_it_are_none_with_their_range(value: float, told: str) -> None:
    spec = tensor("x", "float32", 16, 16, 3)
    good, bad = np.zeros((2, 2, 16, 16, 3), np.float32)
    bad[1, 3, 3] = value
    found = find(spec, good, bad)
    assert not found.forms
    assert told in found.refused["x"]


def test_floats_that_are_not_finite_are_none() -> None:
    frames = np.full((1, 16, 16, 3), np.nan, np.float32)
    assert "not finite" in find(tensor("x", "float32", 16, 16, 3), frames).refused["x"]


@pytest.mark.parametrize("start", [PNG, b"\xff\xd8\xff\xe0", WEBP])
def test_strings_that_are_image_files_are_frames(start: bytes) -> None:
    assert dict(find(tensor("x", "object"), [b""], [start, b""]).forms) == {"x": "encoded"}


def test_strings_of_other_formats_are_named() -> None:
    found = find(tensor("x", "object"), [b"GIF89a..."])
    assert found.refused == {"x": "holds GIF files; readable formats are JPEG, PNG, WEBP"}


def test_other_strings_are_not_worth_a_word() -> None:
    assert find(tensor("x", "object"), [b"raw", b""]) == Found()
    assert find(FieldSpec(name="x", kind="text", dtype="object")) == Found()


def test_assumptions_are_noted() -> None:
    (rgba,) = find(tensor("o.x", "uint8", 84, 84, 4)).notes
    assert "read as RGBA" in rgba
    assert "o/x=stack-last" in rgba
    (stack,) = find(tensor("o.x", "uint8", 4, 84, 84)).notes
    assert "a stack of 4 frames; the last is read" in stack


# --- as the user names them

SPECS = (
    FieldSpec(name="observation.front", kind="image", dtype="uint8"),
    FieldSpec(name="observation.depth", kind="image", dtype="float32"),
    FieldSpec(name="observation.depth_8", kind="image", dtype="uint8"),
    tensor("observation.tactile", "uint8", 8, 8, 3),
    tensor("observation.planes", "uint8", 3, 84, 84),
    tensor("observation.rgba", "uint8", 84, 84, 4),
    tensor("observation.mask", "uint8", 84, 84),
    tensor("observation.state", "float32", 7),
    tensor("observation.wide", "float32", 16, 16, 3),
    FieldSpec(name="language", kind="text", dtype="object"),
)
VALUES = {"observation.wide": np.full((1, 16, 16, 3), 255, np.float32)}


def resolve(*names: str) -> dict[str, CameraForm]:
    found = find_cameras(SPECS, lambda wanted: [VALUES])
    return resolve_cameras(names, SPECS, found, lambda wanted: [VALUES], "SOURCE")


@pytest.mark.parametrize(
    ("name", "dotted", "form"),
    [
        ("front", "observation.front", "image"),
        ("steps/observation/front", "observation.front", "image"),
        ("tactile", "observation.tactile", "pixels"),
        ("mask", "observation.mask", "pixels"),
        ("depth_8", "observation.depth_8", "image"),
        ("planes=channels-first", "observation.planes", "channels-first"),
        ("planes=stack", "observation.planes", "stack"),
        ("rgba", "observation.rgba", "pixels"),
        ("rgba=stack-last", "observation.rgba", "stack-last"),
    ],
)
def test_a_named_feature_is_a_camera_if_it_can_be(name: str, dotted: str, form: str) -> None:
    assert resolve(name) == {dotted: form}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["depth"], "observation/depth is no camera: float32 is depth .* its cameras are obs"),
        (["state"], r"observation/state is no camera: float32\[7\] holds no frame"),
        (["language"], "language is no camera: it holds text"),
        (["wide"], "observation/wide is no camera: float32 from 255 to 255 in sampled"),
        (["planes"], "name it as observation/planes=stack or observation/planes=channels-first"),
        (["planes=pixels"], r"its shape \[3, 84, 84\] permits stack or channels-first or"),
        (["front=stack"], "observation/front=stack"),
        (["rgba", "rgba=stack-last"], "observation/rgba' is given two layouts"),
        (["no"], "unknown camera 'no'; its cameras are observation/front, observation/rgba"),
        ([], "no camera given"),
    ],
)
def test_what_cannot_be_one_is_refused_with_the_reason(names: list[str], told: str) -> None:
    with pytest.raises(SourceError, match=told):
        resolve(*names)
