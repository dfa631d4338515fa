"""What tests put into a bucket, and what they find there."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from botocore.retries.standard import ExponentialBackoff
from etils.epath import backend


def forget_endpoints() -> None:
    """Connections to the endpoint of an earlier test are not used again."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    backend.fsspec_backend._get_filesystem.cache_clear()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that fail are tried again as often as ever, after pauses of a hundredth second."""

    async def pause(_: float) -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.01)
    monkeypatch.setattr("s3fs.core.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": pause}))


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
