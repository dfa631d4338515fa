from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from schemas.enums import LastStep, Timing
from tests.offline_rl import playground


@pytest.fixture(scope="session")
def playground_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every way an episode can end; read-only."""
    return playground.write_source(tmp_path_factory.mktemp("sources") / "playground" / "1.0.0")


@pytest.fixture(scope="session")
def _stores(playground_source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store per meaning of the last step, with a dataset per timing that holds every row."""
    folder = tmp_path_factory.mktemp("stores")
    stores = {}
    for last_step in LastStep:
        store = folder / f"{last_step}.store"
        playground.embed(playground_source, store, last_step)
        for timing in Timing:
            playground.score(store, timing, timing=timing)
            playground.goal_dataset(store, timing, timing)
        stores[str(last_step)] = store
    final = stores[LastStep.FINAL_OBSERVATION]
    playground.goal_dataset(final, "gc1", Timing.NEXT_FRAME, playground.SPLITS, truth="truth")
    return stores


@pytest.fixture(scope="session")
def every_store(_stores: dict[str, Path]) -> dict[str, Path]:
    """By last-step meaning, with datasets `next-frame` and `same-frame`; read-only."""
    return _stores


@pytest.fixture(scope="session")
def playground_store(_stores: dict[str, Path]) -> Path:
    """One with dataset `gc1`, with a validation split, and `gc1.true`; read-only."""
    return _stores[LastStep.FINAL_OBSERVATION]


@pytest.fixture
def own_store(playground_store: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(playground_store, tmp_path / "own.store"))
