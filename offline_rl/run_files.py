"""Files of a run folder: whole under their final names, and on the disk before anything follows."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes a small file under a temporary name, syncs it, and gives it its own name."""
    staged = path.with_name(f".tmp-{path.name}")
    staged.write_text(text)
    sync(staged)
    staged.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Makes a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
