"""Serialized episodes out of shard files, one by one, with what is unreadable accounted for.

Shards are read here and not through `tf.data`, which ends a file at its first damaged record
and would lose every later episode without naming it.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import IO, Final

import google_crc32c
from etils import epath

from relabel.lfs import LFS_CURE, is_lfs_pointer
from relabel.source.reasons import told
from relabel.source.record_places import RecordPlaces, ShardPlaces
from schemas.errors import EpisodeError, SourceError
from schemas.locations import is_url
from schemas.object_stores import reaching

Record = bytes | EpisodeError

MISSING: Final = "the shard is missing; the dataset was not copied whole"
LENGTH: Final = struct.Struct("<QI")  # length of the data, masked CRC-32C of those 8 bytes
CRC: Final = struct.Struct("<I")  # masked CRC-32C of the data
_ARRAY_RECORD_BLOCK: Final = 8  # records fetched at once


def read_records(
    path: str, file_format: str, start: int, stop: int, places: RecordPlaces | None = None
) -> Iterator[Record]:
    """Records [start, stop) of a shard, in order, exactly `stop - start` of them.

    Args:
        path: of the shard file.
        file_format: "tfrecord" or "array_record".
        start: first record.
        stop: one past the last.
        places: of the source's records, as far as they are known; None: it is read once.

    Yields:
        The serialized episode, or the error that stands in its place.

    Raises:
        SourceError: the file is missing or cannot be reached, is a Git LFS pointer, or its format
            is not one of the two.
    """
    readers: dict[str, Callable[[str, int, int], Iterator[Record]]] = {
        "tfrecord": partial(_read_tfrecord, places=places),
        "array_record": _read_array_record,
    }
    if file_format not in readers:
        raise SourceError(
            f"{path}: file format {file_format!r}; readable formats are {list(readers)}"
        )
    with reaching_source(path):
        if not epath.Path(path).exists():
            raise SourceError(f"{path}: {MISSING}")
        if is_lfs_pointer(epath.Path(path)):
            raise SourceError(f"{path}: {LFS_CURE}")
    return _reached(path, readers[file_format](path, start, stop))


def reaching_source(path: str) -> AbstractContextManager[None]:
    """A disk or network that fails is no damage of a record: it becomes a SourceError."""
    return reaching(path, "cannot be read", "run the same command again", SourceError)


def _reached(path: str, records: Iterator[Record]) -> Iterator[Record]:
    with reaching_source(path):
        yield from records


def _read_tfrecord(
    path: str, start: int, stop: int, places: RecordPlaces | None
) -> Iterator[Record]:
    size = int(epath.Path(path).stat().length)
    known = ShardPlaces() if places is None else places.of(path)
    first, offset = known.before(start)
    with epath.Path(path).open("rb") as stream:
        stream.seek(offset)
        for index in range(first, stop):
            known.note(index, stream.tell())
            try:
                if index < start:
                    _skip(stream, size)
                    continue
                data, intact = _next(stream, size)
            except (EpisodeError, OSError, MemoryError) as error:
                if isinstance(error, OSError) and is_url(path):
                    raise  # the network has failed, not the record
                # Without a trustworthy length the next record cannot be found.
                lost = EpisodeError(
                    f"{told(error)} at record {index}; nothing after it can be read"
                )
                yield from itertools.repeat(lost, stop - max(index, start))
                return
            yield data if intact else EpisodeError(f"checksum of record {index} is wrong")


def read_length(stream: IO[bytes], size: int) -> int:
    """Length of the next record's data; the stream is at the data then.

    Args:
        stream: at the beginning of a record.
        size: of the file, in bytes.

    Raises:
        EpisodeError: the file ends within the record, or the length is damaged.
    """
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        raise EpisodeError(f"the file ends {LENGTH.size - len(header)} bytes early")
    length, crc = LENGTH.unpack(header)
    if masked_crc(header[:8]) != crc:
        raise EpisodeError("the checksum of a record's length is wrong")
    end = stream.tell() + int(length) + CRC.size
    if end > size:  # also of a length that no memory could hold
        raise EpisodeError(f"the file ends {end - size} bytes early")
    return int(length)


def _skip(stream: IO[bytes], size: int) -> None:
    stream.seek(read_length(stream, size) + CRC.size, 1)


def _next(stream: IO[bytes], size: int) -> tuple[bytes, bool]:
    length = read_length(stream, size)
    data, crc = stream.read(length), stream.read(CRC.size)  # apart: an episode is not copied
    missing = length + CRC.size - len(data) - len(crc)
    if missing:  # it has become shorter since
        raise EpisodeError(f"the file ends {missing} bytes early")
    return data, masked_crc(data) == CRC.unpack(crc)[0]


def masked_crc(data: bytes) -> int:
    """TFRecord's CRC-32C: rotated, and shifted by a constant (tsl/lib/hash/crc32c.h)."""
    crc = google_crc32c.value(data)
    return int((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _read_array_record(path: str, start: int, stop: int) -> Iterator[Record]:
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(path)
        available = reader.num_records()
    except Exception as error:  # whatever the library makes of a damaged file
        lost = EpisodeError(f"the shard cannot be opened: {told(error)}")
        yield from itertools.repeat(lost, stop - start)
        return
    for block in range(start, stop, _ARRAY_RECORD_BLOCK):
        yield from _array_record_block(
            reader, available, block, min(block + _ARRAY_RECORD_BLOCK, stop)
        )


def _array_record_block(reader: object, available: int, start: int, stop: int) -> Iterator[Record]:
    read = reader.read  # type: ignore[attr-defined]
    try:
        yield from read(list(range(start, min(stop, available))))
    except Exception:  # likewise; one by one, since one record spoils its block
        for index in range(start, min(stop, available)):
            try:
                yield from read([index])
            except Exception as error:
                yield EpisodeError(f"record {index} cannot be read: {told(error)}")
    # A file whose index is cut off opens like one without records.
    missing = EpisodeError(
        f"the shard ends after {available} records; it was cut off or is no ArrayRecord file"
    )
    yield from itertools.repeat(missing, max(0, stop - max(start, available)))
