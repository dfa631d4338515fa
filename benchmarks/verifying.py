"""Is `verify` linear? Seconds per slice of stores of a quarter, a half and all of the slices.

python -m benchmarks.verifying [--slices 3000] [--repeats 3] [--quick] [--out FILE]
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks import common
from benchmarks.long_run import relabel, tiny_source
from relabel.testing import PixelMeanEncoder
from schemas.store import Store
from schemas.verify import verify_store


def seconds(location: Path) -> float:
    """Of one check of a store that is whole."""
    store = Store.open(str(location))
    began = time.perf_counter()
    if any(problems for _, problems in verify_store(store)):
        raise SystemExit(f"error: {location}: expected no problem in a store just made")
    return time.perf_counter() - began


def main() -> None:
    """Runs and prints."""
    parser = common.options(__doc__, repeats=3)
    parser.add_argument("--slices", type=int, default=3000)
    options = parser.parse_args()
    slices = 40 if options.quick else options.slices
    sizes = [slices // 4, slices // 2, slices]
    with common.folder() as folder:
        for size in sizes:
            relabel(
                tiny_source(folder / str(size) / "1.0.0", size),
                folder / str(size) / "store",
                PixelMeanEncoder(),
            )
        turns = [
            [seconds(folder / str(s) / "store") for s in sizes] for _ in range(options.repeats)
        ]
    took = [statistics.median(column) for column in zip(*turns, strict=True)]
    least = took[0] / sizes[0]
    common.show(
        f"verify of stores of four tables, medians of {options.repeats}",
        ("slices", "seconds", "ms per slice", "ratio to the smallest"),
        [(f"{n:,}", s, 1000 * s / n, s / n / least) for n, s in zip(sizes, took, strict=True)],
        {"slices": sizes, "seconds": took, "ratio": took[-1] / sizes[-1] / least},
        options.out,
    )


if __name__ == "__main__":
    main()
