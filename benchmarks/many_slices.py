"""What 100,000 slices cost beside their own work: planning, a look, taking up, the last report.

    python -m benchmarks.many_slices [--slices 100000] [--quick] [--out FILE]

One slice is embedded and scored; its files are linked under the names of all others, with receipts,
so that a job finds everything committed and no table finished. Each phase runs in a process of its
own, whose memory is told as what it adds to the process before it.

The same again on a simulated object store, with fewer slices: every call is counted and waits.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from unittest.mock import patch

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from benchmarks import common
from benchmarks.long_run import GOALS, tiny_source
from relabel.jobs import run
from relabel.jobs.options import EmbedOptions, JobOptions, RunOptions, ScoreOptions
from relabel.jobs.progress import Watch
from relabel.jobs.report import JobReport, report
from relabel.jobs.work import Engine, Work, in_this_process
from relabel.testing import PixelMeanEncoder
from schemas.manifests import sealed
from schemas.slices import Slice
from schemas.store import RECEIPTS, Store

PER_SHARD: Final = 100  # slices
LINKS: Final = 20_000  # of one file: disks allow some 65,000
NEW: Final = 100  # slices that appear between two looks
PAGE: Final = 1000  # names that an object store lists at once
LIMITS: Final = {  # seconds, at 100,000 slices on a local disk
    "planning a new store": 10.0,
    "planning, one slice left": 10.0,
    "a look, nothing new": 1.0,
    f"a look, {NEW} new slices": 1.0,
    "nothing left: planning": 10.0,
    "nothing left: the report": 10.0,
}
MOST_MB: Final = 500.0  # that any phase may add


@dataclass(frozen=True)
class Job:
    """`relabel` of a source into a store; small enough to be sent to a process."""

    source: str
    store: str

    def run(self, execute: Engine) -> JobReport:
        """As the command would."""
        return run.relabel(
            JobOptions(self.store, threads=1),
            EmbedOptions(
                self.source,
                "train",
                cameras=("image",),
                encoder=PixelMeanEncoder,
                episodes_per_slice=1,
                decode_threads=1,
            ),
            ScoreOptions(PixelMeanEncoder, GOALS),
            execute,
        )

    def planned(self) -> tuple[Work, tuple[float, float]]:
        """Everything up to the work, and how long it took: seconds, and those of processors."""
        began, busy = time.perf_counter(), time.process_time()

        def stop(work: Work, options: RunOptions) -> Mapping[str, float]:
            took = time.perf_counter() - began, time.process_time() - busy
            raise _PlannedError(work, took)

        try:
            self.run(Engine("nobody", stop))
        except _PlannedError as planned:
            return planned.work, planned.seconds
        raise SystemExit("error: expected something to do, got a finished job")


class _PlannedError(Exception):
    """The work is about to begin."""

    def __init__(self, work: Work, seconds: tuple[float, float]) -> None:
        super().__init__("planned")
        self.work, self.seconds = work, seconds


# --- a store of which every slice is committed


def commit_all(job: Job) -> None:
    """Does the first slice, and gives its files to all others."""
    work, _ = job.planned()
    store = Store.open(job.store)
    first, *others = store.slices
    for stage in work.stages:
        worker = stage.open()
        list(worker.process([first]))
        worker.close()
    for table in work.finish.tables:
        _spread(store, table.table, first, others)


def _spread(store: Store, table: str, first: Slice, others: Sequence[Slice]) -> None:
    receipts = f"{table}/{RECEIPTS}"
    told = json.loads(store.folder.read(f"{receipts}/{first.file}.json"))
    told.pop("checksum")
    local = store.folder.is_local
    origin, content = f"{table}/{first.file}", store.folder.read(f"{table}/{first.file}")
    for place, piece in enumerate(others):
        name = f"{table}/{piece.file}"
        files = [{**file, "file": piece.file} for file in told["files"]]
        receipt = sealed({**told, "files": files})
        if not local:
            store.folder.remote.pipe_file(store.folder.join(name), content)
            stamp = store.folder.info(name).version
            receipt = sealed({**told, "files": files, **({"version": stamp} if stamp else {})})
            store.folder.remote.pipe_file(
                store.folder.join(f"{receipts}/{piece.file}.json"), receipt
            )
            continue
        if place % LINKS == 0 and place:
            path = Path(store.folder.join(name))
            path.write_bytes(content)
            stamps = os.stat(store.folder.join(origin))
            os.utime(path, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
            origin = name
        else:
            os.link(store.folder.join(origin), store.folder.join(name))
        Path(store.folder.join(f"{receipts}/{piece.file}.json")).write_bytes(receipt)


# --- phases


Timed = dict[str, tuple[float, float]]  # by phase: seconds, and those of processors


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    busy = time.process_time()
    return common.seconds(work), time.process_time() - busy


def planning(job: Job) -> Timed:
    """Of a store that is not there."""
    return {"planning a new store": job.planned()[1]}


def planning_again(job: Job) -> Timed:
    """Of one that is there, with every slice committed but one: finds out which."""
    store = Store.open(job.store)
    with _hidden(store, store.unfinished()[-1], 1):
        return {"planning, one slice left": job.planned()[1]}


def looks(job: Job) -> Timed:
    """At a job that is nearly done."""
    store = Store.open(job.store)
    tables = store.unfinished()
    watches: list[Watch] = []
    found: Timed = {}
    with _hidden(store, tables[-1], NEW):
        found["first look"] = _timed(lambda: watches.append(Watch(store, tables)))
        found["a look, nothing new"] = _timed(watches[0].look)
    found[f"a look, {NEW} new slices"] = _timed(watches[0].look)
    return found


@contextmanager
def _hidden(store: Store, table: str, slices: int) -> Iterator[None]:
    """Some slices of a table are not there meanwhile."""
    paths = [store.folder.join(f"{table}/{piece.file}") for piece in store.slices[-slices:]]
    for path in paths:
        os.rename(path, f"{path}.hidden")
    yield
    for path in paths:
        os.rename(f"{path}.hidden", path)


def taking_up(job: Job) -> Timed:
    """The whole command where all is committed: it finds that out, and finishes the tables."""
    return {"taking up and finishing": _timed(lambda: _whole(job.run(in_this_process)))}


def reporting(job: Job) -> Timed:
    """The whole command where there is nothing to do: up to its report, and that."""
    spent = [0.0, 0.0]

    def timed(*inputs: object) -> JobReport:
        found: list[JobReport] = []
        spent[:] = _timed(lambda: found.append(report(*inputs)))  # type: ignore[arg-type]
        return found[0]

    with patch.object(run, "report", timed):
        whole = _timed(lambda: _whole(job.run(in_this_process)))
    return {
        "nothing left: planning": (whole[0] - spent[0], whole[1] - spent[1]),
        "nothing left: the report": (spent[0], spent[1]),
    }


def _whole(report: JobReport) -> None:
    if report.unfinished:
        raise SystemExit(f"error: expected all tables complete, got {report.unfinished}")


PHASES: Final = (looks, planning_again, taking_up, reporting)


# --- an object store


class SimulatedStore(MemoryFileSystem):  # type: ignore[misc]
    """Objects in memory. Calls are counted, and each waits as the network would."""

    protocol = "gs"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls: ClassVar[Counter[str]] = Counter()
    latency_s: ClassVar[float] = 0.0
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def _asked(self, what: str, times: int = 1) -> None:
        with self._lock:
            self.calls[what] += times
        if self.latency_s:
            time.sleep(times * self.latency_s)

    def info(self, path: str, **more: Any) -> Any:
        """A HEAD."""
        self._asked("head")
        path = self._strip_protocol(path)
        if path in self.store:
            return self._entry(path)
        if any(name.startswith(f"{path}/") for name in self.store):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def _entry(self, path: str) -> dict[str, Any]:
        content = self.store[path]
        tag = f"{len(content.getvalue())}-{content.created.timestamp()}"
        size, changed = len(content.getvalue()), content.modified
        return {"name": path, "size": size, "type": "file", "ETag": tag, "mtime": changed}

    def find(self, path: str, maxdepth: int | None = None, **more: Any) -> Any:
        """As many requests as it takes to list a thousand names at a time."""
        base = self._strip_protocol(path).rstrip("/") + "/"
        names = sorted(name for name in list(self.store) if name.startswith(base))
        if maxdepth == 1:
            names = [name for name in names if "/" not in name[len(base) :]]
        self._asked("list", max(1, -(-len(names) // PAGE)))
        if more.get("detail"):
            return {name: self._entry(name) for name in names}
        return names

    def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
        """Likewise."""
        found = list(self.find(path, maxdepth=1, detail=True).values())
        base = self._strip_protocol(path).rstrip("/") + "/"
        rests = (name[len(base) :] for name in list(self.store) if name.startswith(base))
        folders = sorted({rest.partition("/")[0] for rest in rests if "/" in rest})
        found += [{"name": base + name, "size": 0, "type": "directory"} for name in folders]
        return found if detail else [entry["name"] for entry in found]

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        self._asked("get" if mode == "rb" else "put")
        return super()._open(path, mode, **more)

    def cat_file(self, path: str, *args: Any, **more: Any) -> Any:
        """A GET."""
        self._asked("get")
        return super().cat_file(path, *args, **more)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        """A PUT."""
        self._asked("put")
        super().pipe_file(path, value, mode, **more)

    def put_file(self, lpath: str, rpath: str, *args: Any, **more: Any) -> None:
        """Likewise."""
        self._asked("put")
        SimulatedStore.pipe_file(self, rpath, Path(lpath).read_bytes())
        self.calls["put"] -= 1

    def rm_file(self, path: str) -> None:
        """A DELETE."""
        self._asked("delete")
        super().rm_file(path)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """As many requests as it takes to delete a thousand names at a time."""
        names = list(self.find(path))
        for name in names:
            super().rm_file(name)
        self._asked("delete", -(-len(names) // PAGE))


@contextmanager
def simulated(latency_s: float) -> Iterator[type[SimulatedStore]]:
    """`gs://` is an object store in memory meanwhile."""
    fsspec.register_implementation("gs", SimulatedStore, clobber=True)
    SimulatedStore.latency_s = latency_s
    try:
        yield SimulatedStore
    finally:
        SimulatedStore.store.clear()
        SimulatedStore.calls.clear()


def on_an_object_store(job: Job, latency_s: float) -> Iterator[tuple[str, float, dict[str, int]]]:
    """Seconds and calls of the phases that are the same anywhere."""
    with simulated(0.0) as remote:
        commit_all(job)
        remote.latency_s = latency_s
        for name, phase in (("taking up and finishing", taking_up), ("report", reporting)):
            remote.calls.clear()
            took = common.seconds(lambda phase=phase: phase(job))
            yield name, took, dict(remote.calls)


def main() -> None:
    """Runs and prints; exit code 1 if a limit is passed at 100,000 slices or more."""
    parser = common.options(__doc__, repeats=1)
    parser.add_argument("--slices", type=int, default=100_000)
    parser.add_argument("--remote-slices", type=int, default=2000)
    parser.add_argument("--latency-ms", type=float, default=20.0, help="of a simulated call")
    options = parser.parse_args()
    slices, remote_slices = options.slices, options.remote_slices
    if options.quick:
        slices, remote_slices, options.latency_ms = 500, 100, 1.0
    seconds: Timed = {}
    memory: dict[str, float] = {}
    with common.folder() as folder:
        source = str(tiny_source(folder / "1.0.0", slices, PER_SHARD))
        job = Job(source, str(folder / "store"))
        found, memory["planning a new store"] = common.measured(
            planning, Job(source, str(folder / "plan"))
        )
        seconds |= found
        commit_all(job)
        for phase in PHASES:
            found, added = common.measured(phase, job)
            seconds |= found
            memory |= dict.fromkeys(found, added)
        manifest = Path(job.store, "rewards/v1/__meta__/manifest.json").stat().st_size / 1e6
        few = str(tiny_source(folder / "few" / "1.0.0", remote_slices, PER_SHARD))
        there = Job(few, "gs://bucket/store")
        remote = list(on_an_object_store(there, options.latency_ms / 1000))
    common.show(
        f"{slices:,} slices on a local disk; a manifest of {manifest:.1f} MB; "
        f"load {os.getloadavg()[0]:.1f}",
        ("phase", "seconds", "processor s", "MB added", "limit, s"),
        [(n, *s, memory[n], str(LIMITS.get(n, ""))) for n, s in seconds.items()],
        {"slices": slices, "seconds": seconds, "memory_mb": memory, "manifest_mb": manifest},
        options.out,
    )
    common.show(
        f"{remote_slices:,} slices on a simulated object store, {options.latency_ms:g} ms a call",
        ("phase", "seconds", "calls a slice", "ms a slice"),
        [(n, s, sum(c.values()) / remote_slices, 1000 * s / remote_slices) for n, s, c in remote],
        {"slices": remote_slices, "calls": {n: c for n, _, c in remote}},
        options.out and options.out.with_suffix(".remote.json"),
    )
    slow = [n for n, most in LIMITS.items() if slices >= 100_000 and seconds[n][0] > most]
    large = [n for n, mb in memory.items() if mb > MOST_MB]
    if slow or large:
        raise SystemExit(f"error: above the limit: {', '.join([*slow, *large])}")


if __name__ == "__main__":
    main()
