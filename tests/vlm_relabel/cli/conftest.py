from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.pipelines.small_source import GOALS, write_source
from tests.pipelines.tiny_model import write_tiny_model
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run
from vlm_relabel.cli.main import app


@pytest.fixture
def run() -> Run:
    """Runs `vlm-relabel` in this process, on a wide screen that is no terminal."""

    def invoke(*words: Any) -> Result:
        return CliRunner().invoke(
            app, [str(word) for word in words], env={"COLUMNS": "240", "TERM": "dumb"}
        )

    return invoke


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes in two shards; read-only."""
    return write_source(tmp_path_factory.mktemp("sources") / "small")


@pytest.fixture(scope="session")
def goals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three goals."""
    path = tmp_path_factory.mktemp("goals") / "colours.yaml"
    path.write_text(GOALS)
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of an encoder that open_clip loads."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "store"


@pytest.fixture
def words(source: Path, goals: Path, store: Path) -> dict[str, Any]:
    """What `relabel` needs, by option."""
    return {
        "--source": source,
        "--camera": "front",
        "--encoder": PIXEL_MEAN,
        "--goals": goals,
        "--store": store,
        "--threads": 1,
    }
