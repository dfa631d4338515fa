"""What tests look at in a store."""

from __future__ import annotations

import hashlib
from pathlib import Path

from schemas.store import Store
from schemas.text_embeddings import TEXT_EMBEDDINGS
from schemas.verify import verify_store


def state(store: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file."""
    files = (path for path in store.rglob("*") if path.is_file())
    return {
        str(path.relative_to(store)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in files
    }


def hashes(store: Path) -> dict[str, str]:
    """SHA-256 of every Parquet file, goals included."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*.parquet"))
    }


def leftovers(store: Path) -> list[Path]:
    """Files that are neither manifest, nor slice, nor goals, nor embeddings of texts."""
    texts = set((store / TEXT_EMBEDDINGS).rglob("*.parquet"))
    return [
        path
        for path in store.rglob("*")
        if path.is_file()
        and path not in texts
        and path.name not in ("manifest.json", "goals.parquet", "goals.json")
        and not path.name.startswith("slice-")
    ]


def problems(store: Path) -> list[str]:
    """What `verify` finds."""
    return [str(problem) for _, found in verify_store(Store.open(str(store))) for problem in found]
