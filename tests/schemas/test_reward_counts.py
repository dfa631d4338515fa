"""Counts against numbers counted by hand, and against a slice that has none in its footer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import fields
from schemas.manifests import RewardManifest
from schemas.reward_counts import RewardCounts, read_counts
from schemas.store import Store
from tests import small

NAN = np.nan


def test_counts_are_what_a_hand_counts() -> None:
    counts = RewardCounts.none(2)
    scores = np.array([[0.1, 0.9], [0.8, NAN], [0.3, 0.2]], np.float32)
    rewards = np.array([[0, 1], [NAN, NAN], [1, NAN]], np.float32)
    counts.add(scores[:2], rewards[:2])
    counts.add(scores[2:], rewards[2:])
    counts.add(None, np.array([[0.0, 0.5], [0.0, -0.5]], np.float32))
    # The third row counts for no goal: it has no reward for the second.
    assert (counts.transitions, counts.rewarded.tolist()) == (3, [0, 2])
    np.testing.assert_allclose(counts.best, [0.8, 0.9], rtol=1e-6)
    other = RewardCounts(2, np.array([1, 0]), np.array([0.2, 1.0], np.float32))
    counts.merge(other)
    assert (counts.transitions, counts.rewarded.tolist()) == (5, [1, 2])
    np.testing.assert_allclose(counts.best, [0.8, 1.0], rtol=1e-6)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RewardManifest]:
    folder = tmp_path_factory.mktemp("counts")
    source = small.write_source(folder / "src")
    store = Store.create(str(folder / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relabel.scoring._BLOCK_ROWS", (2, 2))
        return store, small.score(store)


def test_footers_hold_what_the_columns_do(scored: tuple[Store, RewardManifest]) -> None:
    store, manifest = scored
    rows = store.read(manifest.table).to_pylist()
    known = [row[fields.REWARD] for row in rows if None not in row[fields.REWARD]]
    counts = read_counts(store, manifest)
    assert 0 < counts.transitions == len(known) < len(rows)
    assert counts.rewarded.tolist() == [
        sum(r > 0 for r in goal) for goal in zip(*known, strict=True)
    ]
    best = [max(scores) for scores in zip(*(row[fields.SCORE] for row in rows), strict=True)]
    assert counts.best.tolist() == best


def test_a_slice_without_counts_is_read(scored: tuple[Store, RewardManifest]) -> None:
    store, manifest = scored
    expected = read_counts(store, manifest)
    for piece in store.slices:
        assert fields.COUNTS in store.metadata(manifest.table, piece)
        path = Path(store.location) / manifest.table / piece.file
        table = pq.read_table(path)
        pq.write_table(table.cast(pa.schema(list(table.schema))), path)
        assert fields.COUNTS not in store.metadata(manifest.table, piece)
    found = read_counts(store, manifest)
    assert found.transitions == expected.transitions
    np.testing.assert_array_equal(found.rewarded, expected.rewarded)
    np.testing.assert_array_equal(found.best, expected.best)
