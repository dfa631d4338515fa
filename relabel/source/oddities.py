"""What is unusual about episodes, as the footers of a store's steps keep it. No TFDS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from relabel.source.flags import episode_bounds
from schemas import fields
from schemas.footers import Count, read_figures, read_summary
from schemas.slices import Slice
from schemas.store import Store
from schemas.texts import brief

if TYPE_CHECKING:
    from relabel.source.episodes import Episode  # TFDS


class Oddities(BaseModel):
    """How many of some episodes are unusual, and the first of each kind."""

    model_config = ConfigDict(extra="ignore", strict=True)

    episodes: Count = 0  # that have any step
    counts: dict[str, Count] = Field(default_factory=dict)  # by kind, see `_KINDS`
    first: dict[str, str] = Field(default_factory=dict)  # id of the first episode of a kind
    lost_texts: dict[str, Count] = Field(default_factory=dict)  # by name: values not decoded

    @model_validator(mode="after")
    def _check(self) -> Oddities:
        """Holds the figures against each other."""
        if max(self.counts.values(), default=0) > self.episodes:
            raise ValueError("more unusual episodes than episodes")
        if missing := sorted(set(self.counts) - set(self.first)):
            raise ValueError(f"first: missing {brief(missing[0])}")
        return self

    def add(self, episode: Episode, texts: Sequence[str]) -> None:
        """Looks at one episode.

        Args:
            episode: with its flags.
            texts: names of its texts.
        """
        for name in texts:
            lost = sum(None in phrasings for phrasings in episode.texts(name))
            if lost:
                self.lost_texts[name] = self.lost_texts.get(name, 0) + lost
        if not episode.length:
            return
        self.episodes += 1
        for kind, is_so in _KINDS.items():
            if is_so(episode):
                self.counts[kind] = self.counts.get(kind, 0) + 1
                self.first.setdefault(kind, episode.id)

    def merge(self, later: Oddities) -> None:
        """Adds what was seen of later episodes."""
        self.episodes += later.episodes
        for mine, other in ((self.counts, later.counts), (self.lost_texts, later.lost_texts)):
            for kind, count in other.items():
                mine[kind] = mine.get(kind, 0) + count
        self.first = {**later.first, **self.first}

    def metadata(self) -> dict[bytes, bytes]:
        """As a footer holds it."""
        return {fields.ODDITIES: self.model_dump_json().encode()}

    def notes(self, which: str = "") -> list[str]:
        """A sentence for each kind that was seen.

        Args:
            which: what the episodes are a part of: "sampled".
        """
        which = f"{which} " if which else ""
        of = f"of {self.episodes} {which}episodes"
        told = [
            f"{self.counts[kind]} {of} {text}; the first is {brief(self.first[kind])}"
            for kind, text in _TOLD.items()
            if kind in self.counts
        ]
        lost = [
            f"{brief(name)}: {count} {which} texts are not UTF-8 and are left out (null)".replace(
                "  ", " "
            )
            for name, count in self.lost_texts.items()
        ]
        return [*told, *lost]


def _flags(episode: Episode, name: str) -> NDArray[np.bool_]:
    return np.asarray(episode.steps.get(name, np.zeros(0)), bool)


def _is_unmarked(episode: Episode) -> bool:
    return fields.IS_LAST in episode.steps and not _flags(episode, fields.IS_LAST).any()


def _is_terminal_inside(episode: Episode) -> bool:
    return bool(_flags(episode, fields.IS_TERMINAL)[:-1].any())


def _is_merged(episode: Episode) -> bool:
    return len(episode_bounds(episode.steps, episode.length)) > 1


_KINDS: Final[Mapping[str, Callable[[Episode], bool]]] = {
    "unmarked": _is_unmarked,
    "part": lambda episode: episode.is_part,
    "merged": _is_merged,
    "terminal_inside": _is_terminal_inside,
}
_TOLD: Final = {
    "unmarked": "have no step marked is_last: they may have been cut",
    "part": "come from records that hold several, split where is_first and is_last say so "
    "(--keep-merged leaves such records whole)",
    "merged": "hold several episodes by is_first and is_last, and are kept whole",
    "terminal_inside": "have is_terminal before their last step; only that of the last step "
    "ends an episode",
}


def read_oddities(store: Store) -> Oddities:
    """What is unusual about the episodes of a store, from the footers of its steps.

    Slices that are not there yet, or were written without such figures, count nothing.

    Raises:
        StoreError: a footer holds something else in their place.
    """
    if store.is_complete("steps"):
        manifest = store.table_manifest("steps")
        if manifest.figures is not None:
            return read_summary(store, manifest, Oddities)
    total = Oddities()
    for piece in store.slices:
        if store.has("steps", piece):
            total.merge(slice_oddities(store, piece))
    return total


def slice_oddities(store: Store, piece: Slice) -> Oddities:
    """Those of one committed slice."""
    found = read_figures(store, "steps", piece, fields.ODDITIES, Oddities)
    return Oddities() if found is None else found
