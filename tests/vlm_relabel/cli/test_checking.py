"""What a terminal shows of a check; nothing of it goes to standard output or to a machine."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from schemas.repair import find_damage
from schemas.store import Store
from vlm_relabel.cli import console
from vlm_relabel.cli.checking import checking
from vlm_relabel.cli.main import app

GOLDEN = Path(__file__).parents[2] / "golden" / "store-2.0"


@pytest.fixture
def whole(tmp_path: Path) -> Store:
    """A finished store of its own."""
    return Store.open(str(shutil.copytree(GOLDEN, tmp_path / "whole.store")))


@pytest.fixture(params=[True, False])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Console:
    """Standard error, as a terminal or not."""
    made = Console(file=io.StringIO(), force_terminal=request.param, width=100, color_system=None)
    monkeypatch.setattr(console, "ERR", made)
    return made


def _told(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("words", [["verify"], ["repair", "--dry-run"]])
def test_every_table_has_its_bar_on_a_terminal(
    whole: Store, screen: Console, words: list[str]
) -> None:
    result = CliRunner().invoke(app, [words[0], whole.location, *words[1:]])
    assert result.exit_code == 0
    for table in whole.tables():
        assert (table in _told(screen)) == screen.is_terminal
        slices = (
            len(whole.slices) if words == ["verify"] else len(whole.table_manifest(table).files)
        )
        assert (f"{slices}/{slices}" in _told(screen)) == screen.is_terminal
    assert "all well" in result.stdout
    assert "━" not in result.stdout


@pytest.mark.parametrize("words", [["verify"], ["repair", "--dry-run"]])
def test_with_json_nothing_is_shown(whole: Store, screen: Console, words: list[str]) -> None:
    result = CliRunner().invoke(app, [words[0], whole.location, *words[1:], "--json"])
    assert json.loads(result.stdout)["ok"]
    assert _told(screen) == ""


@pytest.mark.parametrize("screen", [True], indirect=True)
def test_a_check_that_fails_takes_its_bar_away(screen: Console) -> None:
    def fail() -> None:
        with checking(as_json=False) as show:
            show("steps", 1, 3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _told(screen).endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # the cursor is back, the line gone


def test_what_is_damaged_is_found_while_files_are_counted(whole: Store) -> None:
    path = Path(whole.location) / "steps" / whole.slices[1].file
    path.write_bytes(path.read_bytes() + b"more")
    told: list[tuple[str, int, int]] = []
    found = find_damage(whole, lambda *now: told.append(now))
    assert [damage.table for damage in found] == ["steps"]
    listed = {table: len(whole.table_manifest(table).files) for table in whole.tables()}
    assert told == [(t, i, n) for t, n in listed.items() for i in range(1, n + 1)]
