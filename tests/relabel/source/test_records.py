"""Records of shard files: every one accounted for, whatever has happened to the file."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

import hypothesis.strategies as st
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings

from relabel.source import records
from relabel.source.record_places import RecordPlaces
from relabel.source.records import Record, masked_crc, read_records
from relabel.testing import FileFormat, write_shard
from schemas.errors import EpisodeError, SourceError

RECORDS = [b"first", b"", b"x" * 40, b"\x00\xff", b"last one"]
FORMATS: list[FileFormat] = ["tfrecord", "array_record"]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard"
    write_shard(path, RECORDS, "tfrecord")
    return path


def read(
    path: Path, start: int = 0, stop: int = len(RECORDS), kind: str = "tfrecord"
) -> list[Record]:
    return list(read_records(str(path), kind, start, stop))


def check(found: list[Record], start: int = 0, stop: int = 5) -> list[bool]:
    """As many as asked for, and what was read is what was written; which are intact."""
    assert len(found) == stop - start
    intact = [isinstance(record, bytes) for record in found]
    for record, original in zip(found, RECORDS[start:stop], strict=True):
        assert isinstance(record, EpisodeError) or record == original
    return intact


def offsets() -> list[int]:
    """Where each record begins in a TFRecord file, and where the file ends."""
    ends = [0]
    for record in RECORDS:
        ends.append(ends[-1] + 8 + 4 + len(record) + 4)
    return ends


def test_tensorflow_reads_what_we_write(shard: Path) -> None:
    assert list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()) == RECORDS


def test_we_read_what_tensorflow_writes(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in RECORDS:
            writer.write(record)
    assert read(path) == RECORDS


def test_the_masked_crc_is_tfrecords(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "crc")) as writer:
        writer.write(b"first")
    content = (tmp_path / "crc").read_bytes()
    assert masked_crc(content[:8]) == int.from_bytes(content[8:12], "little")
    assert masked_crc(b"first") == int.from_bytes(content[-4:], "little")


@pytest.mark.parametrize("kind", FORMATS)
@given(
    records=st.lists(st.binary(max_size=20), min_size=1, max_size=20),
    bounds=st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_run_of_records_is_read(
    tmp_path: Path, kind: FileFormat, records: list[bytes], bounds: tuple[int, int]
) -> None:
    start, stop = sorted(min(b, len(records)) for b in bounds)
    write_shard(tmp_path / "any", records, kind)
    assert read(tmp_path / "any", start, stop, kind) == records[start:stop]


@pytest.mark.parametrize("start", [0, 2, 4])
def test_a_file_cut_anywhere_loses_only_what_was_cut(shard: Path, start: int) -> None:
    content, ends = shard.read_bytes(), offsets()
    assert len(content) == ends[-1]
    for cut in range(len(content)):
        shard.write_bytes(content[:cut])
        intact = check(read(shard, start), start)
        whole = sum(end <= cut for end in ends[1:])
        assert intact == [i < whole for i in range(start, 5)], cut


def test_a_shard_of_many_slices_is_walked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any order of its slices, of one record each."""
    path, originals = tmp_path / "long", [b"%d" % i * (i % 5) for i in range(60)]
    write_shard(path, originals, "tfrecord")
    headers: list[int] = []
    read_length = records.read_length

    def counted(stream: IO[bytes], size: int) -> int:
        headers.append(stream.tell())
        return read_length(stream, size)

    monkeypatch.setattr(records, "read_length", counted)
    places = RecordPlaces()
    for start in random.Random(0).sample(range(60), 60):
        found = read_records(str(path), "tfrecord", start, start + 1, places)
        assert list(found) == [originals[start]]
    assert len(headers) <= 2 * 60  # each on the way to others, and each of its own


def test_places_of_a_file_that_has_changed_are_forgotten(shard: Path) -> None:
    places = RecordPlaces()
    kept = (str(shard), "tfrecord", 2, 5, places)
    assert list(read_records(*kept)) == RECORDS[2:]
    turned = [b"other", *RECORDS[1:]][::-1]
    write_shard(shard, turned, "tfrecord")
    os.utime(shard, ns=(0, 0))
    assert list(read_records(*kept)) == turned[2:]


