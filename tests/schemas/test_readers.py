"""A table's folder, opened as a folder by the readers people have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from schemas.store import Store
from tests import small

Rows = list[dict[str, object]]


def with_pandas(folder: str) -> Rows:
    return pd.read_parquet(folder)[["episode_id", "step"]].to_dict("records")


def with_arrow(folder: str) -> Rows:
    return pq.read_table(folder, columns=["episode_id", "step"]).to_pylist()


def with_duckdb(folder: str) -> Rows:
    found = duckdb.sql(f"SELECT episode_id, step FROM '{folder}/*.parquet'")
    return found.df().to_dict("records")


def with_polars(folder: str) -> Rows:
    return pl.read_parquet(f"{folder}/*.parquet").select("episode_id", "step").to_dicts()


def with_datasets(folder: str) -> Rows:
    rows = datasets.load_dataset("parquet", data_dir=folder, split="train")
    return rows.select_columns(["episode_id", "step"]).to_list()


@pytest.mark.parametrize("read", [with_pandas, with_arrow, with_duckdb, with_polars, with_datasets])
@pytest.mark.parametrize("kind", ["steps", "embeddings", "rewards"])
def test_a_folder_is_a_table(
    store: Store,
    read: Callable[[str], Rows],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    table = next(t for t in store.tables() if t.split("/")[0] == kind)
    expected = [
        {"episode_id": f"train/{shard}/{index}", "step": step}
        for shard, episodes in enumerate((small.LENGTHS[:3], small.LENGTHS[3:]))
        for index, length in enumerate(episodes)
        for step in range(length)
    ]
    assert read(f"{store.location}/{table}") == expected


def test_nothing_but_slices_lies_in_a_table(store: Store) -> None:
    planned = {piece.file for piece in store.slices}
    for table in store.tables():
        assert set(store.folder.names(table)) == planned
