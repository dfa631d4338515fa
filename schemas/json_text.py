"""JSON that strangers may have written."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text.

    Raises:
        ValueError: it is none, or is nested more deeply than Python's own parser can follow,
            which that tells by an error of another kind.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested more deeply than any file of ours") from error
