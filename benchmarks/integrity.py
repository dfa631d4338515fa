"""What it costs to hold every file against its checksum: `score` and `relabel`, and `verify`.

    python -m benchmarks.integrity [--frames 100000] [--quick] [--repeats N] [--out FILE]

The same jobs with and without checking what they read (as with `--trust`), in turns in this
process, with an empty memory of files that were checked before. Sizes are compared either way. The
store has random embeddings of 512 values, as ViT-B-32 has; how much checking costs depends on how
much is computed with what is read, so several numbers of goals are scored. Processor time of all
threads is compared, which a busy machine disturbs less than the wall time, told beside it.

The difference is smaller than what a job varies by. So its share is measured too: processor time
inside `check_file`, of the thread that calls it, by that of the whole process during the job; and
likewise where the SHA-256 is compared, as in stores that do not record the CRC-32C. What a trusting
job spends there is the floor: manifests and sizes.

`verify` is timed for stores of 750, 1,500 and 3,000 slices: the time per slice should be the same.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import common
from benchmarks.goals import stored_embeddings
from benchmarks.long_run import relabel as relabel_tiny
from benchmarks.long_run import tiny_source
from pipelines import jobs
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from relabel.jobs.report import JobReport
from relabel.testing import PixelMeanEncoder
from schemas import seals
from schemas import store as store_module
from schemas.files import Folder
from schemas.slices import TableFile
from schemas.store import Store
from schemas.verify import verify_store

DIM: Final = 512
GOALS: Final = (10, 100, 1000)
SLICES: Final = (750, 1500, 3000)
RELABEL: Final = "relabel, 10 goals"
CASES: Final = {**{f"score, {n:,} goals": n for n in GOALS}, RELABEL: 10}
CHECKED, TRUSTED, HASHED = "checked", "trusted", "SHA-256"


class WideEncoder(PixelMeanEncoder):
    """As many values as ViT-B-32 has; texts have directions of their own, frames one."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = self.spec.model_copy(update={"dim": DIM, "logit_scale": 100.0})

    def encode_images(self, frames: Sequence[Any]) -> Any:
        """(N, DIM) unit-norm embeddings."""
        narrow = super().encode_images(frames)
        return np.pad(narrow, ((0, 0), (0, DIM - narrow.shape[1])))

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """(N, DIM) unit-norm embeddings."""
        drawn = [np.random.default_rng(sum(map(ord, text))).normal(size=DIM) for text in texts]
        vectors = np.array(drawn).reshape(-1, DIM)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@contextmanager
def checking(told: str) -> Iterator[list[float]]:
    """Every check meanwhile is of the kind that is told, whatever jobs ask for.

    Yields:
        Processor seconds of each, of the thread that makes it.
    """
    check, took = store_module.check_file, []

    def timed(folder: Folder, file: TableFile, *, trust: bool) -> None:
        del trust  # a store that a job has just made knows none, and must not be left out
        wanted = replace(file, crc32c=None) if told == HASHED else file
        began = time.thread_time()
        check(folder, wanted, trust=told == TRUSTED)
        took.append(time.thread_time() - began)

    seals._WHOLE.clear()
    store_module.check_file = timed
    try:
        yield took
    finally:
        store_module.check_file = check


