"""Cameras as the user names them: `observation/wrist`, `wrist`, or `wrist=LAYOUT`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from relabel.frames.cameras import Found, Steps, judge, layouts, needs_values, objections_of_values
from schemas import fields
from schemas.enums import CameraForm
from schemas.errors import SourceError
from schemas.tables import FieldSpec

Sample = Callable[[list[str]], Iterable[Steps]]


def resolve_cameras(
    names: Sequence[str], specs: Sequence[FieldSpec], found: Found, sample: Sample, origin: str
) -> dict[str, CameraForm]:
    """Dotted names and forms of the cameras that the user names.

    A feature that is not proposed as a camera is one if it is named and its values can be frames.
    `NAME=LAYOUT` says how the axes are to be read, where the shape permits that layout.

    Args:
        names: each `observation/wrist`, `observation.wrist` or `wrist`, with a layout or without.
        specs: of the features of a step.
        found: the cameras among them.
        sample: as `find_cameras` takes it.
        origin: the source, for error texts.

    Raises:
        SourceError: none given, or one is unknown, ambiguous or no camera; lists the cameras.
    """
    if not names:
        raise SourceError(f"no camera given; {_known(found)}")
    known = {spec.name: spec for spec in specs}
    resolved: dict[str, CameraForm] = {}
    for text in names:
        name, _, layout = text.partition("=")
        spec = known[_resolve(name, known, found, origin)]
        form = _form(spec, layout, found, sample, origin)
        if resolved.setdefault(spec.name, form) is not form:
            raise SourceError(f"{origin}: camera {_slashed(spec.name)!r} is given two layouts")
    return resolved


def _resolve(name: str, known: Mapping[str, FieldSpec], found: Found, origin: str) -> str:
    dotted = name.strip("/").replace("/", ".").removeprefix(f"{fields.STEPS}.")
    if dotted in known:
        return dotted
    for candidates in (list(found.forms), list(known)):
        matches = [c for c in candidates if c.endswith(f".{dotted}")]
        if len(matches) == 1:
            return matches[0]
        if matches:
            told = ", ".join(map(_slashed, matches))
            raise SourceError(
                f"{origin}: ambiguous camera {name!r}; it may be {told}; {_known(found)}"
            )
    raise SourceError(f"{origin}: unknown camera {name!r}; {_known(found)}")


def _form(spec: FieldSpec, layout: str, found: Found, sample: Sample, origin: str) -> CameraForm:
    if spec.name in found.forms and layout in ("", found.forms[spec.name]):
        return found.forms[spec.name]
    if spec.name.startswith(fields.METADATA_PREFIX):
        why = found.refused.get(spec.name) or f"it has no layout {layout!r}"
        raise _no_camera(spec, why, found, origin)
    form = _asked_form(spec, layout, found, origin)
    if needs_values(spec):
        objections = objections_of_values([spec], sample([spec.name]))
        if told := [judgement.objection or "" for judgement in objections.values()]:
            raise _no_camera(spec, told[0], found, origin)
    return form


def _asked_form(spec: FieldSpec, layout: str, found: Found, origin: str) -> CameraForm:
    possible = layouts(spec)
    judgement = judge(spec)
    if not possible or (not layout and judgement.form is None):
        objection = found.refused.get(spec.name) or judgement.objection or "it holds no frame"
        raise _no_camera(spec, objection, found, origin)
    if not layout and judgement.form is not None:
        return judgement.form
    if layout not in possible:
        raise SourceError(
            f"{origin}: camera {_slashed(spec.name)}={layout}: its shape "
            f"{list(spec.shape)} permits {' or '.join(possible)}"
        )
    return CameraForm(layout)


def _no_camera(spec: FieldSpec, why: str, found: Found, origin: str) -> SourceError:
    return SourceError(f"{origin}: {_slashed(spec.name)} is no camera: {why}; {_known(found)}")


def _known(found: Found) -> str:
    if not found.forms:
        return "the source has no camera at all"
    return "its cameras are " + ", ".join(map(_slashed, found.forms))


def _slashed(name: str) -> str:
    return name.replace(".", "/")
