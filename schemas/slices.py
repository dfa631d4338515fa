"""Slices: the unit of work, of retry and of commit."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr

from schemas.errors import StoreError
from schemas.names import InsidePath


@dataclass(frozen=True, slots=True)
class TableFile:
    """One committed file of a table, as its manifest lists it.

    No model of its own: a job holds some for every slice, and a model takes ten times the memory.
    """

    table: InsidePath  # "steps", "embeddings/<name>", "rewards/<name>", "dead_letters/<stage>"
    file: InsidePath  # "slice-train-00000-000000-000016.parquet"
    rows: StrictInt
    bytes: StrictInt
    sha256: StrictStr
    # None: not recorded, as it was before.
    crc32c: Annotated[StrictInt | None, Field(ge=0, lt=1 << 32)] = None
    # What it tells of the table, as JSON, until the table has its manifest. None: ask the file.
    figures: Annotated[StrictStr | None, Field(exclude=True)] = field(default=None, compare=False)


@dataclass(frozen=True, order=True)
class Run:
    """Episodes [start, stop) of one shard of one split."""

    split: str
    shard: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A contiguous run of whole episodes of one source shard.

    This is the only element that travels through the Beam pipelines. Stages add the files
    they committed for it; frames never cross a stage.

    Example:
        >>> Slice(index=3, count=16, split="train", shard=1, start=20, stop=40).name
        'slice-train-00001-000020-000040'
    """

    index: int  # position in the plan
    count: int  # number of slices in the plan
    split: str
    shard: int
    start: int  # first episode, counted within the shard
    stop: int  # one past the last episode
    files: tuple[TableFile, ...] = ()  # committed so far
    numbered: bool = False  # named by its position in the plan, as in format 1

    @property
    def name(self) -> str:
        """File name without its ending, the same in every table.

        It says what is inside, so it stays when a store grows; names sort as the plan does.
        """
        if self.numbered:
            return f"slice-{self.index:05d}-of-{self.count:05d}"
        return f"slice-{self.split}-{self.shard:05d}-{self.start:06d}-{self.stop:06d}"

    @property
    def file(self) -> str:
        """File name of the slice in every table."""
        return f"{self.name}.parquet"

    @property
    def run(self) -> Run:
        """Which episodes it consists of."""
        return Run(self.split, self.shard, self.start, self.stop)

    def episode_id(self, index: int) -> str:
        """Stable id of the episode at `index` of the slice's shard."""
        return f"{self.split}/{self.shard}/{index}"

    def holds_any(self, records: Collection[str]) -> bool:
        """Whether it has one of some records: a set of ids, as `record_id` gives them."""
        return any(self.episode_id(index) in records for index in range(self.start, self.stop))

    def with_files(self, *files: TableFile) -> Slice:
        """The same slice with more files committed."""
        return replace(self, files=(*self.files, *files))


def record_id(episode_id: str) -> str:
    """Id of an episode's record, of which several episodes are called 7.0, 7.1, …

    Example:
        >>> record_id("train/0/7.1")
        'train/0/7'
    """
    shard, slash, place = episode_id.rpartition("/")
    return shard + slash + place.partition(".")[0]


def plan_slices(
    split: str, shard_lengths: Sequence[int], episodes_per_slice: int
) -> tuple[Slice, ...]:
    """Cuts every shard into runs of at most `episodes_per_slice` episodes.

    Runs of one shard differ by at most one episode, so that no worker gets a crumb while
    another gets a full slice.

    Args:
        split: name of the split the shards belong to.
        shard_lengths: number of episodes of each shard.
        episodes_per_slice: upper bound, at least 1.

    Raises:
        StoreError: the bound is below 1 or there is no episode at all.

    Example:
        >>> [(s.shard, s.start, s.stop) for s in plan_slices("train", [5, 2], 3)]
        [(0, 0, 3), (0, 3, 5), (1, 0, 2)]
    """
    lengths = {(split, shard): length for shard, length in enumerate(shard_lengths)}
    whole = [Run(split, shard, 0, length) for shard, length in enumerate(shard_lengths)]
    runs = cut_runs(whole, lengths, episodes_per_slice)
    if not runs:
        raise StoreError(f"split {split!r}: expected at least one episode, got none")
    return tuple(
        Slice(i, len(runs), run.split, run.shard, run.start, run.stop) for i, run in enumerate(runs)
    )


def cut_runs(
    runs: Sequence[Run],
    shard_lengths: Mapping[tuple[str, int], int],
    episodes_per_slice: int,
    kept: Sequence[Run] = (),
) -> list[Run]:
    """Cuts parts of shards into slices, at the borders that the whole shards would be cut at.

    So a part has the slices of the whole, except at its own ends.

    Args:
        runs: the parts; no two have an episode in common.
        shard_lengths: episodes of each whole shard, by split and shard.
        episodes_per_slice: upper bound, at least 1.
        kept: slices that are there already; they stay, and only the rest of `runs` is cut.

    Returns:
        The slices, `kept` among them, in the order of splits, shards and episodes.

    Raises:
        StoreError: the bound is below 1.

    Example:
        >>> lengths = {("train", 0): 6}
        >>> part = cut_runs([Run("train", 0, 0, 4)], lengths, 3)
        >>> [(run.start, run.stop) for run in part]
        [(0, 3), (3, 4)]
        >>> whole = cut_runs([Run("train", 0, 0, 6)], lengths, 3, kept=part)
        >>> [(run.start, run.stop) for run in whole]
        [(0, 3), (3, 4), (4, 6)]
    """
    if episodes_per_slice < 1:
        raise StoreError(f"episodes per slice: expected at least 1, got {episodes_per_slice}")
    cut = list(kept)
    for run in subtract(runs, kept):
        borders = _borders(shard_lengths[run.split, run.shard], episodes_per_slice)
        inner = [border for border in borders if run.start < border < run.stop]
        cut += [
            Run(run.split, run.shard, start, stop)
            for start, stop in itertools.pairwise([run.start, *inner, run.stop])
        ]
    return sorted(cut)


def subtract(runs: Sequence[Run], taken: Sequence[Run]) -> list[Run]:
    """The episodes of `runs` that are in none of `taken`, without empty runs."""
    by_shard: dict[tuple[str, int], list[Run]] = {}
    for gone in taken:
        by_shard.setdefault((gone.split, gone.shard), []).append(gone)
    left = []
    for run in runs:
        parts = [run] if run.start < run.stop else []
        for gone in by_shard.get((run.split, run.shard), ()):
            parts = [part for piece in parts for part in _without(piece, gone)]
        left += parts
    return left


def _without(run: Run, gone: Run) -> Iterator[Run]:
    """What is left of a run before and after another of the same shard."""
    before, after = min(run.stop, gone.start), max(run.start, gone.stop)
    if run.start < before:
        yield replace(run, stop=before)
    if after < run.stop:
        yield replace(run, start=after)


def _borders(length: int, most: int) -> list[int]:
    pieces = max(-(-length // most), 1)
    # Larger runs first: 5 in 2 pieces is 3 + 2.
    return [-(-piece * length // pieces) for piece in range(pieces + 1)]
