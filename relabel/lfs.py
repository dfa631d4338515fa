"""Git LFS pointers: what lies in a clone in the place of a large file that was not fetched."""

from __future__ import annotations

from typing import Any, Final

_FIRST_LINE: Final = b"version https://git-lfs.github.com/spec/v1"
LFS_CURE: Final = (
    "is a Git LFS pointer, not the file itself; fetch the content with `git lfs pull` in the "
    "repository that it was cloned from"
)


def is_lfs_pointer(file: Any) -> bool:
    """Whether a file is the small text that Git LFS keeps in the place of another.

    Args:
        file: its path: a `pathlib.Path`, or one of a URL with the same methods; False if there is
            none.
    """
    if not file.exists() or file.is_dir():
        return False
    with file.open("rb") as stream:
        return bytes(stream.read(len(_FIRST_LINE))) == _FIRST_LINE
