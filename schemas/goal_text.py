"""From the text of a goals file to its content, whatever the text is.

Goals files come from strangers. A few bytes of YAML can stand for more content than a machine
holds, and deep nesting ends the process inside the C library, so structure is looked at first,
event by event, before anything is built.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from schemas.errors import GoalError
from schemas.texts import brief

MAX_CHARACTERS: Final = 32 * 2**20  # of a file: some 200,000 goals
_MAX_DEPTH: Final = 20  # a goals file needs 5
_MAX_VALUES: Final = 2_000_000  # with every alias counted as what it stands for
# The loader of yaml.safe_load; the same in C, eight times as fast, where PyYAML was built with it.
_YamlLoader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_JSON_STRUCTURE: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)|[\[\]{},]', re.DOTALL)


def parse_yaml(text: str, origin: str) -> Any:
    """Content of a YAML file.

    Args:
        text: of the file.
        origin: its path, for error texts.

    Raises:
        GoalError: not YAML, a key twice, or larger or deeper than any goals file.
    """
    _check_size(text, origin)
    try:
        _Structure(origin).check(yaml.parse(text, Loader=_YamlLoader))
        return yaml.load(text, Loader=_YamlLoader)  # noqa: S506, a safe one
    except GoalError:
        raise
    except Exception as error:  # PyYAML raises all kinds for a scalar that is not what its tag says
        raise GoalError(f"{origin}: not YAML: {_told(error)}") from error


def parse_json(text: str, origin: str) -> Any:
    """Content of a JSON file; as `parse_yaml`."""
    _check_size(text, origin)
    _check_json_structure(text, origin)
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise GoalError(f"{origin}: not JSON: {_told(error)}") from error


def _check_size(text: str, origin: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise GoalError(
            f"{origin}: expected a goals file of at most {MAX_CHARACTERS:,} characters, got more"
        )


def _told(error: Exception) -> str:
    """What is wrong and where, without what the file holds."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
    return brief(str(getattr(error, "problem", None) or error)) + where


def _too_deep(origin: str) -> GoalError:
    return GoalError(f"{origin}: expected at most {_MAX_DEPTH} levels of nesting, got more")


def _too_many(origin: str) -> GoalError:
    return GoalError(
        f"{origin}: expected at most {_MAX_VALUES:,} values, aliases written out, got more"
    )


@dataclass
class _Open:
    """A list or mapping that has begun and not ended."""

    anchor: str | None
    mapping: bool
    values: int = 1  # in it so far, itself included
    parts: int = 0  # keys and values so far
    keys: set[str] = field(default_factory=set)


class _Structure:
    """Size, depth, aliases and keys of a YAML text, off its events: nothing is built."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._open: list[_Open] = []
        self._known: dict[str, tuple[int, str | None]] = {}  # anchor → values, text of a scalar

    def check(self, events: Iterator[Any]) -> None:
        """Raises GoalError if it is none of a goals file."""
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._add(1, event.value, event)
                if event.anchor:
                    self._known[event.anchor] = (1, event.value)
            elif isinstance(event, yaml.AliasEvent):
                self._add(*self._stands_for(event), event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open.append(_Open(event.anchor, isinstance(event, yaml.MappingStartEvent)))
                if len(self._open) > _MAX_DEPTH:
                    raise _too_deep(self._origin)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)

    def _close(self, event: Any) -> None:
        ended = self._open.pop()
        if ended.anchor:
            self._known[ended.anchor] = (ended.values, None)
        self._add(ended.values, None, event)

    def _stands_for(self, event: Any) -> tuple[int, str | None]:
        if any(part.anchor == event.anchor for part in self._open):
            raise self._problem(f"the alias '{brief(event.anchor)}' stands for itself", event)
        if event.anchor not in self._known:
            raise self._problem(f"the alias '{brief(event.anchor)}' stands for nothing", event)
        return self._known[event.anchor]

    def _add(self, values: int, text: str | None, event: Any) -> None:
        """Counts a part of the innermost list or mapping."""
        if not self._open:
            return
        inner = self._open[-1]
        inner.values += values
        if inner.values > _MAX_VALUES:
            raise _too_many(self._origin)
        if inner.mapping and inner.parts % 2 == 0 and text is not None:
            if text in inner.keys:
                raise self._problem(f"the key '{brief(text)}' occurs twice", event)
            inner.keys.add(text)
        inner.parts += 1

    def _problem(self, what: str, event: Any) -> GoalError:
        return GoalError(f"{self._origin}: line {event.start_mark.line + 1}: {what}")


def _check_json_structure(text: str, origin: str) -> None:
    depth, values = 0, 1
    for match in _JSON_STRUCTURE.finditer(text):
        sign = match[0][0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        values += sign in "[{,"
        if depth > _MAX_DEPTH:
            raise _too_deep(origin)
        if values > _MAX_VALUES:
            raise _too_many(origin)


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose parser would keep the last of equal keys."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key '{brief(twice[0])}' occurs twice in one object")
    return dict(pairs)
