from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines import small_source
from tests.pipelines.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes of 3, 2, 4 and 2 frames in two shards; read-only."""
    return small_source.write_source(tmp_path_factory.mktemp("sources") / "small")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of an encoder that open_clip loads."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
