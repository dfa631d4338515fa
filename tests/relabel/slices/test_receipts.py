"""What is resumed is what was committed: a slice that has changed since is made anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from relabel.source.source import Source
from relabel.testing import PixelMeanEncoder
from schemas.errors import StoreError
from schemas.manifests import manifest_bytes
from schemas.slices import Slice
from schemas.store import MANIFEST, PLAN, RECEIPTS, Store
from schemas.verify import verify_store
from tests import small
from tests.schemas.test_seals import flip


class CountingEncoder(PixelMeanEncoder):
    """Counts the frames that it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0

    def encode_images(self, images):  # type: ignore[no-untyped-def]
        self.frames += len(images)
        return super().encode_images(images)


@pytest.fixture
def begun(empty_store: Store, source: Source) -> Store:
    """Every slice is committed, and no table is finished."""
    embed(empty_store, source)
    return empty_store


def embed(store: Store, source: Source, encoder: PixelMeanEncoder | None = None) -> list[Slice]:
    tables = small.source_tables(store)
    for table in tables:
        store.begin(table)
    model = PixelMeanEncoder() if encoder is None else encoder
    return [small.embed_one(store, source, tables, piece, model) for piece in store.slices]


def slices(store: Store) -> dict[str, bytes]:
    return small.tree(Path(store.location), manifests=False)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: list[Callable[[Path], None]] = [
    lambda path: flip(path, 0.0),
    lambda path: flip(path, 0.4),
    lambda path: flip(path, 1.0),
    halve,
    lambda path: path.write_bytes(b""),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["steps", "episodes", "embeddings"])
def test_a_slice_that_changed_before_the_job_went_on_is_made_anew(
    begun: Store, source: Source, kind: str, damage: Callable[[Path], None]
) -> None:
    whole = slices(begun)
    name = next(name for name in whole if name.startswith(kind) and begun.slices[2].file in name)
    damage(Path(begun.location, name))
    assert slices(begun) != whole
    again = Store.open(begun.location)
    tables = small.source_tables(again)
    small.finish(again, tables, embed(again, source))
    assert slices(again) == whole
    assert [problem for _, found in verify_store(again) for problem in found] == []


def test_what_agrees_with_its_receipt_is_kept(begun: Store, source: Source) -> None:
    encoder = CountingEncoder()
    before = {name: Path(begun.location, name).stat().st_mtime_ns for name in slices(begun)}
    embed(Store.open(begun.location), source, encoder)
    assert encoder.frames == 0
    assert {n: Path(begun.location, n).stat().st_mtime_ns for n in slices(begun)} == before


def test_what_this_process_wrote_is_not_hashed_again(
    begun: Store, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = small.hashed(monkeypatch)
    files = [file for piece in embed(begun, source) for file in piece.files]
    assert len(files) == 3 * 4
    assert hashed == []


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"format_version": "2.0", "files": []}'])
def test_without_a_receipt_the_file_counts_as_it_is(
    begun: Store, source: Source, content: bytes | None
) -> None:
    told = [piece.files for piece in embed(begun, source)]
    for path in Path(begun.location).rglob(f"{RECEIPTS}/*"):
        path.unlink() if content is None else path.write_bytes(content)
    assert [piece.files for piece in embed(Store.open(begun.location), source)] == told


def test_a_changed_slice_of_an_unfinished_table_is_not_read(begun: Store) -> None:
    piece = begun.slices[0]
    flip(Path(begun.location, "steps", piece.file), 0.5)
    with pytest.raises(StoreError, match=r"steps/slice-.*its CRC-32C is not the one recorded"):
        Store.open(begun.location).read_slices("steps", [piece])
    Store.open(begun.location).read_slices("steps", begun.slices[1:])


def test_a_finished_table_has_no_receipts(begun: Store, source: Source) -> None:
    assert [name for name in begun.folder.names("steps", recursive=True) if "__meta__" in name] == [
        PLAN,
        *(f"{RECEIPTS}/{piece.file}.json" for piece in begun.slices),
    ]
    assert begun.abandoned() == []
    small.finish(begun, small.source_tables(begun), embed(begun, source))
    assert list(Path(begun.location).rglob("receipts")) == []


# --- a table that was complete, and is not any more: its plan lists what is to be kept


def reopen(store: Store, table: str) -> None:
    manifest = store.table_manifest(table)
    store.folder.write(f"{table}/{PLAN}", manifest_bytes(manifest))
    store.folder.delete(f"{table}/{MANIFEST}")


@pytest.mark.parametrize("kind", ["embeddings", "steps"])
def test_a_reopened_table_keeps_the_hashes_it_had(begun: Store, source: Source, kind: str) -> None:
    tables = small.source_tables(begun)
    small.finish(begun, tables, embed(begun, source))
    whole = slices(begun)
    table = next(name for name in begun.tables() if name.startswith(kind))
    reopen(begun, table)
    flip(Path(begun.location, table, begun.slices[2].file), 0.5)
    again, encoder = Store.open(begun.location), CountingEncoder()
    own = [manifest for manifest in tables if manifest.table == table]
    pieces = [small.embed_one(again, source, own, piece, encoder) for piece in again.slices]
    small.finish(again, own, pieces)
    assert slices(again) == whole
    assert encoder.frames == (7 if kind == "embeddings" else 0)  # of the slice that was changed


# --- dead letters belong to their slice


@pytest.fixture
def cut(tmp_path: Path) -> Source:
    """The small source; the front camera's image of episode 3, step 1, is cut off."""
    items = small.episodes()
    observation = items[3]["steps"][1]["observation"]
    observation["front"] = observation["front"][:40]
    return small.write_source(tmp_path / "cut", items)


def letters(store: Store) -> list[Path]:
    return list(Path(store.location, "dead_letters").rglob("slice-*.parquet"))


@pytest.mark.parametrize("damage", [*DAMAGES, Path.unlink])
def test_dead_letters_that_changed_make_their_slice_anew(
    empty_store: Store, cut: Source, damage: Callable[[Path], None]
) -> None:
    told = [piece.files for piece in embed(empty_store, cut)]
    (path,) = letters(empty_store)
    whole = path.read_bytes()
    damage(path)
    again = embed(Store.open(empty_store.location), cut)
    assert path.read_bytes() == whole
    assert [sorted(piece.files, key=repr) for piece in again] == [
        sorted(files, key=repr) for files in told
    ]


def test_dead_letters_that_no_longer_are_go(
    empty_store: Store, cut: Source, source: Source
) -> None:
    """As after a kill between the commit of the dead letters and that of the slice."""
    embed(empty_store, cut)
    (path,) = letters(empty_store)
    table = path.parent.relative_to(Path(empty_store.location, "dead_letters"))
    Path(empty_store.location, table, path.name).unlink()
    embed(empty_store, source)
    assert letters(empty_store) == []
