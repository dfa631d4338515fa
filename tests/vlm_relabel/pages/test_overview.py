"""The overview tells how fast a table was written, where the times of its files tell it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from schemas.store import Store
from tests.relabel.goal_dataset_stores import How, Told, make_store
from vlm_relabel.pages.overview import overview


def paces(store: Store) -> dict[str, str | None]:
    return {table["name"]: table.get("pace") for table in overview(store)["tables"]}


def test_the_pace_is_that_between_commits(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [Told(np.zeros((10, 2)))] * 5, How(per_slice=1))
    files = sorted((tmp_path / "s/rewards/v1").glob("*.parquet"))
    for place, file in enumerate(files):
        night = 36_000 if place > 2 else 0  # the job was resumed the next day
        os.utime(file, (1e9 + 2 * place + night,) * 2)
    assert paces(store)["rewards/v1"] == "5 rows/s, by the times of its files"


def test_few_slices_and_equal_times_tell_nothing(tmp_path: Path) -> None:
    few = make_store(tmp_path / "few", [Told(np.zeros((10, 2)))] * 3, How(per_slice=1))
    assert paces(few)["rewards/v1"] is None
    same = make_store(tmp_path / "same", [Told(np.zeros((10, 2)))] * 5, How(per_slice=1))
    for file in (tmp_path / "same/rewards/v1").glob("*.parquet"):
        os.utime(file, (1e9, 1e9))
    assert paces(same)["rewards/v1"] is None
