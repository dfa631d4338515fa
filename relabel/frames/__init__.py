"""Stored images to pixels: cameras, their forms, and the decoding of a frame."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.frames.camera_frames import frame_of as frame_of
    from relabel.frames.camera_names import resolve_cameras as resolve_cameras
    from relabel.frames.cameras import find_cameras as find_cameras
    from relabel.frames.decoding import Frame as Frame
    from relabel.frames.decoding import decode_frame as decode_frame
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "Frame": "relabel.frames.decoding",
            "decode_frame": "relabel.frames.decoding",
            "find_cameras": "relabel.frames.cameras",
            "frame_of": "relabel.frames.camera_frames",
            "resolve_cameras": "relabel.frames.camera_names",
        },
    )