class Jobs:
    """Jobs over one store and one source.

    Args:
        place: folder for everything.
        frames: that are scored, and a twentieth of them relabeled.
    """

    def __init__(self, place: Path, frames: int) -> None:
        self._place = place
        self._encoder = WideEncoder()
        self._names = map("r{}".format, itertools.count())
        self.wall_s: dict[str, list[float]] = {}
        self.shares: dict[str, list[float]] = {}
        self._goals = {n: str(common.goals_file(place / f"goals-{n}.yaml", n)) for n in GOALS}
        self._source = common.jpeg_source(
            place / "1.0.0", episodes=16, steps=max(2, frames // 320), size=(64, 64)
        )
        first = place / "first"
        self._relabel(first)
        self._store = stored_embeddings(place / "store", Store.open(str(first)), frames)

    def timed(self, case: str, told: str) -> float:
        """Processor seconds of one job; its wall time and the share of the checks are kept."""
        name = next(self._names)
        began, used = time.perf_counter(), time.process_time()
        with checking(told) as checks:
            if case == RELABEL:
                self._relabel(self._place / name)
            else:
                self._score(name, CASES[case])
        used = time.process_time() - used
        self.shares.setdefault(f"{case}, {told}", []).append(sum(checks) / used)
        self.wall_s.setdefault(f"{case}, {told}", []).append(time.perf_counter() - began)
        Store.open(str(self._store)).folder.delete_folder(f"rewards/{name}")
        return used

    def _score(self, name: str, goals: int) -> JobReport:
        what = ScoreOptions(lambda: self._encoder, self._goals[goals], name=name)
        return jobs.score(JobOptions(str(self._store)), what)

    def _relabel(self, store: Path) -> JobReport:
        source = EmbedOptions(
            str(self._source), "train", cameras=("image",), encoder=lambda: self._encoder
        )
        what = ScoreOptions(lambda: self._encoder, self._goals[GOALS[0]])
        return jobs.relabel(JobOptions(str(store)), source, what)


def verify_seconds(place: Path, sizes: Sequence[int], repeats: int) -> dict[int, float]:
    """Seconds of `verify` by number of slices: one store, which grows."""
    encoder = PixelMeanEncoder()
    source = tiny_source(place / "many" / "1.0.0", max(sizes))
    found = {}
    for slices in sizes:
        relabel_tiny(source, place / "many.store", encoder, f"train[:{slices}]")
        times = [common.seconds(partial(_verify, place / "many.store")) for _ in range(repeats)]
        found[slices] = min(times)
    return found


def _verify(store: Path) -> None:
    problems = [p for _, own in verify_store(Store.open(str(store))) for p in own]
    if problems:
        raise SystemExit(f"error: {problems[0]}")


def ratios_of(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Checked over trusted, by case."""
    return {
        name: common.paired_ratio(found, f"{name}, {CHECKED}", f"{name}, {TRUSTED}")
        for name in CASES
    }


def main() -> None:
    """Runs and prints."""
    parser = common.options(__doc__, repeats=5)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--no-verify", action="store_true", help="leave the last part out")
    options = parser.parse_args()
    sizes: Sequence[int] = () if options.no_verify else SLICES
    if options.quick:
        options.repeats, options.frames, sizes = 1, 4000, (10, 20)
    with common.folder() as folder:
        work = Jobs(folder, options.frames)
        found = common.interleaved(
            {
                f"{name}, {told}": partial(work.timed, name, told)
                for name in CASES
                for told in (TRUSTED, CHECKED, HASHED)
            },
            options.repeats,
        )
        verified = verify_seconds(folder, sizes, 1 if options.quick else 2) if sizes else {}
    ratios, wall = ratios_of(found), ratios_of(work.wall_s)
    times, shares = common.medians(found), common.medians(work.shares)
    per_slice = {slices: 1e3 * s / slices for slices, s in verified.items()}
    common.show(
        f"Checking what is read, {options.frames:,} frames of {DIM} values",
        ("job", "trusted, s", "checked, s", "ratio", "of wall time", "share", "SHA-256", "trusted"),
        [
            (
                *(n, times[f"{n}, {TRUSTED}"], times[f"{n}, {CHECKED}"]),
                *(f"{r:.3f}", f"{wall[n]:.3f}"),
                *(f"{100 * shares[f'{n}, {told}']:.2f} %" for told in (CHECKED, HASHED, TRUSTED)),
            )
            for n, r in ratios.items()
        ]
        + [
            (f"verify, {n:,} slices", "", s, f"{per_slice[n]:.1f} ms a slice", "", "", "", "")
            for n, s in verified.items()
        ],
        {
            "processor_s": found,
            "wall_s": work.wall_s,
            "ratios": ratios,
            "wall_ratios": wall,
            "shares": work.shares,
            "verify_s": verified,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
