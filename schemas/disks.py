"""What a disk refuses, and what a user can do about it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

_CURES: Final = {
    errno.ENOSPC: "make room on the disk, then type the same command again: it resumes",
    errno.EDQUOT: "your share of the disk is used up; make room, then type the same command again",
    errno.EFBIG: "files of this size are not allowed here (`ulimit -f`, or the disk's format)",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "make it readable and writable for you, or choose another place",
    errno.EPERM: "make it readable and writable for you, or choose another place",
    errno.EMFILE: "allow more open files (`ulimit -n`)",
    errno.EIO: "the disk fails; choose another one",
}


def disk_cure(error: BaseException) -> str | None:
    """What to do about what a disk refused; None if this is no such error, or nothing helps."""
    number = error.errno if isinstance(error, OSError) else None
    return None if number is None else _CURES.get(number)


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written to a local folder, which need not be there; None: it can."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        return f"{there} is a file, not a folder"
    return None if os.access(there, os.W_OK) else f"{there} cannot be written to"
