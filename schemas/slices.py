"""Slices: the unit of work, of retry and of commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from schemas.errors import StoreError
from schemas.names import InsidePath


class TableFile(BaseModel):
    """One committed file of a table, as its manifest lists it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    table: InsidePath  # "steps", "embeddings/<name>", "rewards/<name>", "dead_letters/<stage>"
    file: InsidePath  # "slice-00000-of-00016.parquet"
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Slice:
    """A contiguous run of whole episodes of one source shard.

    This is the only element that travels through the Beam pipelines. Stages add the files
    they committed for it; frames never cross a stage.

    Example:
        >>> Slice(index=3, count=16, split="train", shard=1, start=20, stop=40).name
        'slice-00003-of-00016'
    """

    index: int  # position in the plan
    count: int  # number of slices in the plan
    split: str
    shard: int
    start: int  # first episode, counted within the shard
    stop: int  # one past the last episode
    files: tuple[TableFile, ...] = ()  # committed so far

    @property
    def name(self) -> str:
        """File name without its ending, the same in every table."""
        return f"slice-{self.index:05d}-of-{self.count:05d}"

    @property
    def file(self) -> str:
        """File name of the slice in every table."""
        return f"{self.name}.parquet"

    def episode_id(self, index: int) -> str:
        """Stable id of the episode at `index` of the slice's shard."""
        return f"{self.split}/{self.shard}/{index}"

    def with_files(self, *files: TableFile) -> Slice:
        """The same slice with more files committed."""
        return replace(self, files=(*self.files, *files))


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
    if episodes_per_slice < 1:
        raise StoreError(f"episodes per slice: expected at least 1, got {episodes_per_slice}")
    runs = [
        (shard, start, stop)
        for shard, length in enumerate(shard_lengths)
        for start, stop in _even_runs(length, episodes_per_slice)
    ]
    if not runs:
        raise StoreError(f"split {split!r}: expected at least one episode, got none")
    return tuple(
        Slice(index=i, count=len(runs), split=split, shard=shard, start=start, stop=stop)
        for i, (shard, start, stop) in enumerate(runs)
    )


def _even_runs(length: int, most: int) -> Iterator[tuple[int, int]]:
    pieces = -(-length // most)
    for piece in range(pieces):
        # Larger runs first: 5 in 2 pieces is 3 + 2.
        yield -(-piece * length // pieces), -(-(piece + 1) * length // pieces)
