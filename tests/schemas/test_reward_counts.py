"""Counts against numbers counted by hand, and against a slice that has none in its footer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import fields
from schemas.errors import StoreError
from schemas.goal_datasets import DatasetOptions
from schemas.manifests import RewardManifest
from schemas.reward_counts import SUCCESS_ABOVE, RewardCounts, read_counts
from schemas.store import Store
from schemas.verify import verify_store
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


def test_scores_of_dense_rewards_are_what_a_hand_counts() -> None:
    first, second = (RewardCounts.none(2, dense=True) for _ in range(2))
    first.add(np.array([[0.25, 0.75], [NAN, NAN]], np.float32), np.full((2, 2), 0.1))
    second.add(np.array([[0.5, 1.0], [0.75, -0.5]], np.float32), np.full((2, 2), NAN))
    second.add(None, np.zeros((1, 2)))  # scores that are not stored
    second.add(np.zeros((0, 2), np.float32), np.zeros((0, 2)))
    first.merge(second)
    assert (first.frames, first.above.tolist()) == (3, [1, 2])  # 0.5 is not above 0.5
    assert first.total.tolist() == [1.5, 1.25]
    assert first.lowest.tolist() == [0.25, -0.5]
    assert first.best.tolist() == [0.75, 1.0]


def test_the_bound_is_that_of_build_goals() -> None:
    assert DatasetOptions().success_above == SUCCESS_ABOVE


def test_footers_of_dense_rewards_hold_what_the_columns_do(
    scored: tuple[Store, RewardManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = scored
    monkeypatch.setattr("relabel.slices.score_slice._BLOCK_ROWS", (2, 2))
    manifest = small.score(store, "dense", reward="probability")
    rows = [row[fields.SCORE] for row in store.read(manifest.table).to_pylist()]
    whole = np.array([row for row in rows if None not in row], np.float64)
    counts = read_counts(store, manifest)
    assert counts.frames == len(whole) > 5
    assert counts.above.tolist() == (whole > 0.5).sum(axis=0).tolist()
    assert 0 < counts.above.sum() < whole.size
    np.testing.assert_allclose(counts.total, whole.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(counts.lowest, whole.min(axis=0).astype(np.float32))
    found = [store.metadata(manifest.table, piece)[fields.COUNTS] for piece in store.slices]
    early = [json.dumps({"transitions": 1, "rewarded": [1] * 3, "best": [1.0] * 3}).encode()]
    stored = iter([*early, *found[1:]])  # one slice was written before scores were counted
    monkeypatch.setattr(Store, "metadata", lambda *_: {fields.COUNTS: next(stored)})
    assert read_counts(store, manifest).metadata() == counts.metadata()


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RewardManifest]:
    folder = tmp_path_factory.mktemp("counts")
    source = small.write_source(folder / "src")
    store = Store.create(str(folder / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relabel.slices.score_slice._BLOCK_ROWS", (2, 2))
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
    small.relist(store, manifest)
    found = read_counts(store, manifest)
    assert found.transitions == expected.transitions
    np.testing.assert_array_equal(found.rewarded, expected.rewarded)
    np.testing.assert_array_equal(found.best, expected.best)


# --- footers of strangers

BINARY: dict[str, Any] = {"transitions": 2, "rewarded": [1, 0, 2], "best": [0.5, None, -1.0]}
DENSE: dict[str, Any] = {
    **BINARY,
    **{"frames": 2, "above": [0, 2, 1], "total": [1.0, -0.5, 0.0], "lowest": [None, -1.0, 0.5]},
}
NO_JSON = (
    *(b"", b"{", b"null", b"[]", b"3", b'"x"', b"\xff\xfe", b"\0" * 9, b"9" * 5000),
    *(b"[" * 100_000, b'{"transitions":' * 100_000, b'{"transitions": ' + b"9" * 5000 + b"}"),
)
ODD: tuple[Any, ...] = (
    *(None, True, -1, 2**53, 2**63, 10**400, 0.5, 1e308, NAN, float("inf"), "1", "", {}, []),
    *([1], [1] * 4, [1] * 100_000, [[1]] * 3, ["1"] * 3, [True] * 3, [-1] * 3, [2**64] * 3),
    *([10**400] * 3, [1e300] * 3, [NAN] * 3, [float("-inf")] * 3, [{}] * 3, {"0": 1, "1": 1}),
)


def with_odd_values(content: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for key, value in content.items():
        for odd in (odd for odd in ODD if not same(odd, value)):
            yield key, json.dumps({**content, key: odd}).encode()
        if key != "frames":  # without which the others count as not written
            yield key, json.dumps({k: v for k, v in content.items() if k != key}).encode()


def same(odd: Any, value: Any) -> bool:
    return json.dumps(odd) == json.dumps(value)


def told(store: Store, manifest: RewardManifest, stored: bytes) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "metadata", lambda *_: {fields.COUNTS: stored})
        patch.setattr(Store, "rows", lambda *_: 2)
        try:
            RewardCounts.of_footer(store, manifest, store.slices[0])
        except StoreError as error:
            return str(error)
    return ""


def test_footers_that_nobody_wrote_are_refused_in_a_sentence(
    scored: tuple[Store, RewardManifest],
) -> None:
    store, manifest = scored
    dense = manifest.model_copy(update={"binary": False})
    assert told(store, manifest, json.dumps(BINARY).encode()) == ""
    assert told(store, dense, json.dumps(DENSE).encode()) == ""
    tried = 0
    for own, content in ((manifest, BINARY), (dense, DENSE)):
        for key, stored in [*(("", text) for text in NO_JSON), *with_odd_values(content)]:
            said = told(store, own, stored)
            if not said and key in ("best", "total", "lowest"):  # three numbers are numbers
                assert len(values := json.loads(stored)[key]) == 3
                assert all(type(v) in (int, float) and abs(v) < 1e38 for v in values)
                continue
            assert f"{manifest.table}/{store.slices[0].file}: its footer" in said, stored[:200]
            assert "made rewards/v1 again with --overwrite" in said
            assert len(said) < 1500
            tried += 1
    assert tried > 250


def test_a_lie_that_could_be_true_is_found_by_verify(
    scored: tuple[Store, RewardManifest], tmp_path: Path
) -> None:
    store = Store.open(str(shutil.copytree(scored[0].location, tmp_path / "store")))
    store.folder.delete_folder("rewards")
    manifest = small.score(store, "dense", reward="probability")
    assert [problem for _, found in verify_store(store) for problem in found] == []
    piece = store.slices[0]
    stored, lies = json.loads(store.metadata(manifest.table, piece)[fields.COUNTS]), 0
    path = Path(store.location, manifest.table, piece.file)
    table = pq.read_table(path)
    for key, value in stored.items():
        if isinstance(value, list):
            lie: Any = [*value[:-1], value[-1] - 1 if value[-1] else 0]
        else:
            lie = value - 1
        if key in ("transitions", "frames"):  # so few that no goal has more
            lie = max(stored["rewarded" if key == "transitions" else "above"])
        changed = json.dumps({**stored, key: lie}).encode()
        kept = dict(table.schema.metadata or {})
        pq.write_table(table.replace_schema_metadata({**kept, fields.COUNTS: changed}), path)
        small.relist(store, manifest)
        problems = [
            problem for _, found in verify_store(Store.open(store.location)) for problem in found
        ]
        if lie == value:
            assert problems == []
            continue
        assert [problem.file for problem in problems] == [piece.file], key
        assert "its footer" in problems[0].text
        lies += 1
    assert lies >= 5
