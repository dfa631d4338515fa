"""Locations: paths and URLs as people give them, and what must not stand in them.

A location is recorded in manifests and shown, so a secret in one would be read by everybody.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from schemas.errors import LocationError

_URL: Final = re.compile(r"([a-z][a-z0-9+.:-]*)://", re.IGNORECASE)
_IN_TEXT: Final = re.compile(r"(?<=://)[^\s'\"]+")
_MISTYPED: Final = re.compile(r"(s3a?|gs|gcs|https?|file):/?(?!/)", re.IGNORECASE)
_FILE: Final = "file://"
# Options of others, such as Beam's --s3_secret_access_key, that come by in a command.
_OPTION: Final = re.compile(
    r"(--[\w-]*(?:secret|token|passw|credential|access[_-]key)[\w-]*(?:=|\s+))('[^']*'|\S+)",
    re.IGNORECASE,
)


def is_url(location: str) -> bool:
    """Whether a location is a URL and no path."""
    return _URL.match(location) is not None


def redacted(text: str) -> str:
    """A text whose URLs and options have lost what may be a secret.

    Of a URL that is what comes before `@`, and after `?`.

    Example:
        >>> redacted("--store s3://KEY:SECRET@bucket/x?token=1 --name v1")
        '--store s3://…@bucket/x?… --name v1'
    """
    return _OPTION.sub(r"\1…", _IN_TEXT.sub(lambda found: _bare(found[0]), text))


def _bare(rest: str) -> str:
    """What follows `://`, without user, password and query."""
    host = rest.partition("/")[0]
    # The `/` of a secret that is not quoted ends the host before the `@`.
    user = "@" in host or (":" in host and "@" in rest)
    shown, query, _ = (rest.rpartition("@")[2] if user else rest).partition("?")
    return f"{'…@' if user else ''}{shown}{'?…' if query else ''}"


def check_no_secret(word: str) -> None:
    """Refuses a location, or an option with one, that carries what may be a secret.

    Raises:
        LocationError: it has a URL with a user, a password or a query.
    """
    before, mark, rest = word.partition("://")
    if mark and _bare(rest) != rest:
        raise LocationError(
            f"{before}{mark}{_bare(rest)}: a location must not carry keys or a query, since it is "
            "stored and shown; give keys by the environment (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL; GOOGLE_APPLICATION_CREDENTIALS) or by the "
            "provider's own files"
        )


def check_location(location: str, schemes: Sequence[str]) -> str:
    """The scheme of a location, lower case; "" of a path.

    Args:
        location: path or URL.
        schemes: that a URL may have.

    Raises:
        LocationError: another scheme, a mistyped one, or a URL that may carry a secret.
    """
    check_no_secret(location)
    known = ", ".join(f"{name}://" for name in schemes)
    if found := _URL.match(location):
        if (scheme := found[1].lower()) in schemes:
            return scheme
        raise LocationError(f"{location}: expected a path or {known}, got {found[0]}")
    if _MISTYPED.match(location):
        raise LocationError(
            f"{location}: expected a path or {known}; a folder of this name is ./{location}"
        )
    return ""


def local_path(what: str, location: str) -> Path:
    """The path of something that can only lie on a local disk.

    Args:
        what: the option, for the error's text: "--out".
        location: path, or URL of the kind `file:///path`.

    Raises:
        LocationError: it is on an object store, or no location at all.
    """
    if check_location(location, ("file", "s3", "gs", "gcs")) in ("", "file"):
        return Path(without_scheme(location))
    raise LocationError(
        f"{what} {location}: expected a path on a local disk, got an address of an object store; "
        "runs and what is made of them live on a local disk (their store need not): give a path, "
        "and copy what is there when the command is done"
    )


def path_argument(location: str) -> Path:
    """As `local_path`, for `argparse`, which names the option itself."""
    try:
        return local_path("", location)
    except LocationError as error:
        raise ArgumentTypeError(str(error).strip()) from error


def without_scheme(location: str) -> str:
    """The path in a URL of the kind `file:///path`; a path as it is.

    Raises:
        LocationError: the URL names another machine.
    """
    if location[: len(_FILE)].lower() != _FILE:
        return location
    path = location[len(_FILE) :]
    if not path.startswith("/"):
        raise LocationError(f"{location}: expected {_FILE}/ and a path from the root")
    return path
