"""What `--goals` may be: a file, a text field of the source, or the texts themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from relabel.goals.files import FIELD_PREFIX
from schemas.errors import GoalError

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_OF_PATHS: Final = "/\\._:"  # in one word, these make it a path or a field, mistyped


def read_goals(values: Sequence[str], null_prompts: Sequence[str] | None) -> str | tuple[str, ...]:
    """The goals as a job takes them: a path, `field:NAME`, or a tuple of texts.

    Args:
        values: of `--goals`, in the order given.
        null_prompts: of `--null-prompt`; a file has its own.

    Raises:
        GoalError: a path among several values; one word that is no text; null prompts beside a
            file.
    """
    paths = [value for value in values if _names_a_place(value)]
    if not paths:
        _refuse_word(values)
        return tuple(values)
    if len(values) > 1:
        raise GoalError(
            f"--goals {paths[0]}: names a file or a field, and there are {len(values)} --goals; "
            "give one file, one field, or texts alone"
        )
    if null_prompts is not None and not paths[0].startswith(FIELD_PREFIX):
        raise GoalError(
            f"--null-prompt: is of texts and mined goals; {paths[0]} has the key null_prompts"
        )
    return paths[0]


def _names_a_place(value: str) -> bool:
    known = value.startswith(FIELD_PREFIX) or "://" in value or value.lower().endswith(_SUFFIXES)
    return known or os.path.exists(value)  # Path.exists raises where a text is too long


def _refuse_word(values: Sequence[str]) -> None:
    words = [value for value in values if not value.strip() or _is_no_text(value)]
    if words:
        raise GoalError(
            f"--goals {words[0]!r}: no such file, and not a text that says what the camera sees; "
            f"expected a file ({', '.join(_SUFFIXES)}), {FIELD_PREFIX}NAME, or texts such as "
            '--goals "the drawer is open"'
        )


def _is_no_text(value: str) -> bool:
    return len(value.split()) == 1 and any(sign in value for sign in _OF_PATHS)
