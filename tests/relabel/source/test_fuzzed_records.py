"""One damaged or hostile record among good ones, whatever it is: it costs itself and no more."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from relabel.jobs.store_plan import StoreSettings, new_manifest
from relabel.slices.embed_slice import embed_slice
from relabel.source.records import read_records
from relabel.source.source import Source
from relabel.testing import PixelMeanEncoder, write_shard
from schemas import fields
from schemas.errors import EpisodeError
from schemas.slices import TableFile
from schemas.store import Store
from tests import small
from tests.pipelines.small_source import write_source
from tests.relabel import mutations

LENGTHS = (3, 2, 4, 1, 3)  # steps per episode, one shard
VICTIM = 2
CAMERAS = ("observation.front", "observation.wrist")
MEMORY = 1 << 30  # bytes that one damaged record may make the process grow by
PATIENCE_S = 120  # a hang, not a slow machine


@dataclass(frozen=True)
class Rows:
    """What came of a shard."""

    tables: dict[str, pa.Table]
    letters: dict[str, list[dict[str, Any]]]  # by table

    def of(self, table: str, episode: str) -> pa.Table:
        """The rows of one episode."""
        content = self.tables[table]
        mask = pa.compute.equal(content.column(fields.EPISODE_ID), episode)
        return content.filter(mask)


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("undamaged"), LENGTHS, (len(LENGTHS),))


@pytest.fixture(scope="module")
def records(undamaged: Path) -> list[bytes]:
    (shard,) = undamaged.glob("*.tfrecord-*")
    found = list(read_records(str(shard), "tfrecord", 0, len(LENGTHS)))
    assert all(isinstance(record, bytes) for record in found)
    return found  # type: ignore[return-value]


@pytest.fixture(scope="module")
def expected(undamaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return relabelled(undamaged, tmp_path_factory.mktemp("expected") / "store")


def relabelled(directory: Path, location: Path) -> Rows:
    """Steps, episodes and embeddings of both cameras, in one slice and batches of two."""
    source = Source.open(str(directory), "train")
    plan = new_manifest(source, StoreSettings(episodes_per_slice=100))
    store = Store.create(str(location), plan)
    tables = small.source_tables(store, CAMERAS)
    (piece,) = store.slices
    done = embed_slice(
        piece,
        source=source,
        store=store,
        tables=tables,
        encoder=PixelMeanEncoder(),
        batch_size=2,
        decode_threads=1,
    )
    names = {table.table for table in tables}
    read = {name: store.read_slices(name, [piece]) for name in names}
    return Rows(read, {name: _letters(store, name, done.files) for name in names})


def _letters(store: Store, table: str, files: tuple[TableFile, ...]) -> list[dict[str, Any]]:
    own = f"dead_letters/{table}"
    if own not in {file.table for file in files}:
        return []
    return store.read_slices(own, store.slices).to_pylist()


@contextmanager
def bounded() -> Iterator[None]:
    """Memory and time that no record may exceed."""
    old = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, old[1]))
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, old)


def _hangs(number: int, frame: Any) -> None:
    raise TimeoutError(f"hangs for {PATIENCE_S} s")


def check(found: Rows, expected: Rows, *, framing: bool) -> None:
    """Other episodes as they were, the damaged one as rows or as a dead letter with its cause.

    Args:
        found: of the damaged shard.
        expected: of the undamaged one.
        framing: where a length cannot be trusted, nothing behind it can be found.
    """
    for table, letters in found.letters.items():
        lost = {row[fields.EPISODE_ID] for row in letters if row[fields.STEP] is None}
        for place in range(len(LENGTHS)):
            episode = f"train/0/{place}"
            if place == VICTIM:
                continue
            if framing and place > VICTIM and episode in lost:
                continue
            assert found.of(table, episode).equals(expected.of(table, episode)), (table, episode)
        told = {name.split(".")[0] for name in {*_ids(found.tables[table]), *lost}}
        if table != "steps":  # a record of no steps has no row there
            assert f"train/0/{VICTIM}" in told or _is_empty(found)
    for row in (row for letters in found.letters.values() for row in letters):
        _check_reason(row[fields.REASON])


def _ids(table: pa.Table) -> set[str]:
    return set(table.column(fields.EPISODE_ID).to_pylist())


def _is_empty(found: Rows) -> bool:
    episode = found.of("episodes", f"train/0/{VICTIM}").to_pylist()
    return [row[fields.LENGTH] for row in episode] == [0]


def _check_reason(reason: str) -> None:
    assert 10 < len(reason) < 1000, reason
    assert "Traceback" not in reason and "object at 0x" not in reason, reason
    assert "MemoryError" not in reason and "allocate" not in reason, reason


@pytest.mark.slow
@pytest.mark.parametrize("kind", mutations.KINDS)
@given(data=st.data())
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_one_bad_record_costs_itself_alone(
    kind: str, data: st.DataObject, records: list[bytes], undamaged: Path, expected: Rows,
    tmp_path: Path,
) -> None:  # fmt: skip
    content = data.draw(mutations.KINDS[kind](records, VICTIM))
    place = tmp_path / "damaged"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(undamaged, place / "source")
    (shard,) = (place / "source").glob("*.tfrecord-*")
    shard.write_bytes(content)
    with bounded():
        found = relabelled(place / "source", place / "store")
    check(found, expected, framing=kind == "framing")


@st.composite
def _damages(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Flips, cuts and zeros at some places of a file, as parts of a thousand of its length."""
    kind = st.sampled_from(["flip", "cut", "zero"])
    return draw(
        st.lists(st.tuples(kind, st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=3)
    )


@given(damages=_damages())
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_damaged_array_record_gives_what_was_written_or_an_error(
    damages: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    originals = [bytes([i]) * 300 * (i + 1) for i in range(5)]
    path = tmp_path / "shard"
    write_shard(path, originals, "array_record")
    assert list(read_records(str(path), "array_record", 0, 5)) == originals  # its threads begin
    content = bytearray(path.read_bytes())
    for kind, part, value in damages:
        at = part * len(content) // 1000
        if kind == "cut":
            del content[at:]
        elif content:
            content[at : at + 1 + value % 8] = bytes([content[at] ^ (value | 1)] * (1 + value % 8))
            if kind == "zero":
                content[at : at + value] = bytes(len(content[at : at + value]))
    path.write_bytes(content)
    with bounded():
        found = list(read_records(str(path), "array_record", 0, 5))
    assert len(found) == 5
    for record, original in zip(found, originals, strict=True):
        assert isinstance(record, EpisodeError) or record == original
        if isinstance(record, EpisodeError):
            _check_reason(str(record))
