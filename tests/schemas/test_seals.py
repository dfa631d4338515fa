"""A file that changed after it was written is not read as if it had not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schemas.errors import StoreError
from schemas.store import GOAL_SET, GOALS, Store
from schemas.verify import verify_store
from tests import small


def flip(path: Path, place: float) -> None:
    """Flips one bit, `place` of the way through the file; size and times stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def table_of(store: Store, kind: str) -> str:
    return next(table for table in store.tables() if table.split("/")[0] == kind)


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["steps", "episodes", "embeddings", "rewards"])
def test_a_flipped_bit_is_not_read(store: Store, kind: str, place: float) -> None:
    table = table_of(store, kind)
    flip(Path(store.location, table, store.slices[2].file), place)
    opened = Store.open(store.location)
    opened.read_slices(table, opened.slices[:1])
    damaged = "slice-train-00001-000000-000002\\.parquet: its CRC-32C"
    with pytest.raises(StoreError, match=rf"{damaged}.*repair"):
        opened.read_slices(table, opened.slices)
    with pytest.raises(StoreError, match=damaged):
        list(opened.batches(table, opened.slices[2]))


@pytest.mark.parametrize("place", [0.2, 0.6])
@pytest.mark.parametrize("file", [GOALS, GOAL_SET])
def test_a_flipped_bit_of_the_goals_is_not_read(store: Store, file: str, place: float) -> None:
    flip(Path(store.location, "rewards/v1", file), place)
    with pytest.raises(StoreError, match="its CRC-32C is not the one recorded"):
        _ = store.goals("v1") if file == GOALS else store.goal_set("v1")


def test_a_trusting_store_compares_sizes_only(store: Store) -> None:
    path = Path(store.location, "rewards/v1", store.slices[0].file)
    whole = path.read_bytes()
    flip(path, 0.5)
    trusting = Store.open(store.location, trust=True)
    flip(path, 0.5)
    assert path.read_bytes() == whole
    trusting.read("rewards/v1")
    path.write_bytes(whole[:-1])
    with pytest.raises(StoreError, match=rf"expected {len(whole)} bytes, got {len(whole) - 1}"):
        trusting.read("rewards/v1")


def test_a_file_is_checked_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = small.hashed(monkeypatch)
    for _ in range(3):
        Store.open(store.location).read("steps")
    assert sorted(hashed) == [f"steps/{piece.file}" for piece in store.slices]
    hashed.clear()
    assert all(not problems for _, problems in verify_store(store))
    assert {f"steps/{piece.file}" for piece in store.slices} < set(hashed)


def test_slices_without_a_manifest_are_told(store: Store) -> None:
    folder = Path(store.location, "rewards/v1/__meta__")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    found = {table: [p.text for p in problems] for table, problems in verify_store(store)}
    assert "its manifest is gone" in found["rewards/v1"][0]


def test_every_slice_is_shown(store: Store) -> None:
    seen: list[tuple[str, int, int]] = []
    list(verify_store(store, lambda *now: seen.append(now)))
    assert [now for now in seen if now[0] == "steps"] == [("steps", n, 3) for n in (1, 2, 3)]
