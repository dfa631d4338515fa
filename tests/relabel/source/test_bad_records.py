"""One bad record never ends the job, and no other record notices."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from relabel.slices import embed_slice as embedding
from relabel.source.records import masked_crc, read_records
from relabel.source.source import Source
from relabel.source.survey import survey_shard
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.errors import EpisodeError, FrameError
from schemas.store import Store
from schemas.verify import verify_store
from tests import small
from tests.small import FRONT, WRIST

BAD = "train/1/0"  # 5 steps
Value = tuple[str, list[Any]] | None  # kind of list and values; None: the feature is gone
ONE: dict[str, Value] = {
    "integer": ("int64", [3]),
    "integers": ("int64", [2**62] * 5),
    "float": ("float", [1.5]),
    "floats": ("float", [float("nan"), 1e30, -1.0, 0.5, 7.0]),
    "string": ("bytes", [b"\xff\xfe"]),
    "nothing": ("bytes", []),
    "gone": None,
}


def framed(data: bytes, length: int | None = None) -> bytes:
    """A record of a TFRecord file, whose length may be told wrongly under a right checksum."""
    told = struct.pack("<Q", len(data) if length is None else length)
    crcs = (struct.pack("<I", masked_crc(part)) for part in (told, data))
    return told + next(crcs) + data + next(crcs)


def stored(path: str) -> list[bytes]:
    return [record for record in read_records(path, "tfrecord", 0, 2) if isinstance(record, bytes)]


def changed(record: bytes, key: str, value: Value) -> bytes:
    """A record in which one feature is of another kind."""
    example = tf_example_pb2.Example.FromString(record)
    if value is None:
        del example.features.feature[key]
    else:
        kind, values = value
        example.features.feature[key].Clear()
        getattr(example.features.feature[key], f"{kind}_list").value.extend(values)
    return bytes(example.SerializeToString())


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """The small source, in a directory of its own."""
    return small.write_source(tmp_path / "source")


def spoil(source: Source, change: Callable[[bytes], bytes]) -> Source:
    """Replaces record 0 of shard 1; `change` gives it framed."""
    first, second = stored(source.paths[1])
    Path(source.paths[1]).write_bytes(change(first) + framed(second))
    return Source.open(source.directory, "train")


def embedded(
    source: Source, location: Path, *, keep: bool = False, cameras: Sequence[str] = (FRONT, WRIST)
) -> Store:
    store = Store.create(str(location), small.store_manifest(source, keep=keep))
    small.embed(store, source, small.source_tables(store, cameras))
    assert [p for _, found in verify_store(store) for p in found] == []
    return store


def letters(store: Store) -> list[dict[str, Any]]:
    paths = sorted(Path(store.location).glob("dead_letters/**/slice-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def others(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that is not of the bad record."""
    return {
        table: [r for r in store.read(table).to_pylist() if r[fields.EPISODE_ID] != BAD]
        for table in store.tables()
    }


KEYS = (
    "episode_metadata/file",
    "episode_metadata/seed",
    "steps/action",
    "steps/is_first",
    "steps/language_instruction",
    "steps/observation/front",
    "steps/observation/state",
    "steps/observation/touching",
)


@pytest.mark.parametrize("keep", [False, True])
def test_a_feature_of_another_kind_costs_its_own_record(
    source: Source, tmp_path: Path, keep: bool
) -> None:
    whole = others(embedded(source, tmp_path / "whole", keep=keep))
    first = stored(source.paths[1])[0]
    for number, key in enumerate(KEYS):
        for kind, value in ONE.items():
            if (key, kind) == ("episode_metadata/seed", "integer"):
                continue  # is what the features promise
            bad = changed(first, key, value)
            spoil(source, lambda _, bad=bad: framed(bad))  # type: ignore[misc]
            again = Source.open(source.directory, "train")
            store = embedded(again, tmp_path / f"{number}-{kind}", keep=keep)
            assert others(store) == whole, (key, kind)
            check_letters(store, key)


def check_letters(store: Store, key: str) -> None:
    found = letters(store)
    name = key.removeprefix("steps/").removeprefix("episode_metadata/").replace("/", ".")
    if not found:  # such as a text that is not UTF-8, which loses itself alone
        assert name in ("file", "action", "observation.state")
        return
    for letter in found:
        assert letter[fields.EPISODE_ID] == BAD
        assert name in letter[fields.REASON]
        assert "0x" not in letter[fields.REASON]
    if name == "observation.front":
        assert {letter[fields.CAMERA] for letter in found} == {FRONT}


