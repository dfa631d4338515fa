"""What is unusual about a source, as far as its first records show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from relabel.source.episodes import Episode
from relabel.source.features import Features, Leaf, column_name
from relabel.source.flags import episode_bounds
from relabel.source.texts import language_rank
from schemas import fields
from schemas.dead_letters import DeadLetter
from schemas.footers import Count, read_figures, read_summary
from schemas.slices import Slice
from schemas.store import Store
from schemas.texts import brief

_EXAMPLES: Final = 3


class LanguageReport(BaseModel):
    """One text of a source, and what the first episodes hold of it."""

    model_config = ConfigDict(frozen=True)

    name: str  # as `field:NAME` takes it
    per: Literal["step", "episode"]
    form: Literal["text", "phrasings", "codes"]
    examples: tuple[str, ...]  # distinct ones, each in one line of at most 80 characters
    values: int  # looked at
    empty: int  # of these, without any text
    silent: int  # episodes looked at that have none at all
    unreadable: int  # of these, not UTF-8
    fills_language: bool  # whether it may fill `language` of the episodes table


def language_reports(features: Features, episodes: Sequence[Episode]) -> tuple[LanguageReport, ...]:
    """Every text of a source, in the order in which `language` is filled."""
    leaves = {column_name(leaf): leaf for leaf in (*features.steps, *features.metadata)}
    return tuple(
        _language_report(leaves[name], episodes, name in features.language_fields)
        for name in features.text_fields
    )


def _language_report(leaf: Leaf, episodes: Sequence[Episode], fills: bool) -> LanguageReport:
    by_episode = [list(episode.texts(column_name(leaf))) for episode in episodes]
    values = [texts for own in by_episode for texts in own]
    known = [text for texts in values for text in texts if text and text.strip()]
    form: Literal["text", "phrasings", "codes"] = "phrasings" if leaf.spec.shape else "text"
    return LanguageReport(
        name=column_name(leaf),
        per="step" if leaf.in_steps else "episode",
        form="codes" if leaf.spec.codes else form,
        examples=tuple(brief(text) for text in list(dict.fromkeys(known))[:_EXAMPLES]),
        values=len(values),
        empty=sum(not any(t is None or t.strip() for t in texts) for texts in values),
        silent=sum(not any(map(_says, own)) for own in by_episode),
        unreadable=sum(None in texts for texts in values),
        fills_language=fills,
    )


def _says(texts: Iterable[str | None]) -> bool:
    return any(text and text.strip() for text in texts)


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


_WITHOUT: Final = {
    fields.IS_LAST: "every record counts as whole, however it ended",
    fields.IS_TERMINAL: "no episode counts as terminated",
}
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


def source_notes(features: Features, sample: Sequence[Episode | DeadLetter]) -> list[str]:
    """What is unusual about a source.

    Args:
        features: of the source.
        sample: its first records as they were read.
    """
    seen = Oddities()
    for item in sample:
        if isinstance(item, Episode):
            seen.add(item, features.text_fields)
    episodes = [item for item in sample if isinstance(item, Episode)]
    return [
        *_unreadable(sample),
        *flag_notes({leaf.spec.name for leaf in features.steps}),
        *seen.notes("sampled"),
        *_language_notes(language_reports(features, episodes)),
        *filter(None, map(_lost_language, features.steps)),
    ]


def _lost_language(leaf: Leaf) -> str | None:
    """That a feature is called language and cannot be read as such."""
    spec = leaf.spec
    is_integers = len(spec.shape) == 1 and spec.dtype.startswith(("int", "uint"))
    if (
        spec.kind != "tensor"
        or language_rank(spec.name)
        or not (is_integers or spec.dtype == "object")
    ):
        return None
    what = "integers" if is_integers else "strings"
    return f"{spec.name}: its {what} hold no UTF-8 text, so that it is no language"


def undescribed_note(names: Collection[str]) -> list[str]:
    """What is not read because only the records tell of it.

    Args:
        names: stored names of features.
    """
    if not names:
        return []
    return [f"features.json does not tell of {', '.join(sorted(names))}: it is not read"]


def flag_notes(columns: Collection[str]) -> list[str]:
    """What follows from flags that a source does not have.

    Args:
        columns: names of its step features.
    """
    return [
        f"there is no {flag}: {what}{_elsewhere(flag, columns)}"
        for flag, what in _WITHOUT.items()
        if flag not in columns
    ]


def _elsewhere(flag: str, columns: Collection[str]) -> str:
    """That another feature is called so, and is none."""
    found = sorted(name for name in columns if name.endswith(f".{flag}"))
    return f"; {', '.join(found)} is no flag there, but a column as others are" if found else ""


def _unreadable(sample: Sequence[Episode | DeadLetter]) -> Iterable[str]:
    lost = [item for item in sample if isinstance(item, DeadLetter)]
    if lost:
        read = {item.id.split(".")[0] for item in sample if isinstance(item, Episode)}
        yield (
            f"{len(lost)} of {len(lost) + len(read)} sampled records cannot be read; such as "
            f"{lost[0].episode_id}: {lost[0].reason}"
        )


def _language_notes(reports: Sequence[LanguageReport]) -> Iterable[str]:
    for report in reports:
        if report.form == "codes":
            such = f", such as “{report.examples[0]}”" if report.examples else ""
            yield f"{report.name}: integers are read as UTF-8 text{such}"
    own = [report for report in reports if report.fills_language]
    if any(report.values for report in own) and all(not report.examples for report in own):
        names = ", ".join(report.name for report in own)
        yield f"no sampled episode has an instruction in {names}"
