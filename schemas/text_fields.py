"""The texts of a store, wherever they are: of steps and of episodes, one or several phrasings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas import fields
from schemas.errors import GoalError
from schemas.manifests import StoreManifest


@dataclass(frozen=True)
class TextField:
    """A text column of the steps or of the episodes table."""

    name: str  # of the column, and as `field:NAME` takes it
    table: Literal["steps", "episodes"]
    phrasings: bool  # a value is a list of texts, each a phrasing of one goal


def text_fields(manifest: StoreManifest) -> tuple[TextField, ...]:
    """All text columns of a store, those that may fill `language` first, in their order."""
    steps = [
        TextField(spec.name, "steps", bool(spec.shape))
        for spec in manifest.fields
        if spec.kind == "text"
    ]
    episodes = [
        TextField(fields.METADATA_PREFIX + spec.name, "episodes", bool(spec.shape))
        for spec in manifest.metadata
        if spec.kind == "text"
    ]
    rank = {name: place for place, name in enumerate(manifest.language_fields)}
    return tuple(sorted((*steps, *episodes), key=lambda f: rank.get(f.name, len(rank))))


def text_field(manifest: StoreManifest, name: str) -> TextField:
    """The text column of a name.

    Args:
        manifest: of the store.
        name: in full, `/` or `.` between its parts, or its end if only one column has that end.

    Raises:
        GoalError: none or several columns are called so; lists the text columns.
    """
    known = text_fields(manifest)
    dotted = name.strip("/").replace("/", ".").removeprefix(f"{fields.STEPS}.")
    exact = [field for field in known if field.name == dotted]
    found = exact or [field for field in known if field.name.endswith(f".{dotted}")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(field.name for field in found or known) or "none"
    problem = "several text fields end so" if found else "no such text field"
    raise GoalError(f"field:{name}: {problem}; there are {names}")