@pytest.mark.parametrize("length", [2**40, 2**62, 2**63 - 4, 2**63, 2**64 - 16, 2**64 - 1, 10**6])
def test_a_length_beyond_the_file_is_no_memory_error(
    source: Source, tmp_path: Path, length: int
) -> None:
    again = spoil(source, lambda first: framed(first, length))
    path = source.paths[1]
    survey = survey_shard(path, "tfrecord")
    assert survey.records == 0
    for start in (0, 1):  # to read it, and to skip it
        lost = list(read_records(path, "tfrecord", start, 2))
        assert len(lost) == 2 - start
        assert all("bytes early at record 0; nothing after it" in str(record) for record in lost)
    store = embedded(again, tmp_path / "store")
    assert {row[fields.EPISODE_ID] for row in letters(store)} == {BAD, "train/1/1"}
    assert len(store.read("steps")) == 4


def test_errors_of_more_records_than_memory_holds_are_made_one_by_one(source: Source) -> None:
    Path(source.paths[1]).write_bytes(b"")
    records = read_records(source.paths[1], "tfrecord", 0, 10**15)
    assert isinstance(next(iter(records)), EpisodeError)


def test_a_camera_added_later_has_the_same_episodes(source: Source, tmp_path: Path) -> None:
    """The record's wrist camera is spoilt; that of the front is not."""
    for kind in ("integers", "string", "gone"):
        first = stored(source.paths[1])[0]
        bad = changed(first, "steps/observation/wrist", ONE[kind])
        path = Path(source.paths[1])
        path.write_bytes(framed(bad) + framed(stored(source.paths[1])[1]))
        again = Source.open(source.directory, "train")
        at_once = embedded(again, tmp_path / f"once-{kind}")
        later = embedded(again, tmp_path / f"later-{kind}", cameras=[FRONT])
        small.embed(later, again, small.source_tables(later, [WRIST])[2:])
        assert letters(later) == letters(at_once)
        (letter,) = letters(later)
        assert (letter[fields.CAMERA], letter[fields.STEP]) == (WRIST, None)
        tables = small.tree(Path(later.location), manifests=False)
        assert tables == small.tree(Path(at_once.location), manifests=False)
        path.write_bytes(b"".join(map(framed, (first, stored(source.paths[1])[1]))))


@pytest.mark.parametrize("kind", ["text", "tensor"])
def test_an_episode_that_arrow_refuses_is_in_no_table(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real, seen = embedding.column, []

    def column(spec: Any, values: Any) -> pa.Array:
        seen.append(spec.name)
        if spec.kind == kind and len(values) == 5:
            raise pa.ArrowInvalid("<object at 0x7f12> cannot be converted")
        return real(spec, values)

    whole = others(embedded(source, tmp_path / "whole", cameras=[FRONT]))
    monkeypatch.setattr(embedding, "column", column)
    first = embedded(source, tmp_path / "store", cameras=[FRONT])
    assert others(first) == whole
    name = "language_instruction" if kind == "text" else "action"
    reasons = {letter[fields.REASON] for letter in letters(first)}
    assert reasons == {f"feature {name!r}: … cannot be converted"}
    # A table that is made later has the same episodes, though it has no such column.
    small.embed(first, source, small.source_tables(first, [WRIST])[2:])
    rows = first.read(first.embeddings()[1].table).to_pylist()
    assert {row[fields.EPISODE_ID] for row in rows} == {"train/0/0", "train/0/1", "train/1/1"}


class _RefusingEncoder(PixelMeanEncoder):
    """Cannot resize frames that are not 4 pixels high."""

    def prepare(self, frames: Any) -> Any:
        if any(len(frame) != 4 for frame in frames):
            raise FrameError("image: would become huge")
        return super().prepare(frames)


def test_a_frame_that_cannot_be_resized_costs_itself(tmp_path: Path) -> None:
    items = small.episodes()
    for step in (1, 3):
        tall = small.encoded_image(small.frame(3, step, 0).repeat(2, axis=0), "PNG")
        items[3]["steps"][step]["observation"]["front"] = tall
    source = small.write_source(tmp_path / "source", items)
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    encoder = _RefusingEncoder()
    small.embed(store, source, small.source_tables(store, [FRONT]), encoder=encoder)
    rows = store.read(store.embeddings()[0].table).to_pylist()
    lost = [(r["episode_id"], r["step"]) for r in rows if None in r["embedding"]]
    assert lost == [(BAD, 1), (BAD, 3)]
    assert {row[fields.REASON] for row in letters(store)} == {"image: would become huge"}
    assert [row[fields.STEP] for row in letters(store)] == [1, 3]
