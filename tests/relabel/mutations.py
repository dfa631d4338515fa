"""Shard files with one damaged or hostile record among good ones, drawn by hypothesis.

Each strategy gives the bytes of a TFRecord shard. But for `framing`, the checksums are right: the
record was written so, by a broken or a hostile converter.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import hypothesis.strategies as st
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from relabel.frames.decoding import MAX_PIXELS
from relabel.source.records import masked_crc

Example = Any  # tf_example_pb2.Example
Records = Sequence[bytes]

IMAGES: Final = ("steps/observation/front", "steps/observation/wrist")
FLAGS: Final = ("steps/is_first", "steps/is_last", "steps/is_terminal")
TEXTS: Final = ("steps/language_instruction", "episode_metadata/file_path")
NUMBERS: Final = ("steps/observation/state", "steps/action", "steps/reward")
KEYS: Final = (*IMAGES, *FLAGS, *TEXTS, *NUMBERS)
_KINDS: Final = ("bytes_list", "float_list", "int64_list")
_BOUNDARIES: Final = [0, 1, 2**31, 2**32 - 1, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def framed(record: bytes, length: int | None = None) -> bytes:
    """A record in its frame; `length` lies about it, with a right checksum."""
    told = struct.pack("<Q", len(record) if length is None else length)
    crc = struct.pack("<I", masked_crc(told))
    return told + crc + record + struct.pack("<I", masked_crc(record))


def shard(records: Records, place: int, instead: bytes) -> bytes:
    """The shard with another frame at one place."""
    frames = [framed(record) for record in records]
    frames[place] = instead
    return b"".join(frames)


# --- framing


def framings(records: Records, place: int) -> st.SearchStrategy[bytes]:
    """Lengths, checksums, cuts, bytes too many or too few."""
    whole = shard(records, place, framed(records[place]))
    start = len(b"".join(map(framed, records[:place])))
    size = len(framed(records[place]))
    within = st.integers(start, start + size - 1)
    head = st.integers(start, start + 11)
    lies = st.one_of(st.sampled_from(_BOUNDARIES), st.integers(0, 2**64 - 1), st.integers(0, 5000))
    return st.one_of(
        st.builds(lambda at, bit: _flipped(whole, at, bit), within | head, st.integers(0, 7)),
        st.builds(lambda at: whole[:at], within),
        st.builds(lambda at, n: whole[:at] + whole[at + n :], within, st.integers(1, 40)),
        st.builds(lambda at, more: whole[:at] + more + whole[at:], within, st.binary(min_size=1)),
        lies.map(lambda length: shard(records, place, framed(records[place], length))),
    )


def _flipped(content: bytes, at: int, bit: int) -> bytes:
    return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]


# --- protocol buffers


def buffers(records: Records, place: int) -> st.SearchStrategy[bytes]:
    """Bytes of the message itself: flipped, cut, doubled, any at all, nested without end."""
    record = records[place]
    at = st.integers(0, len(record) - 1)
    some = st.one_of(
        st.builds(lambda i, bit: _flipped(record, i, bit), at, st.integers(0, 7)),
        at.map(lambda i: record[:i]),
        st.builds(lambda i, n: record[:i] + record[i + n :], at, st.integers(1, 60)),
        st.builds(lambda i, more: record[:i] + more + record[i:], at, st.binary(max_size=40)),
        st.binary(max_size=200),
        st.just(record + record),
        st.integers(1, 20_000).map(_nested),
        st.integers(0, 2**63).map(lambda n: b"\x0a" + _varint(n) + record),
    )
    return some.map(lambda mutated: shard(records, place, framed(mutated)))


def _nested(depth: int) -> bytes:
    """Groups within groups, which a parser that recurses does not survive."""
    return b"\x0b" * depth + b"\x0c" * depth


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# --- features


def _changed(records: Records, place: int, change: Callable[[Example], object]) -> bytes:
    example = tf_example_pb2.Example.FromString(records[place])
    change(example)
    return shard(records, place, framed(example.SerializeToString()))


def _values(keys: Sequence[str]) -> st.SearchStrategy[tuple[str, str, list[Any]]]:
    """A feature, a kind of values and such values, right or wrong."""
    of_kind = {
        "bytes_list": st.binary(max_size=30),
        "float_list": st.floats(width=32) | st.just(float("nan")),
        "int64_list": st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 2),
    }
    return st.sampled_from(_KINDS).flatmap(
        lambda kind: st.tuples(
            st.sampled_from(keys), st.just(kind), st.lists(of_kind[kind], max_size=20)
        )
    )


def features(records: Records, place: int, keys: Sequence[str] = KEYS) -> st.SearchStrategy[bytes]:
    """Features of another kind or another number of values, missing, or under another name."""

    def put(drawn: tuple[str, str, list[Any]], same_count: bool) -> bytes:
        key, kind, values = drawn

        def change(example: Example) -> None:
            old = example.features.feature[key]
            count = len(getattr(old, old.WhichOneof("kind")).value)
            filled = (values * count)[:count] if same_count and values else values
            old.Clear()
            getattr(old, kind).value.extend(filled)

        return _changed(records, place, change)

    def drop(key: str, renamed: bool) -> bytes:
        def change(example: Example) -> None:
            if renamed:
                example.features.feature[key + "x"].CopyFrom(example.features.feature[key])
            del example.features.feature[key]

        return _changed(records, place, change)

    return st.one_of(
        st.builds(put, _values(keys), st.booleans()),
        st.builds(drop, st.sampled_from(keys), st.booleans()),
    )


# --- images


def png(width: int, height: int, mode: int = 2, depth: int = 8, data: bytes = b"") -> bytes:
    """A PNG file that tells any size; it need not hold that much."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", width, height, depth, mode, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", data or zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _bomb(width: int, height: int) -> bytes:
    """A file of a few kilobytes that unpacks to what it tells."""
    row = b"\0" * (1 + width * 3)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(min(height, 4000)))
    return png(width, height, data=data + packer.flush())


