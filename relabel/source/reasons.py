"""What a dead letter says of an error that another library raised."""

from __future__ import annotations

import re
from typing import Final

_ADDRESS: Final = re.compile(r"<?\S* (?:object )?at 0x[0-9a-fA-F]+>?")
_MOST: Final = 400  # characters; an error may quote the whole record


def told(error: BaseException) -> str:
    """The text of an error, without addresses of objects: they differ from run to run."""
    text = _ADDRESS.sub("…", str(error)[: 4 * _MOST]).strip()
    if len(text) > _MOST:
        text = f"{text[:_MOST]}…"
    return text or type(error).__name__
