"""What tests put into a bucket, and what they find there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import fsspec
from etils.epath import backend


def forget_endpoints() -> None:
    """Connections to the endpoint of an earlier test are not used again."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    backend.fsspec_backend._get_filesystem.cache_clear()


def upload(folder: Path, url: str) -> str:
    """Copies a folder into a bucket; the URL."""
    filesystem = fsspec.filesystem("s3")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            filesystem.put_file(str(path), f"{url}/{path.relative_to(folder)}")
    return url


def contents(url: str) -> dict[str, bytes]:
    """Every object below a URL, by its name relative to it."""
    filesystem = fsspec.filesystem("s3")
    root = url.removeprefix("s3://")
    found = filesystem.find(root, refresh=True)
    return {path.removeprefix(f"{root}/"): filesystem.cat_file(path) for path in found}


def tables(contents: dict[str, bytes]) -> dict[str, str]:
    """SHA-256 of every Parquet file among some contents."""
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in contents.items()
        if name.endswith(".parquet")
    }