def _as(kind: str, mode: str = "RGB", size: tuple[int, int] = (5, 7)) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, 7 if len(mode) == 1 else None or 0).save(stream, kind)
    return stream.getvalue()


def _files() -> st.SearchStrategy[bytes]:
    side = st.integers(0, 2**31 - 1) | st.sampled_from([1, 2, 33, 1000, 10**6, MAX_PIXELS])
    return st.one_of(
        st.builds(png, side, side, st.integers(0, 7), st.sampled_from([1, 2, 8, 16, 200])),
        st.sampled_from([(1, 10**6), (10**6, 1), (9000, 9000), (33, 1), (1, 33)]).map(
            lambda sides: _bomb(*sides)
        ),
        st.sampled_from(["GIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "WEBP"]).map(_as),
        st.sampled_from(["I;16", "I", "F"]).map(
            lambda mode: _as("TIFF" if mode == "F" else "PNG", mode)
        ),
        st.sampled_from(["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"]).map(
            lambda mode: _as("JPEG" if mode in ("CMYK", "YCbCr") else "PNG", mode)
        ),
        st.binary(max_size=200),
        st.just(b""),
    )


def images(records: Records, place: int) -> st.SearchStrategy[bytes]:
    """Images that are cut, flipped, of other formats, none, or tell sizes that fill memory."""

    def put(key: str, step: int, how: Callable[[bytes], bytes]) -> bytes:
        def change(example: Example) -> None:
            values = example.features.feature[key].bytes_list.value
            at = step % len(values)
            values[at] = how(values[at])

        return _changed(records, place, change)

    flip = st.builds(
        lambda at, bit: lambda old: _flipped(old, at % len(old), bit),
        st.integers(0, 10_000),
        st.integers(0, 7),
    )
    cut = st.integers(0, 10_000).map(lambda at: lambda old: old[: at % len(old)])
    other = _files().map(lambda new: lambda old: new)
    return st.builds(put, st.sampled_from(IMAGES), st.integers(0, 9), st.one_of(flip, cut, other))


# --- flags and texts


def flags(records: Records, place: int) -> st.SearchStrategy[bytes]:
    """Flags of any values, any number of them."""
    return features(records, place, FLAGS)


def texts(records: Records, place: int) -> st.SearchStrategy[bytes]:
    """Texts that are not UTF-8, hold control characters, or never end."""
    odd = st.one_of(
        st.binary(max_size=60),
        st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from([b"\xff\xfe", b"\x1b[2J[red]", b"\0" * 9, b"x" * 300_000, b"\xed\xa0\x80"]),
    )

    def put(key: str, step: int, text: bytes) -> bytes:
        def change(example: Example) -> None:
            values = example.features.feature[key].bytes_list.value
            values[step % len(values)] = text

        return _changed(records, place, change)

    return st.builds(put, st.sampled_from(TEXTS), st.integers(0, 9), odd) | features(
        records, place, TEXTS
    )


KINDS: Final[dict[str, Callable[[Records, int], st.SearchStrategy[bytes]]]] = {
    "framing": framings,
    "buffer": buffers,
    "features": features,
    "images": images,
    "flags": flags,
    "texts": texts,
}
