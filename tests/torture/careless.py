"""A program that does some work in a folder, well or in a way that `tests.torture` must notice.

python -m tests.torture.careless HOW [--workers N]
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Final

PIECES: Final = 12
STEP_S: Final = 0.05


def main() -> None:
    """Writes a file per piece, those that are missing."""
    how = sys.argv[1]
    folder = Path("work")
    folder.mkdir(exist_ok=True)
    child = None
    if how == "orphans":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    for piece in range(PIECES):
        _write(folder / str(piece), how)
    if how != "leaves":
        for left in folder.glob("tmp-*"):
            left.unlink()
    if child is not None:
        child.kill()


def _write(path: Path, how: str) -> None:
    if path.exists() and how != "counts":
        return
    content = path.read_text() + "again" if path.exists() else "once"
    staged = path if how == "in-place" else path.with_name(f"tmp-{uuid.uuid4().hex}")
    staged.write_text("" if how == "in-place" else content)
    time.sleep(STEP_S)
    staged.write_text(content)
    staged.replace(path)


if __name__ == "__main__":
    main()
