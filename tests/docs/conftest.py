from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.docs_workspace import copy_workspace, make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source, encoder and goals, made once."""
    return make_workspace(tmp_path_factory.mktemp("docs") / "workspace")


@pytest.fixture
def here(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workspace as working directory, with nothing to be had from a network."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    directory = copy_workspace(workspace, tmp_path / "here")
    monkeypatch.chdir(directory)
    return directory
