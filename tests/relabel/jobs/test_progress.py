"""Progress, read off the files of a store, by an injected clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines import jobs
from relabel.jobs import progress
from relabel.jobs.options import JobOptions
from relabel.jobs.progress import Progress, Watch, watched
from schemas.files import Folder
from schemas.store import MANIFEST, Store
from tests.pipelines.job_options import Embedding

Commit = Callable[[int], None]


@pytest.fixture
def done(job: JobOptions, embedding: Embedding) -> Store:
    """A store of four slices of 3, 2, 4 and 2 frames."""
    jobs.embed(job, embedding())
    return Store.open(job.store)


@pytest.fixture
def commit(done: Store) -> Commit:
    """Makes slice i of the embeddings, hidden before, appear."""
    folder = Path(done.location) / done.embeddings()[0].table
    for piece in done.slices:
        (folder / piece.file).rename(folder / f".tmp-{piece.index}")

    def appear(index: int) -> None:
        (folder / f".tmp-{index}").rename(folder / done.slices[index].file)

    return appear


def _unfinish(store: Store) -> None:
    store.folder.delete(f"{store.embeddings()[0].table}/{MANIFEST}")


def _watch(store: Store, times: Iterator[float]) -> Watch:
    tables = ["steps", "episodes", store.embeddings()[0].table]
    return Watch(store, tables, clock=lambda: next(times))


def test_a_watch_counts_what_appears_after_it_began(done: Store, commit: Commit) -> None:
    commit(0)  # by an earlier run
    watch = _watch(done, iter([100.0, 100.0, 104.0, 108.0]))
    assert watch.look() == Progress(4, slices_done=1, slices_new=0, frames=0, elapsed_s=0.0)
    commit(2)
    now = watch.look()
    assert now == Progress(4, slices_done=2, slices_new=1, frames=4, elapsed_s=4.0)
    assert (now.frames_per_s, now.left_s) == (1.0, 8.0)
    commit(1)
    commit(3)
    end = watch.look()
    assert end == Progress(4, slices_done=4, slices_new=3, frames=8, elapsed_s=8.0)
    assert (end.frames_per_s, end.left_s) == (1.0, 0.0)


def test_a_slice_counts_when_every_table_has_it(done: Store, commit: Commit) -> None:
    watch = _watch(done, iter([0.0, 1.0, 2.0]))
    (Path(done.location) / "steps" / done.slices[0].file).unlink()
    commit(0)
    assert watch.look().slices_done == 0
    commit(1)
    assert watch.look().slices_done == 1


@pytest.mark.parametrize("few", [0, 8])  # by listings, one by one
def test_a_look_reads_nothing_of_slices_that_are_counted(
    done: Store, commit: Commit, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(progress, "_FEW", few)
    watch = _watch(done, iter(map(float, range(10))))
    _unfinish(done)
    read: list[str] = []
    rows = Store.rows

    def counted(store: Store, table: str, file: str) -> int:
        read.append(file)
        return rows(store, table, file)

    monkeypatch.setattr(Store, "rows", counted)
    for index in (2, 0, 3, 1):
        commit(index)
        assert [watch.look().slices_new for _ in range(2)] == [len(read)] * 2
    assert read == [done.slices[index].file for index in (2, 0, 3, 1)]


def test_a_look_reads_some_footers_and_estimates_the_other_frames(
    done: Store, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices of 3, 2, 4 and 2 frames that appear at once, two of them looked into at a time."""
    monkeypatch.setattr(progress, "_READ", 2)
    watch = _watch(done, iter(map(float, range(10))))
    _unfinish(done)
    for index in range(4):
        commit(index)
    seen = [watch.look() for _ in range(3)]
    assert [now.slices_new for now in seen] == [4, 4, 4]
    assert [now.frames for now in seen] == [10, 11, 11]


def test_the_end_knows_every_frame_of_a_finished_table_from_its_manifest(
    done: Store, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_READ", 1)
    watch = _watch(done, iter(map(float, range(10))))
    for index in range(4):
        commit(index)
    assert watch.look().frames in (8, 12, 16)  # of one slice, four times
    monkeypatch.setattr(Store, "rows", lambda *_: pytest.fail("a footer is read"))
    assert watch.end() == Progress(4, slices_done=4, slices_new=4, frames=11, elapsed_s=2.0)


def test_a_part_is_watched_alone(done: Store, commit: Commit) -> None:
    tables = ["steps", done.embeddings()[0].table]
    watch = Watch(done, tables, clock=lambda: 0.0, slices=done.slices[1::2])
    commit(0)
    commit(1)
    assert watch.end() == Progress(2, slices_done=1, slices_new=1, frames=2, elapsed_s=0.0)


def test_all_tables_but_the_last_are_asked_for_new_slices_only(
    done: Store, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `build-goals` watches: its table is new, and that of the rows was complete before."""
    listed: list[str] = []
    names = Folder.names

    def counted(folder: Folder, place: str, *, recursive: bool = False) -> list[str]:
        listed.append(place)
        return names(folder, place, recursive=recursive)

    monkeypatch.setattr(progress, "_FEW", 3)
    embeddings = done.embeddings()[0].table
    watch = Watch(done, [embeddings, "steps"], clock=lambda: 0.0)
    monkeypatch.setattr(Folder, "names", counted)
    commit(1)
    assert (watch.look().frames, listed) == (2, [embeddings])
    commit(3)
    assert (watch.look().frames, listed) == (4, [embeddings])  # three are left: one by one


def test_before_the_first_slice_nothing_is_promised() -> None:
    now = Progress(slices=4, slices_done=0, slices_new=0, frames=0, elapsed_s=0.0)
    assert (now.frames_per_s, now.left_s) == (0.0, None)


def test_watched_shows_while_the_block_runs_and_once_after(
    done: Store, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_POLL_S", 0.001)
    shown: list[Progress] = []
    seen = threading.Event()

    def show(now: Progress) -> None:
        shown.append(now)
        seen.set()

    with watched(Watch(done, ["steps", done.embeddings()[0].table]), show):
        assert seen.wait(5)
        for index in range(4):
            commit(index)
    assert shown[0].slices_done < 4
    assert shown[-1].slices_done == 4


def test_watched_rests_twenty_times_as_long_as_a_look_takes(done: Store) -> None:
    """Looks of 0 s, 0.02 s and 3 s; told by an injected clock, never waited for."""
    times = iter([0.0, 0.0, 1.0, 1.02, 2.0, 5.0])
    looks = iter([False, False, False, True])
    pauses: list[float] = []

    def wait(stopped: threading.Event, pause: float) -> bool:
        pauses.append(pause)
        return next(looks)

    shown: list[Progress] = []
    with watched(Watch(done, ["steps"]), shown.append, clock=lambda: next(times), wait=wait):
        while len(pauses) < 4:
            threading.Event().wait(0.001)
    assert pauses == pytest.approx([0.5, 0.5, 0.5, 60.0])
    assert len(shown) == 4  # and once at the end


def test_watched_stops_when_the_block_fails(done: Store) -> None:
    shown: list[Progress] = []
    with pytest.raises(KeyError), watched(Watch(done, ["steps"]), shown.append):
        raise KeyError
    assert len(shown) >= 1
    assert not [t for t in threading.enumerate() if t.name == "progress"]
