"""Language as datasets have it: one text, several phrasings, or the codes of its bytes.

| stored | becomes |
| --- | --- |
| `Text`, or a string `Tensor` of one value | a string |
| a list or an array of strings | a list of strings: phrasings of one goal |
| a row of integers, padded with zeros or negatives | the text whose UTF-8 bytes they are |

A text that does not decode is None: the frame it belongs to is worth more than its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from schemas.tables import Array

# Words that names of instructions are made of, likeliest first.
_LANGUAGE: Final = ("language", "instruction")
_ALSO: Final = frozenset(
    ("lang", "task", "prompt", "caption", "command", "utterance", "goal", "description", "text")
)
_CODES_AT_LEAST: Final = 4  # integers in a row that may be a text
_WORDS: Final = re.compile(r"[^\W\d_]{2,}")  # two letters together
_SENTENCE: Final = re.compile(r"[^\W\d_]+([ ,.'-]+[^\W\d_]+)+[.!?]?")
_PATH: Final = re.compile(
    r"(~|\.{0,2}|\w+:)[/\\].*|\S*[\d/\\_:]\S*|\S+\.\S+", re.DOTALL
)  # or an id


def language_rank(name: str) -> int:
    """How much a name sounds like an instruction: 0 the most, 2 not at all.

    Example:
        >>> [language_rank(n) for n in ("observation.natural_language", "task", "file_path")]
        [0, 1, 2]
    """
    lower = name.lower()
    if any(word in lower for word in _LANGUAGE):
        return 0
    return 2 if _ALSO.isdisjoint(re.split(r"[\W_\d]+", lower)) else 1


def decode_text(value: Any) -> str | None:
    """A text from its bytes, without the zeros that fill it up; None if they are not UTF-8."""
    try:
        return bytes(value).rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        return None


def decode_phrasings(values: Any) -> list[str | None]:
    """Texts from an array of bytes of any shape, in row-major order."""
    return [decode_text(value) for value in np.ravel(np.asarray(values, object))]


def decode_codes(codes: Any) -> str | None:
    """A text from the codes of its UTF-8 bytes, without its padding; None if it is none.

    Args:
        codes: (n,) integers.

    Example:
        >>> decode_codes([195, 182, 102, 102, 110, 101, 0, 0])
        'öffne'
    """
    used = _without_padding(codes)
    return decode_text(used.astype(np.uint8).tobytes()) if _are_bytes(used) else None


def _without_padding(codes: Any) -> Array:
    """A row of integers up to its last positive one."""
    values: Array = np.asarray(codes)
    return values[: int(np.max(np.flatnonzero(values > 0), initial=-1)) + 1]


def _are_bytes(codes: Array) -> bool:
    return bool(np.all((codes > 0) & (codes < 256)))


def are_texts(values: Sequence[Any]) -> bool:
    """Whether stored strings are texts: at most one in two is not UTF-8 or has control bytes.

    Args:
        values: bytes.
    """
    told = [decode_text(value) for value in values if value]
    wrong = sum(text is None or not _is_printable(text) for text in told)
    return wrong * 2 <= len(told)


def are_codes(name: str, rows: Sequence[Any]) -> bool:
    """Whether rows of integers are the codes of texts.

    Under a name that sounds like language all have to be printable text, but for at most one in
    two whose bytes are not UTF-8; under another all have to look like sentences: a row of numbers
    is no text by chance.

    Args:
        name: of the feature.
        rows: (n,) integers each.
    """
    used = [codes for row in rows if len(codes := _without_padding(row))]
    if any(len(row) < _CODES_AT_LEAST for row in rows if np.any(row)):
        return False
    if not all(map(_are_bytes, used)):
        return False
    known = [text for codes in used if (text := decode_codes(codes)) is not None]
    if not known or not all(map(_is_printable, known)):
        return False
    if language_rank(name) < 2:
        return len(known) * 2 >= len(used) and all(_WORDS.search(text) for text in known)
    return len(known) == len(used) and all(_SENTENCE.fullmatch(text.strip()) for text in known)


def are_words(texts: Iterable[str]) -> bool:
    """Whether texts say something to people: most of them are no paths, numbers or identifiers.

    Example:
        >>> are_words(["open the drawer", "reach"]), are_words(["/data/7.h5", "ep_0012", "v1.2"])
        (True, False)
    """
    told = {stripped for text in texts if (stripped := text.strip())}
    said = sum(bool(_WORDS.search(text)) and not _PATH.fullmatch(text) for text in told)
    return said * 2 > len(told) or not told


def _is_printable(text: str) -> bool:
    return all(char.isprintable() or char in "\t\n\r" for char in text)
