"""`make bridge` on the real sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import bridge
from schemas.store import Store
from schemas.verify import verify_store


@pytest.mark.slow
def test_the_real_sample_becomes_a_store(
    bridge_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bridge.main(["--data", str(bridge_dir), "--out", str(tmp_path / "store")])
    store = Store.open(str(tmp_path / "store"))
    assert store.table_manifest("steps").rows == 250
    assert store.rewards("v1").goals == 4
    assert not [problem for _, problems in verify_store(store) for problem in problems]
    assert "all well" in capfd.readouterr().out


def test_without_data_it_says_where_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bridge.main(["--data", str(tmp_path), "--out", str(tmp_path / "store")])
    told = capsys.readouterr().out
    assert "octo-models/octo" in told
    assert "make bridge DATA=" in told
