"""One episode, as it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schemas import fields


@dataclass(frozen=True)
class Episode:
    """One whole episode; images are still encoded."""

    id: str  # "<split>/<shard>/<index>", and ".<part>" behind it if the record holds several
    length: int  # T
    # (T, *shape) array, or list of T: bytes (image), str or None (text), list of these (phrasings)
    steps: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def is_part(self) -> bool:
        """Whether its record holds other episodes too."""
        return "." in self.id.rsplit("/", 1)[-1]

    def texts(self, name: str) -> Iterator[list[str | None]]:
        """The phrasings of a text, step by step; of the episode's own, once; [None]: lost.

        Args:
            name: of a step feature, or `episode_metadata.` and the name of one of the episode.
        """
        if name in self.steps:
            values = self.steps[name]
        else:
            own = name.removeprefix(fields.METADATA_PREFIX)
            values = [self.metadata[own]] if own in self.metadata else []
        yield from (value if isinstance(value, list) else [value] for value in values)

    def language(self, names: Sequence[str]) -> str | None:
        """The first instruction: of the first field that has any, at the first step that has.

        Args:
            names: as `texts` takes them, the likeliest first.
        """
        texts = (text for name in names for step in self.texts(name) for text in step)
        return next((text for text in texts if text and text.strip()), None)
