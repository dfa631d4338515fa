"""What the manifests of all tables have in common, whatever the table holds."""

from __future__ import annotations

import hashlib
import json
import shlex
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from schemas.locations import redacted
from schemas.slices import TableFile

FORMAT_VERSION: Final = "2.0"
READABLE_MAJORS: Final = ("1", "2")  # of format versions


class TableManifest(BaseModel):
    """What all tables' manifests have in common.

    Two runs may continue one another's table if and only if their `identity` is equal.
    """

    # A later minor version may add keys; `format_version` keeps writers from mixing.
    model_config = ConfigDict(frozen=True, extra="ignore")

    # Fields that tell how a run went, not what its table is.
    _CIRCUMSTANCES: ClassVar[frozenset[str]] = frozenset(
        {"made_by", "command", "files", "dead_letters", "figures"}
    )

    format_version: str = FORMAT_VERSION
    source_fingerprint: str
    made_by: dict[str, str] = Field(default_factory=dict)  # versions, machine, threads, batch
    # That makes or resumes this table.
    command: Annotated[str, AfterValidator(redacted)] | None = None
    files: tuple[TableFile, ...] = ()
    dead_letters: int = 0  # records this table misses
    figures: dict[str, Any] | None = None  # of its slices, added up; None: ask them

    @property
    def table(self) -> str:
        """Path of the table below the store."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Rows of all slices."""
        return sum(file.rows for file in self.slice_files)

    @property
    def slice_files(self) -> tuple[TableFile, ...]:
        """The table's own files, one per slice; not its goals, not its dead letters."""
        return tuple(f for f in self.files if f.table == self.table and f.file.startswith("slice-"))

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder below the store that belongs to the table, its own first."""
        return (self.table, f"dead_letters/{self.table}")

    @property
    def is_of_first_format(self) -> bool:
        """Whether it was written before tables kept their manifests apart from their slices."""
        return self.format_version.split(".")[0] == "1"

    def identity(self) -> dict[str, Any]:
        """Everything the content of the table depends on.

        Of a table of format 1 only the keys that its manifest has: keys that came later must not
        change the fingerprint that its files carry.
        """
        return self.model_dump(
            mode="json",
            exclude=set(self._CIRCUMSTANCES),
            exclude_unset=self.is_of_first_format,
        )

    def typed(self, option: str) -> list[str]:
        """The values of an option in the command that made the table; empty if there is none."""
        words = shlex.split(self.command or "")
        apart = [value for word, value in pairwise(words) if word == option]
        return apart + [w.partition("=")[2] for w in words if w.startswith(f"{option}=")]

    @property
    def fingerprint(self) -> str:
        """sha256 of the identity; every file of the table carries it."""
        content = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def differences(self, other: TableManifest) -> list[str]:
        """What keeps this stored table from being `other`, one line per differing value."""
        return differences_of(self.identity(), other.identity())


def differences_of(old: Any, new: Any, path: str = "") -> list[str]:
    """One line per value in which two contents differ: its dotted name, and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in differences_of(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{path}: stored {_short(old)}, asked for {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
