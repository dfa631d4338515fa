"""Frames that are stored once per episode: as a list of image files, or as a video file.

A video file is decoded by PyAV, the extra `video`. An episode needs one frame per step; where it
has more or fewer, nobody can say which belongs to which step.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from relabel.frames.cameras import Found, Steps, judge
from relabel.frames.decoding import check_size
from schemas.enums import CameraForm
from schemas.errors import EpisodeFramesError, FrameError, SourceError
from schemas.tables import Array, FieldSpec

Sample = Callable[[Mapping[str, CameraForm]], Iterable[Steps]]

MAX_EPISODE_PIXELS: Final = 1 << 30  # of all frames of a video file: they are decoded together
_FILE_STARTS: Final = re.compile(
    rb"....ftyp(?!avi[fs])|\x1a\x45\xdf\xa3|RIFF....AVI ", re.DOTALL
)  # MP4 and its kin, WebM and Matroska, AVI


def is_video_file(value: object) -> bool:
    """Whether a value is bytes that begin as a video file does."""
    return isinstance(value, bytes) and _FILE_STARTS.match(value) is not None


def check_library(names: Iterable[str]) -> None:
    """Refuses cameras that are video files where nothing can decode them.

    Raises:
        SourceError: there is such a camera, and PyAV is not installed.
    """
    wanted = ", ".join(name.replace(".", "/") for name in names)
    if wanted and importlib.util.find_spec("av") is None:
        raise SourceError(
            f"camera {wanted}: is a video file per episode, and decoding it needs PyAV: "
            "pip install 'vlm-relabel[video]'"
        )


def episode_frames(value: Any, form: CameraForm, steps: int) -> Sequence[Any]:
    """What each step has of a camera that is stored once per episode.

    Args:
        value: as stored.
        form: `frames` or `video`.
        steps: T.

    Returns:
        T files or (H, W, 3) uint8 frames; or T times the error that says why there is none.
    """
    try:
        frames = list(value) if form is CameraForm.FRAMES else decode_video(value, steps)
        _check_count(len(frames), steps)
    except EpisodeFramesError as error:
        return [error] * steps
    return frames


def _check_count(frames: int, steps: int) -> None:
    if frames != steps:
        raise EpisodeFramesError(
            f"video: expected one frame per step, got {frames} for {steps} steps; which belongs to "
            "which step cannot be told"
        )


def decode_video(content: bytes, steps: int) -> list[Array]:
    """The frames of a video file, in the order in which they are shown.

    Args:
        content: the whole file.
        steps: how many frames it must have; others are told before anything is decoded.

    Returns:
        `steps` arrays (H, W, 3) uint8.

    Raises:
        EpisodeFramesError: it cannot be decoded, has another number of frames, or would be huge.
    """
    import av

    try:
        _check_count(_packets(content), steps)
        with av.open(io.BytesIO(content), mode="r") as container:
            stream = container.streams.video[0]
            check_size(stream.height, stream.width)
            if stream.height * stream.width * steps > MAX_EPISODE_PIXELS:
                raise EpisodeFramesError(
                    f"video: {steps} frames of {stream.height} x {stream.width} pixels; at most "
                    f"{MAX_EPISODE_PIXELS:,} pixels of an episode are decoded"
                )
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except EpisodeFramesError:
        raise
    except (av.FFmpegError, FrameError, IndexError, ValueError) as error:
        told = re.sub(r"'?<[^>]*>'?", "the file", str(error))
        raise EpisodeFramesError(f"video: {len(content)} bytes do not decode: {told}") from error


def _packets(content: bytes) -> int:
    """Frames of a video file, counted without decoding them."""
    import av

    with av.open(io.BytesIO(content), mode="r") as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def with_videos(
    found: Found, videos: Sequence[tuple[FieldSpec, CameraForm]], sample: Sample
) -> Found:
    """The cameras of the steps, and those that are stored once per episode.

    Args:
        found: the cameras of the steps.
        videos: features of an episode that hold frames, named as their tables are.
        sample: of features and their forms, the values of T steps of some episodes. Video files
            are not looked into: they would have to be decoded.
    """
    deep = {spec.name: judge(spec).objection or "" for spec, _ in videos if spec.dtype != "uint8"}
    forms = {spec.name: form for spec, form in videos if spec.name not in deep}
    lists = {name: form for name, form in forms.items() if form is CameraForm.FRAMES}
    odd = _objections(lists, sample(lists)) if lists else {}
    fit = {name: form for name, form in forms.items() if name not in odd}
    return Found({**found.forms, **fit}, {**found.refused, **deep, **odd}, found.notes)


def _objections(names: Iterable[str], episodes: Iterable[Steps]) -> dict[str, str]:
    """Why lists of images are no cameras: no sampled episode has one image per step."""
    firsts: dict[str, list[Any]] = {name: [] for name in names}
    for steps in episodes:
        for name, values in firsts.items():
            values.append(steps[name][0])
    return {
        name: f"in no sampled episode has it one image per step; {values[0]}"
        for name, values in firsts.items()
        if values and all(isinstance(value, EpisodeFramesError) for value in values)
    }
