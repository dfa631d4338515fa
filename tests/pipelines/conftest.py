from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions
from tests.pipelines import counted_encoders, small_source
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.tiny_model import write_tiny_model

BRIDGE = Path(__file__).parents[3] / "shared/data/bridge_dataset/1.0.0"


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes in two shards; read-only."""
    return small_source.write_source(tmp_path_factory.mktemp("sources") / "small")


@pytest.fixture(scope="session")
def goals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three goals."""
    path = tmp_path_factory.mktemp("goals") / "colours.yaml"
    path.write_text(small_source.GOALS)
    return path


@pytest.fixture(scope="session")
def bridge() -> Path:
    """The BridgeData sample: 25 episodes, 250 frames, 4 cameras."""
    if not BRIDGE.is_dir():
        pytest.skip(f"no BridgeData sample at {BRIDGE}")
    return BRIDGE


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of an encoder that open_clip loads."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def workers_import_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes can import the encoders of `counted_encoders`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "store"


@pytest.fixture
def counted() -> Any:
    """The module `counted_encoders`, its counts at zero."""
    counted_encoders.loads.clear()
    counted_encoders.frames.clear()
    return counted_encoders


@pytest.fixture
def job(store: Path) -> JobOptions:
    """One worker, one thread, so that tables can be compared byte by byte."""
    return JobOptions(str(store), threads=1, command="vlm-relabel the same again")


@pytest.fixture
def embedding(source: Path, counted: Any) -> Embedding:
    """Options that embed the front camera in batches of 2, a slice per episode."""

    def make(**changes: Any) -> EmbedOptions:
        options: dict[str, Any] = {
            "source": str(source),
            "split": "train",
            "cameras": ("front",),
            "encoder": counted.CountingEncoder,
            "batch_size": 2,
            "episodes_per_slice": 1,
        }
        return EmbedOptions(**{**options, **changes})

    return make


@pytest.fixture
def scoring(goals: Path, counted: Any) -> Scoring:
    """Options that score the three goals."""

    def make(**changes: Any) -> ScoreOptions:
        return ScoreOptions(**{"encoder": counted.CountingEncoder, "goals": str(goals), **changes})

    return make
