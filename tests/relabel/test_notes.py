"""What is unusual about the episodes of a store: footers that nobody of ours wrote are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relabel.source.oddities import Oddities, read_oddities
from schemas import fields
from schemas.errors import StoreError
from schemas.store import Store
from tests import small

GOOD: dict[str, Any] = {
    "episodes": 3,
    "counts": {"unmarked": 2},
    "first": {"unmarked": "train/0/1"},
    "lost_texts": {"language_instruction": 7},
}
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "deep": b"[" * 100_000,
    "deep objects": b'{"counts":' * 100_000,
    "no object": b"[]",
    "no text": b"\xff\xfe",
    "digits": b'{"episodes": ' + b"9" * 5000 + b"}",
    **{
        f"{key} {name}": json.dumps({**GOOD, key: odd}).encode()
        for key, odds in {
            "episodes": (None, True, -1, 1, 3.5, "3", 10**30, [], {}),
            "counts": (None, [], {"unmarked": "2"}, {"unmarked": -1}, {"unmarked": 10**400}),
            "first": (None, {}, {"unmarked": 3}, {"unmarked": {}}, {"x" * 100_000: "x"}),
            "lost_texts": (None, 7, {"x": True}, {"x": 0.5}, {"x": None}),
        }.items()
        for name, odd in enumerate(odds)
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("notes")
    source = small.write_source(folder / "src")
    made = Store.create(str(folder / "store"), small.store_manifest(source))
    small.embed(made, source, small.source_tables(made))
    return made


def read(store: Store, stored: bytes) -> Oddities:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "metadata", lambda *_: {fields.ODDITIES: stored})
        return read_oddities(store)


def test_figures_of_slices_are_added(store: Store) -> None:
    slices = len(store.slices)
    found = read(store, json.dumps({**GOOD, "of a later version": 1}).encode())
    assert slices > 1
    assert found == Oddities(
        episodes=3 * slices,
        counts={"unmarked": 2 * slices},
        first={"unmarked": "train/0/1"},
        lost_texts={"language_instruction": 7 * slices},
    )
    assert read_oddities(store).episodes == sum(
        map(bool, small.LENGTHS)
    )  # not of those without steps


@pytest.mark.parametrize("name", HOSTILE)
def test_figures_that_nobody_wrote_are_refused_in_a_sentence(store: Store, name: str) -> None:
    with pytest.raises(StoreError) as told:
        read(store, HOSTILE[name])
    said = str(told.value)
    assert str(Path(store.location, "steps", store.slices[0].file)) in said
    assert "its footer" in said
    assert "made steps again with --overwrite" in said
    assert len(said) < 1500
