"""Which episodes of a source are meant: splits, parts of splits, and what their shards really hold.

`--split` takes what TFDS takes (https://www.tensorflow.org/datasets/splits) and TFDS resolves it:
`train`, `train[:10%]`, `train[5:100]`, `train[-3:]`, `train+val`, `all`. Counts are those of the
shard files, not those that `dataset_info.json` tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, Final

import tensorflow_datasets as tfds
from etils import epath

from relabel.source.opening import INFO_FILE, Opened, Shard
from relabel.source.records import MISSING
from relabel.source.survey import ShardSurvey, survey_shards
from schemas.errors import SourceError
from schemas.slices import Run

ALL: Final = "all"
_LISTED: Final = 3  # shards of one note
_NAME: Final = re.compile(r"[\w\-.]+")


@dataclass(frozen=True)
class SurveyedShard:
    """A shard file: what is told of it and what is found in it."""

    shard: Shard
    found: ShardSurvey

    @property
    def length(self) -> int:
        """Records: those found, and those that are told but cannot be found."""
        return max(self.found.records, self.shard.told or 0)


@dataclass(frozen=True)
class Extent:
    """The whole splits that a part is of, shard by shard, and the part."""

    shards: tuple[SurveyedShard, ...]  # split after split
    part: tuple[Run, ...]  # in the order of the shards

    @property
    def lengths(self) -> dict[tuple[str, int], int]:
        """Records of each shard, by split and place in it."""
        return {place: s.length for place, s in self._by_place.items()}

    @property
    def stored_bytes(self) -> int:
        """Of the shard files."""
        return sum(s.found.size for s in self.shards)

    def bytes_of(self, runs: Iterable[Run]) -> int:
        """Of the records of some runs, as they are stored."""
        pairs = ((self.shard(run.split, run.shard), run) for run in runs)
        return sum(s.found.stored_bytes(run.start, run.stop) for s, run in pairs if s is not None)

    @property
    def episodes(self) -> int:
        """Records of the part."""
        return sum(run.stop - run.start for run in self.part)

    @cached_property
    def _by_place(self) -> dict[tuple[str, int], SurveyedShard]:
        return {(s.shard.split, s.shard.index): s for s in self.shards}

    def shard(self, split: str, index: int) -> SurveyedShard | None:
        """One of the shards; None if there is no such."""
        return self._by_place.get((split, index))

    def present(self) -> Iterator[Run]:
        """The runs of the part whose shard file is there."""
        for run in self.part:
            found = self.shard(run.split, run.shard)
            if found is not None and not found.found.missing:
                yield run

    def check(self) -> None:
        """Refuses a part whose shard files are not all there.

        Raises:
            SourceError: names the files.
        """
        if text := self.missing():
            raise SourceError(text)

    def missing(self) -> str | None:
        """Which shard files of the part are not there, and what to do; None: all are."""
        touched = {(run.split, run.shard) for run in self.part}
        paths = [
            s.shard.path
            for s in self.shards
            if s.found.missing
            and (s.shard.told is None or (s.shard.split, s.shard.index) in touched)
        ]
        if not paths:
            return None
        beside = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        return f"{paths[0]}{beside}: {MISSING}{_others(paths[0])}{self._hint()}"

    def _hint(self) -> str:
        """How to read what is there, if that is the beginning of one split."""
        count = 0
        for shard in self.shards:
            if shard.found.missing:
                break
            count += shard.length
        split = self.shards[0].shard.split
        return f"; to read what is there, ask for --split '{split}[:{count}]'" if count else ""

    def notes(self) -> list[str]:
        """Where the shards are not what the description says."""
        silent = [s for s in self.shards if s.shard.told is None]
        more = [s for s in self.shards if s.found.records > (s.shard.told or 0)]
        more = [s for s in more if s not in silent]
        fewer = [s for s in self.shards if s.found.records < s.length and not s.found.missing]
        missing = [s for s in self.shards if s.found.missing]
        broken = [s for s in silent if s.found.fault]
        return [
            *_note(silent, f"{INFO_FILE} does not say how many records these hold; all are read"),
            *_note(more, f"more records than {INFO_FILE} says; all of them are read"),
            *_note(fewer, f"fewer records than {INFO_FILE} says; the others are dead letters"),
            *_note(broken, "damaged; what lies behind the damage cannot be found or counted"),
            *_note(missing, "the file is missing; episodes of it cannot be read"),
        ]


def _others(path: str) -> str:
    """Shards beside a missing one that are of another number of shards, if there are any."""
    wanted = epath.Path(path)
    stem, _, count = wanted.name.rpartition("-of-")
    names = [file.name for file in wanted.parent.glob(f"{stem.rpartition('-')[0]}-*-of-*")]
    others = sorted(name for name in names if name.rpartition("-of-")[2] != count)
    if not others:
        return ""
    return f", or {INFO_FILE} is of another version: its shardLengths do not go with {others[0]}"


def _note(shards: Sequence[SurveyedShard], text: str) -> Iterator[str]:
    if not shards:
        return
    listed = ", ".join(map(_count, shards[:_LISTED]))
    beside = f" and {len(shards) - _LISTED} more" if len(shards) > _LISTED else ""
    yield f"{listed}{beside}: {text}"


def _count(shard: SurveyedShard) -> str:
    told = "nothing" if shard.shard.told is None else str(shard.shard.told)
    name = PurePath(shard.shard.path).name
    return f"{name} (holds {shard.found.records}, told {told})"


def known_splits(opened: Opened) -> list[str]:
    """Names of the splits that hold an episode."""
    return [name for name, shards in opened.shards.items() if _holds_any(opened, shards)]


def _holds_any(opened: Opened, shards: Sequence[Shard]) -> bool:
    if any(shard.told for shard in shards):
        return True
    # Where none is told the files decide; most often they are empty, or there is none.
    found = survey_shards([shard.path for shard in shards], opened.info.file_format)
    return any(survey.records for survey in found)


def split_names(instruction: str, known: Sequence[str], origin: str) -> tuple[str, ...]:
    """The splits that an instruction reads from, in alphabetical order.

    Raises:
        SourceError: there is no such split; lists those there are.
    """
    named = [
        match.group() if (match := _NAME.match(term.strip())) else term
        for term in re.sub(r"\[[^\]]*\]", "", instruction).split("+")
    ]
    if ALL in named:
        named = list(known)
    unknown = [name for name in named if name not in known]
    if unknown:
        raise SourceError(_unknown(unknown[0], known, origin))
    if not named:
        raise SourceError(f"{origin}: no split holds an episode")
    return tuple(sorted(set(named)))


def _unknown(name: str, known: Sequence[str], origin: str) -> str:
    if not known:
        return f"{origin}: no split {name!r}; there is none that holds an episode"
    return (
        f"{origin}: no split {name!r}; there are {', '.join(known)}; choose one with "
        f"--split {known[0]}, a part of one with --split '{known[0]}[:10%]', or --split {ALL}"
    )


def find_extent(opened: Opened, instruction: str, splits: Sequence[str]) -> Extent:
    """Surveys the shards of some splits and resolves an instruction.

    Args:
        opened: the dataset.
        instruction: "train", "train[:10%]", "all", ….
        splits: that it reads from, from `split_names`.

    Raises:
        SourceError: no such part, or it holds no episode; a shard that is no data file.
    """
    told = [shard for split in splits for shard in opened.shards[split]]
    found = survey_shards([shard.path for shard in told], opened.info.file_format)
    shards = tuple(map(SurveyedShard, told, found))
    lengths = {split: [s.length for s in shards if s.shard.split == split] for split in splits}
    part = resolve(instruction, lengths, opened.directory)
    return Extent(shards, part)


def resolve(instruction: str, lengths: Mapping[str, Sequence[int]], origin: str) -> tuple[Run, ...]:
    """What TFDS reads when it is given an instruction; each episode once, in stored order.

    Args:
        instruction: as TFDS takes it.
        lengths: by split, records per shard.
        origin: of the dataset, for error texts.

    Raises:
        SourceError: TFDS does not take it, it reaches past the split, or nothing is in it.
    """
    infos = {
        name: tfds.core.SplitInfo(name=name, shard_lengths=list(counts), num_bytes=0)
        for name, counts in lengths.items()
    }
    try:
        ranges = tfds.core.ReadInstruction.from_spec(instruction).to_absolute(infos)
    except Exception as error:  # TFDS raises ValueError, NotImplementedError and AssertionError
        counts = ", ".join(f"{name} holds {sum(own)} episodes" for name, own in lengths.items())
        raise SourceError(
            f"{origin}: --split {instruction!r}: {_reason(error)}; {counts}; expected forms are "
            "train, train[:10%], train[5:100], train[-3:], train+val, all"
        ) from error
    wanted = {name: _merged(name, ranges, sum(counts)) for name, counts in lengths.items()}
    part = [run for name, counts in lengths.items() for run in _runs(name, counts, wanted[name])]
    if not part:
        counts = ", ".join(f"{name} holds {sum(own)}" for name, own in lengths.items())
        raise SourceError(f"{origin}: --split {instruction!r} holds no episode; {counts}")
    return tuple(part)


def _reason(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


def _merged(name: str, ranges: Sequence[Any], count: int) -> list[tuple[int, int]]:
    """The ranges of one split, sorted and merged where they overlap or touch."""
    own = sorted(
        (part.from_ or 0, count if part.to is None else part.to)
        for part in ranges
        if part.splitname == name
    )
    merged: list[tuple[int, int]] = []
    for start, stop in own:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _runs(split: str, counts: Sequence[int], ranges: Sequence[tuple[int, int]]) -> Iterator[Run]:
    first = 0
    for shard, count in enumerate(counts):
        for start, stop in ranges:
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                yield Run(split, shard, low, high)
        first += count
