"""What a shard holds, learned by seeking: the same as reading it, and any change is seen."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from relabel.source.records import read_records
from relabel.source.survey import ShardSurvey, survey_shard
from relabel.testing import FileFormat, write_shard
from schemas.errors import SourceError

FORMATS: list[FileFormat] = ["tfrecord", "array_record"]
RECORDS = [b"first", b"", b"x" * 40, b"\x00\xff", b"last one"]
quick = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
records = st.lists(st.binary(max_size=9), min_size=1, max_size=8)


def survey(path: Path, content: list[bytes], kind: FileFormat = "tfrecord") -> ShardSurvey:
    write_shard(path, content, kind)
    return survey_shard(str(path), kind)


def digests(found: ShardSurvey, count: int) -> list[str]:
    return [found.digest(i, i + 1) for i in range(count)]


@pytest.mark.parametrize("kind", FORMATS)
@given(content=st.lists(st.binary(max_size=9), max_size=8))
@quick
def test_it_counts_what_is_written(tmp_path: Path, kind: FileFormat, content: list[bytes]) -> None:
    found = survey(tmp_path / "shard", content, kind)
    assert (found.records, found.fault, found.missing) == (len(content), None, False)
    assert found.size == (tmp_path / "shard").stat().st_size


@given(content=records, other=records)
@quick
def test_digests_are_equal_where_the_records_are(
    tmp_path: Path, content: list[bytes], other: list[bytes]
) -> None:
    count = min(len(content), len(other))
    left = digests(survey(tmp_path / "left", content), count)
    right = digests(survey(tmp_path / "right", other), count)
    assert [a == b for a, b in zip(left, right, strict=True)] == [
        a == b for a, b in zip(content, other, strict=False)
    ]


@given(content=records, bounds=st.tuples(st.integers(0, 8), st.integers(0, 8)))
@quick
def test_a_slice_has_its_digest_wherever_the_shard_goes_on(
    tmp_path: Path, content: list[bytes], bounds: tuple[int, int]
) -> None:
    start, stop = sorted(min(b, len(content)) for b in bounds)
    whole = survey(tmp_path / "whole", content).digest(start, stop)
    assert survey(tmp_path / "part", content[:stop]).digest(start, stop) == whole


def test_of_an_array_record_any_change_changes_every_digest(tmp_path: Path) -> None:
    one = survey(tmp_path / "one", RECORDS, "array_record")
    same = survey(tmp_path / "same", RECORDS, "array_record")
    other = survey(tmp_path / "other", [*RECORDS[:-1], b"last two"], "array_record")
    assert digests(one, 5) == digests(same, 5)
    assert not set(digests(one, 5)) & set(digests(other, 5))


def test_a_file_cut_anywhere_is_counted_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    whole = survey(path, RECORDS)
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        found = survey_shard(str(path), "tfrecord")
        read = list(read_records(str(path), "tfrecord", 0, len(RECORDS)))
        intact = [isinstance(record, bytes) for record in read]
        assert found.records == sum(intact), cut
        same = [a == b for a, b in zip(digests(found, 5), digests(whole, 5), strict=True)]
        assert same == intact


def test_a_damaged_length_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    survey(path, RECORDS)
    content = bytearray(path.read_bytes())
    content[16 + len(RECORDS[0])] ^= 1  # of the second length
    path.write_bytes(content)
    found = survey_shard(str(path), "tfrecord")
    assert (found.records, found.fault) == (1, "the checksum of a record's length is wrong")


def test_a_missing_file_is_told_from_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert survey_shard(str(tmp_path / "empty"), "tfrecord") == ShardSurvey(0, 0)
    assert survey_shard(str(tmp_path / "none"), "tfrecord") == ShardSurvey(0, 0, missing=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_git_lfs_pointer_is_named(tmp_path: Path, kind: FileFormat) -> None:
    path = tmp_path / "shard"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    for look in (survey_shard, lambda p, k: read_records(p, k, 0, 1)):
        with pytest.raises(SourceError, match=r"shard: is a Git LFS pointer.*git lfs pull"):
            look(str(path), kind)
