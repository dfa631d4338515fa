"""Data as scripts, since a page that is opened from a disk may load nothing else.

    Report.receive("episodes/3", {"id": "train/0/3", …});

Texts of data cannot end the script, and never become part of a page's markup: the pages set them as
text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

_ESCAPES: Final[dict[str, str | int | None]] = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def script(name: str, content: Any) -> str:
    """A script that hands some content to the page.

    Args:
        name: by which the page asks for it.
        content: of dicts, lists, numbers (NumPy's too), texts and None; NaN becomes null.

    FrameExample:
        >>> script("a", ["</script>"])
        'Report.receive("a", ["\\\\u003c/script\\\\u003e"]);\\n'
    """
    return f"Report.receive({_json(name)}, {_json(content)});\n"


def _json(content: Any) -> str:
    # In ASCII, so that U+2028 ends no line and a lone surrogate can be stored.
    text = json.dumps(plain(content), allow_nan=False, separators=(",", ":"))
    return text.translate(str.maketrans(_ESCAPES))


def plain(value: Any) -> Any:
    """A value as JSON has it: no NaN, no infinity, no NumPy."""
    if isinstance(value, Mapping):
        return {str(key): plain(own) for key, own in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(own) for own in value]
    if isinstance(value, float):
        return _short(value) if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _short(value: float) -> float:
    """Six significant digits: more cannot be seen, and files are half as large."""
    return float(f"{value:.6g}")
