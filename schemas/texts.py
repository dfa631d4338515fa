"""Texts as people and encoders compare them, and as errors quote them."""

from __future__ import annotations

import html
import reprlib
import unicodedata
from typing import Final

QUOTED: Final = 80  # characters of a user's text that an error repeats
_REPR: Final = reprlib.Repr()  # stops early, however large the value
_REPR.maxlist = _REPR.maxtuple = _REPR.maxstring = _REPR.maxother = 2 * QUOTED
_END_MARKS: Final = " .,;:!?…。"  # signs that may close a sentence


def normalised(text: str) -> str:
    """Text as compared: two texts with one result say the same to people.

    Case, white space, signs at the end of the sentence, curly or straight quotes, HTML
    entities, ways to write an accented letter, full-width letters, wrongly decoded UTF-8 and
    invisible characters make no difference; most tokenizers drop these as well.

    Example:
        >>> normalised("Don&rsquo;t  Open it.") == normalised("don't open it")
        True
    """
    if not text.isascii() or "&" in text or not text.isprintable():
        text = _cleaned(text)
    words = " ".join(text.casefold().split())
    return words.rstrip(_END_MARKS) or words


def _cleaned(text: str) -> str:
    """As the tokenizer of CLIP cleans a text; it unescapes twice, for texts escaped twice."""
    import ftfy  # not at the top: most texts need none of its tables

    text = ftfy.fix_text(html.unescape(html.unescape(text)))
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", visible.casefold())


def brief(value: object) -> str:
    """A value as an error quotes it: one line of at most `QUOTED` printable characters."""
    text = value if isinstance(value, str) else _REPR.repr(value)
    words = " ".join(text[: 4 * QUOTED].split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    return line if len(line) <= QUOTED and len(text) <= 4 * QUOTED else f"{line[: QUOTED - 1]}…"
