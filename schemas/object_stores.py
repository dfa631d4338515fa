"""Object stores, by fsspec: which there are, how they are opened, and no secret in a name.

The one place that knows of their libraries. They are extras: `pip install 'vlm-relabel[s3]'`.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from schemas.errors import StoreError

EXTRAS: Final = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}  # URL scheme → extra of this package
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SECRETS: Final = re.compile(r"(?<=://)[^/@\s]+@|\?[^\s'\"]*")
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # A listing kept from before would hide what other processes have written since.
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {
            "retries": {"max_attempts": 6, "mode": "standard"},
            "connect_timeout": 10,
            "read_timeout": 60,
        },
    },
    "gs": {"use_listings_cache": False},
    "gcs": {"use_listings_cache": False},
}


def is_url(location: str) -> bool:
    """Whether a location is a URL and no path."""
    return _URL.match(location) is not None


def redacted(text: str) -> str:
    """A text whose URLs have lost what may be a secret: what is before `@`, and after `?`.

    Example:
        >>> redacted("--store s3://KEY:SECRET@bucket/x?token=1 --name v1")
        '--store s3://…@bucket/x?… --name v1'
    """
    return _SECRETS.sub(lambda found: "?…" if found[0].startswith("?") else "…@", text)


def check_url(location: str) -> str:
    """The scheme of a URL that may be stored and shown.

    Raises:
        StoreError: it carries a user, a password or a query, which may be secrets.
    """
    if redacted(location) != location:
        raise StoreError(
            f"{redacted(location)}: a location must not carry keys, since it is stored and shown; "
            "give them by the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
            "AWS_ENDPOINT_URL; GOOGLE_APPLICATION_CREDENTIALS) or by the provider's own files"
        )
    found = _URL.match(location)
    return found[1].lower() if found else ""


def open_url(location: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        StoreError: an unknown scheme, a library that is not installed, or secrets in the URL.
    """
    scheme = check_url(location)
    import fsspec

    try:
        return fsspec.url_to_fs(location, **_OPTIONS.get(scheme, {}))  # type: ignore[no-any-return]
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        cure = f"pip install 'vlm-relabel[{extra}]'" if extra else str(error)
        raise StoreError(f"{location}: {scheme}:// needs a library: {cure}") from error
    except (ValueError, OSError) as error:
        raise StoreError(f"{location}: cannot be opened: {error}") from error


def network_errors() -> tuple[type[Exception], ...]:
    """What the libraries of object stores raise that is no OSError; of those that are loaded."""
    names = {
        "botocore.exceptions": ("BotoCoreError", "ClientError"),
        "aiohttp": ("ClientError",),
        "google.auth.exceptions": ("GoogleAuthError",),
    }
    loaded = ((sys.modules.get(module), kinds) for module, kinds in names.items())
    return tuple(getattr(module, kind) for module, kinds in loaded if module for kind in kinds)
