"""Texts out of bytes and codes, and which integers are taken for texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relabel.source.texts import (
    are_codes,
    are_texts,
    are_words,
    decode_codes,
    decode_phrasings,
    language_rank,
)


def padded(text: str, length: int = 40) -> Any:
    return np.frombuffer(text.encode().ljust(length, b"\0"), np.uint8).astype(np.int64)


@pytest.mark.parametrize(
    "text", ["open it", "öffne die Tür", "引き出しを開ける", "", " two  spaces "]
)
def test_codes_give_their_text(text: str) -> None:
    assert decode_codes(padded(text)) == text
    assert decode_codes(padded(text, len(text.encode()))) == text  # nothing to take off
    negative = padded(text) - (np.arange(40) >= len(text.encode()))
    assert decode_codes(negative) == text


@pytest.mark.parametrize("codes", [[104, 0, 105], [104, 300], [-1, 104], [233, 33]])
def test_codes_that_are_no_text(codes: list[int]) -> None:
    assert decode_codes(codes) is None


def test_phrasings_are_decoded_one_by_one() -> None:
    stored = np.array([b"caf\xe9", "fermé".encode(), b""], object)
    assert decode_phrasings(stored) == [None, "fermé", ""]
    assert decode_phrasings(np.array([b"open\0\0", b"\0\0", b"\0a"], object)) == ["open", "", "\0a"]


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("instruction", [padded("open it"), padded("")], True),
        ("observation.language_codes", [padded("öffne")], True),
        ("codes", [padded("open the drawer"), padded("pull it, please.")], True),
        ("codes", [padded("open")], False),  # a word may be chance, under such a name
        ("instruction", [padded("")], False),  # nothing to judge by
        ("instruction", [[101, 2053, 300, 102]], False),  # tokens
        ("instruction", [padded("open it"), padded("a\x01b")], False),
        ("instruction", [padded("open it") - (padded("open it") == 0)], True),
        ("instruction", [padded("open it"), [99, 97, 102, 233]], True),  # one bad text
        ("instruction", [padded("open it"), [99, 97, 102, 300]], False),  # no bytes
        ("instruction", [padded("open it"), [99, 97, 102, 233], [99, 97, 98, 233]], False),
        ("codes", [padded("open the drawer"), [99, 97, 102, 233]], False),
        ("task", [[1, 0, 0, 0], [0, 1, 0, 0]], False),  # one-hot
        ("goal", [[65, 66]], False),  # too short
        ("state", [[72, 101, 108, 108, 111, 33]], False),
        ("instruction", [np.array([3, 7, 200, 90])], False),
    ],
)
def test_which_integers_are_texts(name: str, rows: list[Any], expected: bool) -> None:
    assert are_codes(name, rows) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"open it", b"", "fermé".encode()], True),
        ([b"", b""], True),
        ([], True),
        ([b"open it", b"caf\xe9"], True),  # one bad text is one bad text
        ([b"\x80\x04\x95", b"\x80\x04\x96"], False),  # pickled
        ([b"\x00\x01", b"ok", b"\x02"], False),
    ],
)
def test_which_strings_are_texts(values: list[bytes], expected: bool) -> None:
    assert are_texts(values) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["open the drawer", "", "reach"], True),
        (["引き出しを開ける"], True),
        (["open/close the drawer.", "put it at 3 o'clock"], True),
        (["/data/my files/7.h5", "./a b/c.h5", "C:\\raw data\\x", "gs://bucket/my file"], False),
        (["episode_7.npy", "v1.2", "7", "T0012", "2024-05-01 10:00:00"], False),
        (["a3f9c2", "open it"], False),
        (["a3f9c2", "open it", "close it", "a3f9c2"], True),  # most of the different ones
        (["", " "], True),  # nothing to judge by
    ],
)
def test_which_texts_are_words(values: list[str], expected: bool) -> None:
    assert are_words(values) is expected


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("language_instruction_2", 0),
        ("observation.naturalLanguage", 0),
        ("episode_metadata.task", 1),
        ("caption", 1),
        ("lang", 1),
        ("context", 2),
        ("multitask", 2),
        ("episode_metadata.file_path", 2),
    ],
)
def test_names_that_sound_like_language(name: str, rank: int) -> None:
    assert language_rank(name) == rank
