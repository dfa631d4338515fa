"""`docs/sources.md`, row by row: a source of each form, what is read of it, noted and refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from relabel.goals.mined import mine_goals
from relabel.source.source import Source
from schemas import fields
from schemas.errors import RelabelError
from schemas.slices import Slice
from schemas.store import Store
from tests import small
from tests.relabel.odd_sources import FORMS, Odd

PAGE = Path(__file__).parents[3] / "docs" / "sources.md"
CAMERAS = "## Cameras"  # a section with forms and tests of its own


@dataclass(frozen=True)
class Row:
    """One row of a table of the page."""

    form: str
    read: str
    noted: str
    refused: str


def rows() -> list[Row]:
    page = re.sub(rf"^{CAMERAS}$.*?(?=^## |\Z)", "", PAGE.read_text("utf-8"), flags=re.M | re.S)
    cells = [line.strip("| ").split("|") for line in page.splitlines() if line.startswith("| ")]
    found = [Row(*(cell.strip() for cell in (*own, "", "", "")[:4])) for own in cells]
    return [row for row in found if row.form not in ("form", "---")]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_page_and_the_forms_are_the_same() -> None:
    assert [row.form for row in rows()] == list(FORMS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.form)
def test_a_form_is_read_as_the_page_says(row: Row, tmp_path: Path) -> None:
    odd = FORMS[row.form]
    directory = str(odd.write(tmp_path / "src"))
    if row.refused:
        with pytest.raises(RelabelError) as error:
            _read(odd, directory, tmp_path)
        assert all(text in str(error.value) for text in quoted(row.refused)), error.value
        return
    source, store = _read(odd, directory, tmp_path)
    told = " ".join([*source.notes(), source.detect_last_step()[1]])
    assert all(text in told for text in quoted(row.noted)), told
    _check_tables(odd, store)
    if row.read.startswith("left out"):
        reason = source.features.left_out["odd"]
        assert all(text in reason for text in quoted(row.read)), reason
        assert "odd" not in store.read("steps").column_names


def _read(odd: Odd, directory: str, tmp_path: Path) -> tuple[Source, Store]:
    source = Source.open(directory, "train", exclude=odd.exclude, keep_merged=odd.keep_merged)
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store, []))
    if odd.mine is not None:
        mined = mine_goals(store, odd.mine).goals
        assert [goal.texts for goal in mined.goals] == odd.goals
    return source, store


def _check_tables(odd: Odd, store: Store) -> None:
    steps, episodes = store.read("steps"), store.read("episodes")
    assert episodes.column(fields.EPISODE_ID).to_pylist() == list(odd.ids)
    for name, values in odd.columns.items():
        assert steps.column(name).to_pylist() == values, name
    for name, values in odd.metadata.items():
        assert episodes.column(name).to_pylist() == values, name
    if odd.language is not None:
        assert episodes.column(fields.LANGUAGE).to_pylist() == odd.language
    lengths = episodes.column(fields.LENGTH).to_pylist()
    assert steps.column(fields.STEP).to_pylist() == [t for n in lengths for t in range(n)]


def test_parts_of_a_record_come_in_one_slice(tmp_path: Path) -> None:
    directory = FORMS["several episodes in a record"].write(tmp_path / "src")
    source = Source.open(str(directory), "train")
    parts = list(source.read(Slice(0, 2, "train", 0, 0, 1), ["action"]))
    assert [part.id for part in parts if not hasattr(part, "reason")] == [
        "train/0/0.0",
        "train/0/0.1",
    ]
