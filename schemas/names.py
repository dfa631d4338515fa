"""Names: what a reward set, a dataset or a file of a store may be called; none leads outside.

A name becomes a folder of the store. Whatever names one (an option, a manifest, a feature of a
source) is checked here, and every path is checked once more where it is joined.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final

from pydantic import AfterValidator

from schemas.errors import StoreError

# A part that is empty, "." or "..", or a character that no name has.
_OUTSIDE: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|[\0\\]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OTHER: Final = re.compile(r"[^A-Za-z0-9._-]+")
_READABLE: Final = 80  # characters kept of a text that is no name


def check_name(what: str, name: str) -> str:
    """The name, if it may be one.

    Args:
        what: that is called so, for the error's text: "--name".
        name: 1 to 100 letters, digits, dots, underscores and dashes, the first a letter or digit.

    Raises:
        StoreError: it may not.

    Example:
        >>> check_name("--name", "v1")
        'v1'
    """
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{what}: expected up to 100 letters, digits, '.', '_' and '-', the first a letter or "
            f"digit, got {name[:100]!r}; a name is a folder of the store, not a path"
        )
    return name


def folder_name(text: str) -> str:
    """A name for anything: the text itself if it may be one, else a readable stand-in.

    Args:
        text: such as the name of a camera, which a source may choose freely.

    Example:
        >>> folder_name("image_0")
        'image_0'
        >>> folder_name("../wrist cam")
        'wrist-cam-0deaa879'
    """
    if _NAME.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    readable = _OTHER.sub("-", text).strip(".-_")[:_READABLE]
    return f"{readable}-{digest}" if readable else digest


def check_inside(path: str) -> str:
    """The path, if it stays below the folder that it is relative to.

    Raises:
        ValueError: it is absolute, or a part of it is empty, "." or "..".

    Example:
        >>> check_inside("rewards/v1/slice-train-00000-000000-000020.parquet")
        'rewards/v1/slice-train-00000-000000-000020.parquet'
    """
    if _OUTSIDE.search(path):
        raise ValueError(f"{path[:100]!r} is no path below the store")
    return path


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:100]!r} is no name")
    return name


Name = Annotated[str, AfterValidator(_named)]  # of a reward set or dataset, in a manifest
InsidePath = Annotated[str, AfterValidator(check_inside)]  # of a file or table below the store
