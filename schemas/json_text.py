"""JSON that strangers may have written."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ValidationError

from schemas.texts import brief

_SHOWN: Final = 5  # problems of one file


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


def validation_problems(error: ValidationError) -> str:
    """What is wrong with a JSON file, place by place, on one line that is never long."""
    problems = [
        f"{brief('.'.join(map(str, problem['loc'])))}: {brief(problem['msg'])}".removeprefix(": ")
        for problem in error.errors(include_url=False, include_input=False)[:_SHOWN]
    ]
    if error.error_count() > _SHOWN:
        problems.append(f"and {error.error_count() - _SHOWN} more")
    return "; ".join(problems)