def test_places_before_damage_change_nothing_of_what_is_told(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[2 * 16 + len(RECORDS[0])] ^= 1  # the length of the third record
    shard.write_bytes(content)
    places = RecordPlaces()
    for start in (3, 4, 2, 0):
        found = list(read_records(str(shard), "tfrecord", start, 5, places))
        assert [str(record) for record in found] == [str(record) for record in read(shard, start)]


def test_a_cut_says_how_much_is_missing(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-3])
    lost = read(shard)[4]
    assert "the file ends 3 bytes early at record 4; nothing after it can be read" in str(lost)


def test_a_flipped_bit_of_the_data_costs_one_record(shard: Path) -> None:
    content, ends = shard.read_bytes(), offsets()
    for index, record in enumerate(RECORDS):
        for position in range(ends[index] + 12, ends[index] + 12 + len(record) + 4):
            shard.write_bytes(_flipped(content, position))
            found = read(shard)
            assert check(found) == [i != index for i in range(5)], position
            assert str(found[index]) == f"checksum of record {index} is wrong"


def test_a_flipped_bit_of_a_length_costs_all_after_it(shard: Path) -> None:
    content, ends = shard.read_bytes(), offsets()
    for index in range(5):
        for position in range(ends[index], ends[index] + 12):
            shard.write_bytes(_flipped(content, position))
            found = read(shard)
            assert check(found) == [i < index for i in range(5)], position
            assert f"length is wrong at record {index}; nothing after it" in str(found[4])


def test_damage_before_a_slice_is_told_within_it(shard: Path) -> None:
    shard.write_bytes(_flipped(shard.read_bytes(), offsets()[1]))
    found = read(shard, start=3)
    assert check(found, 3) == [False, False]
    assert "at record 1" in str(found[0])
    # Damaged data before the slice, whose length is intact, does not matter.
    write_shard(shard, RECORDS, "tfrecord")
    shard.write_bytes(_flipped(shard.read_bytes(), 13))
    assert check(read(shard, start=3), 3) == [True, True]


def _flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"not a Riegeli file at all",
    ],
)
def test_a_cut_array_record_is_accounted_for(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "shard"
    write_shard(path, RECORDS, "array_record")
    path.write_bytes(damage(path.read_bytes()))
    found = read(path, kind="array_record")
    assert check(found) == [False] * 5
    assert "the shard ends after 0 records; it was cut off" in str(found[0])


def test_a_damaged_array_record_costs_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    write_shard(path, RECORDS, "array_record")
    content = path.read_bytes()
    place = content.index(b"last one")
    path.write_bytes(_flipped(content, place))
    found = read(path, kind="array_record")
    assert check(found) == [True, True, True, True, False]
    assert "record 4 cannot be read" in str(found[4])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_shard_with_fewer_records_than_announced(tmp_path: Path, kind: FileFormat) -> None:
    path = tmp_path / "shard"
    write_shard(path, RECORDS[:2], kind)
    assert check(read(path, kind=kind)) == [True, True, False, False, False]
    assert check(read(path, 3, 5, kind), 3, 5) == [False, False]


def test_a_missing_shard_and_an_unknown_format(shard: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere: the shard is missing"):
        read(shard.with_name("nowhere"))
    with pytest.raises(SourceError, match=r"'riegeli'; readable formats are .*'tfrecord'"):
        read(shard, kind="riegeli")


@pytest.mark.parametrize("length", [6, 2**31, 2**40, 2**62, 2**63, 2**64 - 1])
@pytest.mark.parametrize("start", [0, 3])
def test_a_length_that_the_file_cannot_hold_is_not_believed(
    tmp_path: Path, length: int, start: int
) -> None:
    told = struct.pack("<Q", length)
    last = told + struct.pack("<I", masked_crc(told)) + b"12345"
    write_shard(tmp_path / "shard", RECORDS[:2], "tfrecord")
    with (tmp_path / "shard").open("ab") as stream:
        stream.write(last)
    found = read(tmp_path / "shard", start)
    assert check(found, start) == [i < 2 for i in range(start, 5)]
    early = length + 4 - 5
    assert f"the file ends {early} bytes early at record 2; nothing after it" in str(found[-1])
