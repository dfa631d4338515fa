"""Object stores, by fsspec: which there are, how they are opened, and what they cannot hold.

The one place that knows of their libraries. They are extras: `pip install 'vlm-relabel[s3]'`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from schemas.disks import disk_cure
from schemas.errors import LocationError, RelabelError, StoreError
from schemas.locations import check_location, redacted

_LIBRARY: Final = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}  # URL scheme → extra of this package
SCHEMES: Final = tuple(_LIBRARY)
# Requests are tried again by botocore, with growing pauses of some 25 s in all. s3fs tries again
# what breaks off midway.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # A listing kept from before would hide what other processes have written since.
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {
            "retries": {"max_attempts": 7, "mode": "standard"},
            "connect_timeout": 5,
            "read_timeout": 15,
        },
    },
    "gs": {"use_listings_cache": False},
    "gcs": {"use_listings_cache": False},
}
_ATTEMPTS_OF_S3FS: Final = 3  # times those of botocore where an endpoint never answers
_ABANDONED_AFTER: Final = timedelta(days=1)  # an upload of one file of a slice takes minutes
_TAKEN: Final = ("PreconditionFailed", "ConditionalRequestConflict")  # S3 of a name in use
_SHOWN: Final = 300  # characters of what a library says


def configure() -> None:
    """Gives every opener in this process the options above, such as those that read a source."""
    from fsspec.config import conf

    for scheme, options in _OPTIONS.items():
        conf[scheme] = {**options, **conf.get(scheme, {})}


def open_url(location: str) -> tuple[Any, str]:
    """The fsspec file system of a URL of an object store, and the path in it.

    Raises:
        LocationError: an unknown scheme, secrets in the URL, or a library that is not installed.
        StoreError: its library refuses it.
    """
    scheme = check_location(location, SCHEMES)
    with _opened(location, scheme):
        from fsspec.core import url_to_fs

        configure()
        remote, path = url_to_fs(_lowered(location, scheme))
    if scheme == "s3":
        remote.retries = _ATTEMPTS_OF_S3FS
    return remote, path


def read_text(location: str, characters: int) -> str:
    """The beginning of a text in UTF-8, with or without a byte order mark.

    Args:
        location: path, or URL; `https://` is possible here too.
        characters: to be read at most.

    Raises:
        LocationError: as `open_url`.
        StoreError: it is not there, cannot be reached, or is no such text.
    """
    scheme = check_location(location, ("file", "http", "https", *SCHEMES))
    with _opened(location, scheme, "read"):
        from fsspec.core import open as open_any

        configure()
        with open_any(_lowered(location, scheme), "rt", encoding="utf-8-sig") as stream:
            return str(stream.read(characters))


def _lowered(location: str, scheme: str) -> str:
    return scheme + location[len(scheme) :]


@contextmanager
def _opened(location: str, scheme: str, what: str = "opened") -> Iterator[None]:
    try:
        with reaching(location, f"cannot be {what}"):
            yield
    except ImportError as error:
        extra = _LIBRARY.get(scheme)
        cure = f"pip install 'vlm-relabel[{extra}]'" if extra else str(error)
        raise LocationError(f"{location}: {scheme}:// needs a library: {cure}") from error
    except ValueError as error:
        raise StoreError(f"{location}: cannot be {what}: {explained(error)}") from error


class Handler(fs.FSSpecHandler):  # type: ignore[misc]
    """Arrow's, without asking first whether what is to be opened is there."""

    def open_input_file(self, path: str) -> pa.NativeFile:
        """A file to be read here and there."""
        return pa.PythonFile(self.fs.open(path, mode="rb"), mode="r")

    open_input_stream = open_input_file


# --- what goes wrong


def network_errors() -> tuple[type[Exception], ...]:
    """OSError, and what libraries of object stores raise instead; of those that are loaded."""
    names = {
        "botocore.exceptions": ("BotoCoreError", "ClientError"),
        "aiohttp": ("ClientError",),
        "google.auth.exceptions": ("GoogleAuthError",),
        "fsspec.exceptions": ("FSTimeoutError",),
    }
    loaded = ((sys.modules.get(module), kinds) for module, kinds in names.items())
    own = [getattr(module, kind) for module, kinds in loaded if module for kind in kinds]
    return (OSError, *own)


@contextmanager
def reaching(
    path: str | Path,
    what: str = "cannot be read or written",
    cure: str | None = None,
    kind: type[RelabelError] = StoreError,
) -> Iterator[None]:
    """Whatever the disk, the network or the object store refuses becomes one sentence.

    Args:
        path: of the file or folder.
        what: cannot be done with it.
        cure: what to do about it.
        kind: of the error.
    """
    try:
        yield
    except network_errors() as error:
        cure = disk_cure(error) or cure
        raise kind(f"{path}: {what}: {explained(error)}" + (f"; {cure}" if cure else "")) from error


def create_first(remote: Any, path: str, content: bytes) -> bool:
    """Writes a small file unless there is one; whether it is there with this content.

    The answer to a request may be lost after it was done. It is then sent again and refused, so
    that only the content tells who was first.
    """
    try:
        remote.pipe_file(path, content, mode="create")
        return True
    except OSError as error:
        if not (isinstance(error, FileExistsError) or _code(error) in _TAKEN):
            raise
    return bytes(remote.cat_file(path)) == content


def explained(error: BaseException) -> str:
    """What a library says on one line, without secrets, and what it means where that is unclear."""
    said = redacted(" ".join(str(error).split())[:_SHOWN])
    names = {kind.__name__ for kind in type(error).__mro__}
    if "NoCredentialsError" in names:
        return (
            f"{said}; give keys by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by `aws "
            "configure`"
        )
    if names & {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"}:
        return f"{said}; is the network there, and AWS_ENDPOINT_URL right?"
    if isinstance(error, PermissionError) and error.errno is None:
        return f"{said or 'access is denied'}; do these keys allow to read and write there?"
    return said


def names_no_bucket(error: BaseException) -> bool:
    """Whether a file is missing because its whole bucket is."""
    return _code(error) == "NoSuchBucket"


def _code(error: BaseException) -> str | None:
    """S3's own name of an error that s3fs has translated."""
    response = getattr(error.__cause__, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None


# --- what killed writers leave


def abort_uploads(remote: Any, path: str) -> int:
    """Aborts uploads below a path that were begun in parts a day ago and never ended.

    Nobody sees them, and they are paid for. Not every key may list them: a rule of the bucket
    that ends them after some days does the same.

    Returns:
        How many there were.
    """
    call = getattr(remote, "call_s3", None)
    if call is None:
        return 0
    bucket, _, prefix = path.strip("/").partition("/")
    done = 0
    with suppress(*network_errors()):
        listed = call("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/")
        for upload in listed.get("Uploads", []):
            if now() - upload["Initiated"] > _ABANDONED_AFTER:
                names = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                call("abort_multipart_upload", Bucket=bucket, **names)
                done += 1
    return done


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
