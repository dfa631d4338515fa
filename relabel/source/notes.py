"""What is unusual about a source, as far as its first records show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from relabel.source.episodes import Episode
from relabel.source.features import Features, Leaf, column_name
from relabel.source.oddities import Oddities
from relabel.source.texts import language_rank
from schemas import fields
from schemas.dead_letters import DeadLetter
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


_WITHOUT: Final = {
    fields.IS_LAST: "every record counts as whole, however it ended",
    fields.IS_TERMINAL: "no episode counts as terminated",
}


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
