"""Places that a command writes to, looked at before its work begins."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.disks import unwritable
from schemas.errors import LocationError
from schemas.files import Folder


def out_folder(location: str | os.PathLike[str]) -> Folder:
    """The folder of `--out`, which need not exist yet.

    Args:
        location: path or URL.

    Raises:
        LocationError: no location, one that is or lies below a file, or one that cannot be written.
    """
    folder = Folder.at(os.fspath(location))
    if not folder.is_local:
        return folder
    if (why := unwritable(Path(folder.path))) is not None:
        raise LocationError(f"--out {location}: expected a folder, and {why}; name another --out")
    return folder
