"""What it costs to know that a source has not changed: the walk over its shards, and reading them.

    python -m benchmarks.digests [--megabytes 100] [--record-kilobytes 500]

The files were written just before, so they are in the page cache: what is measured is the work and
not the disk. The walk reads 16 bytes per record of a TFRecord file, and all of an ArrayRecord file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks import common
from relabel.source.records import read_records
from relabel.source.survey import survey_shards
from relabel.testing import FileFormat, write_shard

SHARDS = 4


def main() -> None:
    """Writes shards of random bytes in both formats, and times the walk and the reading."""
    parser = common.options(__doc__)
    parser.add_argument("--megabytes", type=int, default=100, help="of each format")
    parser.add_argument("--record-kilobytes", type=int, default=500)
    options = parser.parse_args()
    if options.quick:
        options.megabytes, options.repeats = 2, 1
    size = options.record_kilobytes * 1000
    count = max(1, options.megabytes * 1_000_000 // size // SHARDS)
    with common.folder() as folder:
        cases: dict[str, Callable[[], float]] = {}
        for kind in get_args(FileFormat):
            paths = write(folder, kind, count, size)
            cases[f"{kind}: walk"] = partial(common.seconds, partial(survey_shards, paths, kind))
            cases[f"{kind}: read"] = partial(common.seconds, partial(read, paths, kind, count))
        found = common.interleaved(cases, options.repeats)
    common.show(
        f"{SHARDS * count} records of {options.record_kilobytes} kB in {SHARDS} shards",
        ("what", "ms"),
        [(name, 1000 * value) for name, value in common.medians(found).items()],
        {"seconds": found},
        options.out,
    )


def write(folder: Path, kind: FileFormat, count: int, size: int) -> list[str]:
    """Shards of `count` random records each; their paths."""
    paths = [folder / f"{kind}-{shard}" for shard in range(SHARDS)]
    for path in paths:
        write_shard(path, (os.urandom(size) for _ in range(count)), kind)
    return [str(path) for path in paths]


def read(paths: list[str], kind: FileFormat, count: int) -> int:
    """Reads every record; how many were intact."""
    found = (record for path in paths for record in read_records(path, kind, 0, count))
    return sum(isinstance(record, bytes) for record in found)


if __name__ == "__main__":
    main()
