"""What is committed of a whole table: by listings, by receipts, and by a look where these doubt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relabel.source.source import Source
from relabel.testing import PixelMeanEncoder
from schemas import commits, store
from schemas.commits import uncommitted
from schemas.files import Folder
from schemas.store import Store
from tests import small


@pytest.fixture
def local(tmp_path: Path) -> Store:
    """Every slice of steps, episodes and one camera is committed, and no table finished."""
    source = small.write_source(tmp_path / "source")
    return _embedded(Store.create(str(tmp_path / "store"), small.store_manifest(source)), source)


@pytest.fixture(params=["disk", "object store"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """As `local`, or where nothing tells when a file was changed."""
    if request.param == "disk":
        return request.getfixturevalue("local")  # type: ignore[no-any-return]
    source = small.write_source(tmp_path / "source")
    folder = small.memory_folder("bucket/store")
    return _embedded(Store("memory", folder, small.store_manifest(source)), source)


def _embedded(found: Store, source: Source) -> Store:
    tables = small.source_tables(found, [small.FRONT])
    for table in tables:
        found.begin(table)
    for piece in found.slices:
        small.embed_one(found, source, tables, piece, PixelMeanEncoder())
    return found


def test_nothing_is_read_that_nobody_touched(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "read_receipt", lambda *_: pytest.fail("a receipt is read"))
    hashed = small.hashed(monkeypatch)
    assert uncommitted(local, small.source_tables(local, [small.FRONT]), local.slices) == []
    assert hashed == []


def test_what_is_not_there_is_told(made: Store) -> None:
    tables = small.source_tables(made, [small.FRONT])
    made.discard("episodes", made.slices[1])
    made.discard(tables[-1].table, made.slices[2])
    assert uncommitted(made, tables, made.slices) == list(made.slices[1:])
    assert uncommitted(made, tables[:1], made.slices) == []
    assert uncommitted(made, tables, made.slices[:1]) == []


def test_a_receipt_vouches_for_no_file_that_was_changed(local: Store) -> None:
    tables = small.source_tables(local, [small.FRONT])
    path = Path(local.folder.join(f"steps/{local.slices[0].file}"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert uncommitted(local, tables, local.slices) == [local.slices[0]]


def test_a_file_that_was_touched_and_is_whole_stays(local: Store) -> None:
    tables = small.source_tables(local, [small.FRONT])
    os.utime(local.folder.join(f"steps/{local.slices[0].file}"))
    assert uncommitted(local, tables, local.slices) == []
    assert len(list(commits.commits(local, tables[0], local.slices))) == len(local.slices)


def test_an_older_copy_is_found_at_the_end_and_made_again(local: Store) -> None:
    """It looks untouched, so that only its receipt tells that it is another file."""
    tables = small.source_tables(local, [small.FRONT])
    path = Path(local.folder.join(f"steps/{local.slices[0].file}"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert uncommitted(local, tables, local.slices) == []
    found = [files[-1].file for files in commits.commits(local, tables[0], local.slices)]
    assert found == [piece.file for piece in local.slices[1:]]
    assert uncommitted(local, tables, local.slices) == [local.slices[0]]


def test_tables_are_found_without_a_look_at_their_slices(made: Store) -> None:
    assert made.tables() == []
    expected = sorted(t.table for t in small.source_tables(made, [small.FRONT]))
    assert made.unfinished() == expected


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_listing_tells_what_a_look_tells(on_disk: bool, tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path)) if on_disk else small.memory_folder("bucket/listed")
    folder.write("a/one", b"1")
    folder.write("a/two", b"22")
    folder.write("a/b/three", b"333")
    states = folder.states("a")
    assert {name: state.size for name, state in states.items()} == {"one": 1, "two": 2}
    if on_disk:
        assert states == {name: folder.info(f"a/{name}") for name in states}
    assert folder.folders("a") == ["b"]
    assert folder.folders("none") == [] == folder.names("none")
    assert folder.states("none") == {}
    assert folder.read_if_there("a/one") == b"1"
    assert folder.read_if_there("a/none") is None
