"""What to do with a source: the command to type, or why none would work."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relabel.goals.files import FIELD_PREFIX
from relabel.inspection.content import CameraReport, Content
from relabel.source.notes import LanguageReport
from relabel.source.source import Source

_ENCODER: Final = "ViT-B-32:laion2b_s34b_b79k"
_TEXTS: Final = ("--goals", "the drawer is open", "--goals", "the drawer is closed")


@dataclass(frozen=True)
class Proposal:
    """What to do next."""

    command: str | None = None  # None: none would work
    advice: tuple[str, ...] = ()
    error: str | None = None  # why nothing can be done with the source as it is


def propose(
    directory: str,
    split: str,
    source: Source,
    content: Content,
    languages: Sequence[LanguageReport],
    how: Sequence[str] = (),
) -> Proposal:
    """The `relabel` of a source, with its first camera and its own instructions if it has any.

    Args:
        directory: of the source, as the user named it.
        split: to relabel.
        source: that split.
        content: what its first episodes hold.
        languages: its texts.
        how: words of the options that it was opened with.
    """
    if content.lengths is None:
        return Proposal(error=_nothing_read(split, source, content))
    opened = ("--source", directory, "--split", split, *how)
    store = ("--store", f"{source.spec.name}.store")
    cameras = [camera for camera in content.cameras if not camera.is_broken]
    if not cameras:
        words = ("vlm-relabel", "embed", "--no-frames", *opened, *store)
        return Proposal(shlex.join(words), (_without_camera(source, content),))
    goals, advice = _goals(languages)
    words = (
        *("vlm-relabel", "relabel", *opened),
        *("--camera", _best(cameras), "--encoder", _ENCODER, *goals, *store),
    )
    return Proposal(shlex.join(words), advice)


def _nothing_read(split: str, source: Source, content: Content) -> str:
    if not content.records:
        return f"split {split}: {source.extent.missing()}"
    if not content.unreadable:
        return f"split {split}: none of the first {content.records} episodes has any step"
    return (
        f"split {split}: none of the first {content.records} episodes can be read; the first: "
        f"{content.unreadable[0]}"
    )


def _without_camera(source: Source, content: Content) -> str:
    if content.cameras:
        names = ", ".join(camera.name for camera in content.cameras)
        return f"no sampled frame of {names} can be decoded: go on without frames:"
    named = [f"{name.replace('.', '/')}: {why}" for name, why in source.found.refused.items()]
    if named:
        return (
            f"no feature is taken for a camera unasked ({'; '.join(named)}); name one with "
            "--camera of relabel, or go on without frames, with the rewards that the source has:"
        )
    if source.features.left_out:
        names = ", ".join(source.features.left_out)
        return (
            f"no camera is among what can be read (left out: {names}): go on without frames, with "
            "the rewards that the source has:"
        )
    return "the source has no frames: go on without, with the rewards that it has of its own:"


def _best(cameras: Sequence[CameraReport]) -> str:
    """The first camera that shows something, if any does."""
    lit = [own for own in cameras if not (own.is_dark or own.problem)]
    return (lit or list(cameras))[0].name


def _goals(languages: Sequence[LanguageReport]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words for the goals, and what to say of them."""
    told = [own for own in languages if own.fills_language and own.examples]
    if not told:
        advice = "no instruction was found: put the goals of your own tasks in place of these"
        return _TEXTS, (advice,)
    first = told[0]
    others = [own for own in told[1:] if _stem(own.name) == _stem(first.name)]
    names = ",".join(own.name for own in (first, *(others if first.silent else ())))
    return ("--goals", f"{FIELD_PREFIX}{names}"), ()


def _stem(name: str) -> str:
    """A name without the number behind it: `instruction_2` is another `instruction`."""
    return name.rstrip("0123456789").rstrip("_")
