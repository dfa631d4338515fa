"""SHA-256 and CRC-32C: what they are, where they are recorded, and which one is compared."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from pydantic import TypeAdapter

from schemas import checksums, seals
from schemas.checksums import Checksums, checksums_of, crc32c_of
from schemas.errors import StoreError
from schemas.manifests import sealed
from schemas.repair import Damage, reopen
from schemas.seals import file_problem
from schemas.slices import TableFile
from schemas.store import MANIFEST, Store
from schemas.verify import verify_store
from tests import small
from tests.golden import make
from tests.schemas.test_seals import flip

CONTENTS = [b"", b"\0", b"123456789", b"\xff" * 32, random.Random(1).randbytes(3001)]


def bitwise(content: bytes) -> int:
    """CRC-32C by its polynomial, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("piece", [1, 7, 3001, 1 << 20])
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_checksums_are_those_of_their_definitions(
    content: bytes, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "_PIECE", piece)
    expected = Checksums(hashlib.sha256(content).hexdigest(), bitwise(content))
    assert checksums_of(io.BytesIO(content)) == expected
    assert crc32c_of(io.BytesIO(content)) == expected.crc32c


def test_the_library_counts_in_hardware() -> None:
    assert google_crc32c.implementation == "c"


class Endless(io.RawIOBase):
    """So many bytes that no memory holds them, of which none is ever asked for at once."""

    def __init__(self, size: int) -> None:
        self.left, self.most = size, 0

    def read(self, size: int = -1, /) -> bytes:
        assert size > 0
        self.most = max(self.most, size)
        given = min(size, self.left)
        self.left -= given
        return bytes(given)


@pytest.mark.parametrize("read", [checksums_of, crc32c_of])
def test_memory_is_that_of_a_piece(read: Any) -> None:
    stream = Endless(50 << 20)
    read(stream)
    assert (stream.left, stream.most) == (0, 1 << 20)


@pytest.fixture(scope="module")
def every_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a store with every kind of table is."""
    return Path(make.make(tmp_path_factory.mktemp("every") / "store").location)


@pytest.fixture(params=[True, False], ids=["crc", "no-crc"])
def recorded(request: pytest.FixtureRequest) -> bool:
    """Whether the store records the CRC-32C, as stores written earlier do not."""
    return bool(request.param)


@pytest.fixture
def every(
    every_table: Path, recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """One's own copy, that this process knows nothing of."""
    monkeypatch.setattr(seals, "_WHOLE", set())
    store = Store.open(str(shutil.copytree(every_table, tmp_path / "store")))
    if not recorded:
        for table in store.tables():
            forget(store, f"{table}/{MANIFEST}")
    return Store.open(store.location)


def forget(store: Store, name: str) -> None:
    """Leaves the CRC-32C out of a manifest or receipt, and not only its value."""
    content = json.loads(store.folder.read(name))
    del content["checksum"]
    for file in content["files"]:
        del file["crc32c"]
    store.folder.write(name, sealed(content))


def listed(store: Store) -> list[TableFile]:
    return [file for table in store.tables() for file in store.table_manifest(table).files]


def read_one(store: Store, file: TableFile) -> object:
    """Reads a file as commands do."""
    if file.file.endswith("goals.parquet"):
        return store.goals(file.table.removeprefix("rewards/"))
    if file.file.endswith("goals.json"):
        return store.goal_set(file.table.removeprefix("rewards/"))
    (piece,) = (piece for piece in store.slices if piece.file == file.file)
    return store.read_slices(file.table, [piece])


def test_what_is_recorded_is_so(every_table: Path) -> None:
    store = Store.open(str(every_table))
    files = listed(store)
    kinds = {"steps", "episodes", "embeddings", "rewards", "goal_datasets", "dead_letters"}
    assert {file.table.split("/")[0] for file in files} == {*kinds, "transitions", "left_out"}
    for file in files:
        content = Path(store.location, file.table, file.file).read_bytes()
        told = (file.bytes, file.sha256, file.crc32c)
        assert told == (len(content), hashlib.sha256(content).hexdigest(), bitwise(content))


