"""What a shard holds, learned without reading its data: how many records, and which.

A TFRecord file is a row of frames: length, CRC of the length, data, CRC of the data. The walk
reads the 16 bytes between two data and seeks over the data, so it costs one small read per
record. What it learns, the length and the CRC-32C of every record, is what a slice's digest
covers: any record that was changed and is still valid has another CRC. Data that were damaged
beneath their old CRC are found when they are read.

An ArrayRecord file has no such frames to seek by. It is hashed whole, so all slices of one shard
share its digest, and any change changes all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Final

from etils import epath

from relabel.lfs import LFS_CURE, is_lfs_pointer
from relabel.source.reasons import told
from relabel.source.records import CRC, reaching_source, read_length
from schemas.errors import EpisodeError, SourceError

_THREADS: Final = 8  # shards walked at once: on object stores each small read waits
_MARK_BYTES: Final = 8 + CRC.size  # length and CRC of the data
_DIGEST_DIGITS: Final = 16


@dataclass(frozen=True)
class ShardSurvey:
    """What was found in one shard file."""

    records: int  # that can be found in it
    size: int  # of the file, in bytes
    missing: bool = False  # there is no such file
    fault: str | None = None  # why nothing can be found after the last of `records`
    marks: bytes = b""  # 12 bytes per record of a TFRecord file: its length, the CRC of its data
    file_digest: str | None = None  # of an ArrayRecord file

    def stored_bytes(self, start: int, stop: int) -> int:
        """Of the data of records [start, stop); of an ArrayRecord file their share of it."""
        if self.file_digest is not None:
            return round(self.size * (stop - start) / max(1, self.records))
        marks = self.marks[_MARK_BYTES * start : _MARK_BYTES * stop]
        places = range(0, len(marks), _MARK_BYTES)
        return sum(int.from_bytes(marks[place : place + 8], "little") for place in places)

    def digest(self, start: int, stop: int) -> str:
        """16 hexadecimal digits that follow from the content of records [start, stop)."""
        if self.file_digest is not None:
            return self.file_digest
        content = hashlib.sha256(self.marks[_MARK_BYTES * start : _MARK_BYTES * stop])
        lost = stop - max(start, min(self.records, stop))
        content.update(f" and {lost} that cannot be found".encode())
        return content.hexdigest()[:_DIGEST_DIGITS]


def survey_shards(paths: Sequence[str], file_format: str) -> list[ShardSurvey]:
    """Surveys some shard files, several at a time; their order is kept.

    Raises:
        SourceError: as `survey_shard`.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda path: survey_shard(path, file_format), paths))


def survey_shard(path: str, file_format: str) -> ShardSurvey:
    """Surveys one shard file.

    Args:
        path: of the shard file.
        file_format: "tfrecord" or "array_record".

    Raises:
        SourceError: it cannot be reached, is a Git LFS pointer, or its format is not one of the
            two.
    """
    surveys = {"tfrecord": _survey_tfrecord, "array_record": _survey_array_record}
    if file_format not in surveys:
        raise SourceError(
            f"{path}: file format {file_format!r}; readable formats are {list(surveys)}"
        )
    with reaching_source(path):
        if not epath.Path(path).exists():
            return ShardSurvey(records=0, size=0, missing=True)
        if is_lfs_pointer(epath.Path(path)):
            raise SourceError(f"{path}: {LFS_CURE}")
        return surveys[file_format](path)


def _survey_tfrecord(path: str) -> ShardSurvey:
    size, marks, fault = int(epath.Path(path).stat().length), bytearray(), None
    with epath.Path(path).open("rb") as stream:
        try:
            while stream.tell() < size:
                marks += _walk(stream, size)
        except EpisodeError as error:
            fault = str(error)
    return ShardSurvey(
        records=len(marks) // _MARK_BYTES, size=size, fault=fault, marks=bytes(marks)
    )


def _walk(stream: IO[bytes], size: int) -> bytes:
    """Steps over one record; its length and the CRC of its data, as they are stored."""
    length = read_length(stream, size)
    stream.seek(length, 1)
    return length.to_bytes(8, "little") + stream.read(CRC.size)


def _survey_array_record(path: str) -> ShardSurvey:
    from array_record.python.array_record_module import ArrayRecordReader

    size = int(epath.Path(path).stat().length)
    with epath.Path(path).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:_DIGEST_DIGITS]
    try:
        records = int(ArrayRecordReader(path).num_records())
    except Exception as error:  # whatever the library makes of a damaged file
        fault = f"the shard cannot be opened: {told(error)}"
        return ShardSurvey(records=0, size=size, fault=fault, file_digest=digest)
    return ShardSurvey(records=records, size=size, file_digest=digest)
