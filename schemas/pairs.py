"""Options that are given as NAME=VALUE: `--set scale=2 --set bias=-1e-3`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from schemas.errors import RelabelError


def parse_pairs(
    option: str, pairs: Sequence[str], kind: type[RelabelError] = RelabelError
) -> dict[str, Any]:
    """Values by name, values as in YAML, and numbers such as 1e-4.

    Args:
        option: for error texts.
        pairs: as typed.
        kind: of the errors.

    Raises:
        RelabelError: no `=`, a name given twice, or a value that YAML cannot read.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise kind(f"{option} {pair!r}: expected key=value")
        if (name := key.strip()) in parsed:
            told = [p for p in pairs if p.partition("=")[0].strip() == name]
            raise kind(
                f"{option}: {name} takes one value, got {len(told)}: "
                f"{', '.join(map(repr, told))}; leave out all but one"
            )
        try:
            parsed[name] = _number(yaml.safe_load(value))
        except yaml.YAMLError as error:
            problem = str(error).partition("\n")[0]
            raise kind(f"{option} {pair!r}: the value is not YAML: {problem}") from error
    return parsed


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-4 for a text: it asks for a point before the exponent."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
