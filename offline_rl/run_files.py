"""Files of a run folder: whole under their final names, and on the disk before anything follows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.disks import disk_cure
from schemas.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses becomes a sentence, with what can be done about it.

    Args:
        path: of what is written, for errors that name no file.

    Raises:
        RunError: in the place of the disk's error.
    """
    try:
        yield
    except OSError as error:
        if (cure := disk_cure(error)) is None:
            raise
        where = error.filename or path
        raise RunError(f"{where}: cannot be written: {error.strerror}; {cure}") from error


def write_whole(path: Path, text: str) -> None:
    """Writes a small file under a temporary name, syncs it, and gives it its own name."""
    staged = path.with_name(f".tmp-{path.name}")
    try:
        staged.write_text(text)
        sync(staged)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Makes a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