def test_a_flipped_bit_of_any_file_is_not_read(every: Store, recorded: bool) -> None:
    draw = random.Random(2)
    checksum = "CRC-32C" if recorded else "SHA-256"
    for file in listed(every):
        path = Path(every.location, file.table, file.file)
        content = path.read_bytes()
        read_one(every, file)
        place = draw.randrange(8 * len(content))
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=f"its {checksum} is not the one recorded: the cont"):
            read_one(Store.open(every.location), file)
        path.write_bytes(content)
        read_one(Store.open(every.location), file)


def test_only_what_is_needed_is_counted(
    every: Store, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {name: small.hashed(monkeypatch, name) for name in ("sha256", "crc32c", "checksums")}
    files = listed(every)
    for file in files:
        read_one(every, file)
    names = [f"{file.table}/{file.file}" for file in files]
    assert used == {
        "sha256": [] if recorded else names,
        "crc32c": names if recorded else [],
        "checksums": [],
    }
    assert all(not problems for _, problems in verify_store(Store.open(every.location)))
    assert sorted(used["checksums"]) == sorted(names)


@pytest.mark.parametrize("recorded", [True], indirect=True)
@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"crc32c": 5}, "its CRC-32C is not the one recorded, but its SHA-256 is"),
        ({"sha256": "5" * 64}, "its SHA-256 is not the one recorded"),
    ],
)
def test_verify_compares_all_that_is_recorded(
    every: Store, changed: dict[str, Any], text: str
) -> None:
    manifest = every.table_manifest("rewards/binary")
    own = manifest.slice_files[1]
    files = [replace(file, **changed) if file == own else file for file in manifest.files]
    small.rewrite_manifest(every, manifest.model_copy(update={"files": tuple(files)}))
    found = [problem for _, own in verify_store(Store.open(every.location)) for problem in own]
    assert [(p.table, p.file) for p in found] == [("rewards/binary", own.file)]
    assert text in found[0].text


@pytest.mark.parametrize("wrong", [-1, 1 << 32, "5", 1.5])
def test_a_crc_is_a_number_of_32_bits(wrong: object) -> None:
    with pytest.raises(ValueError, match="crc32c"):
        TypeAdapter(TableFile).validate_python(
            {"table": "steps", "file": "a", "rows": 1, "bytes": 1, "sha256": "", "crc32c": wrong}
        )


def test_a_file_that_is_trusted_is_not_counted(
    every: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = small.hashed(monkeypatch)
    assert [file_problem(every.folder, file, trust=True) for file in listed(every)].count(None)
    assert used == []


@pytest.mark.parametrize("recorded", [True], indirect=True)
@pytest.mark.parametrize("changed", [{}, {"crc32c": 5}, {"sha256": "5" * 64}])
def test_what_a_resumed_table_keeps_has_every_checksum(
    every: Store, changed: dict[str, Any]
) -> None:
    manifest = every.table_manifest("rewards/binary")
    piece = every.slices[1]
    every.read("rewards/binary")  # compares the CRC-32C alone
    files = tuple(
        replace(file, **changed) if file.file == piece.file else file for file in manifest.files
    )
    plan = manifest.model_copy(update={"files": files})
    reopen(every, Damage(plan.table, (), None, plan))
    again = Store.open(every.location)
    assert bool(again.committed(plan, piece)) == (not changed)
    assert again.committed(plan, every.slices[0])


def test_a_receipt_without_a_crc_holds(every: Store, recorded: bool) -> None:
    table, piece = "steps", every.slices[0]
    manifest = every.table_manifest(table)
    own = next(file for file in manifest.files if file.file == piece.file)
    every.folder.delete(f"{table}/{MANIFEST}")
    every.record(table, piece, [own])
    again = Store.open(every.location)
    assert again.committed(manifest, piece) == (own,)
    assert (own.crc32c is not None) == recorded
    flip(Path(every.location, table, piece.file), 0.7)
    assert again.committed(manifest, piece) == ()
