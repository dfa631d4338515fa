"""What `--goals` may be: a file, a text field of the source, texts, or a goal set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from relabel.goals.files import FIELD_PREFIX
from schemas.errors import GoalError
from schemas.goals import GoalSet

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_OF_PATHS: Final = "/\\._:"  # in one word, these make it a path or a field, mistyped


Goals = str | os.PathLike[str] | Sequence[str] | GoalSet


def read_goals(goals: Goals, null_prompts: Sequence[str] | None) -> str | tuple[str, ...] | GoalSet:
    """The goals as a job takes them: a path, `field:NAME`, a tuple of texts, or a goal set.

    Args:
        goals: of `--goals`, in the order given; or, from Python, a goal set.
        null_prompts: of `--null-prompt`; a file and a goal set have their own.

    Raises:
        GoalError: a path among several values; one word that is no text; null prompts beside a
            file or a goal set.
    """
    if isinstance(goals, GoalSet):
        if null_prompts is not None:
            raise GoalError(
                "--null-prompt: is for goals from texts or from a field; a goal set has "
                "null_prompts"
            )
        return goals
    values = [os.fspath(goals)] if isinstance(goals, str | os.PathLike) else list(goals)
    if not values:
        raise GoalError("--goals: expected a file, a field or texts, got none")
    if isinstance(goals, os.PathLike):
        return _alone(values, values, null_prompts)
    paths = [value for value in values if _names_a_place(value)]
    if not paths:
        _refuse_word(values)
        return tuple(values)
    return _alone(paths, values, null_prompts)


def _alone(paths: Sequence[str], values: Sequence[str], null_prompts: Sequence[str] | None) -> str:
    """The only value, which names a file or a field."""
    if len(values) > 1:
        raise GoalError(
            f"--goals {paths[0]}: names a file or a field, and there are {len(values)} --goals; "
            "give one file, one field, or texts alone"
        )
    if null_prompts is not None and not paths[0].startswith(FIELD_PREFIX):
        raise GoalError(
            f"--null-prompt: is for goals from texts or from a field; {paths[0]} has the "
            f"key null_prompts"
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
