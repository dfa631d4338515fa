"""Normalisation statistics against NumPy on all frames at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relabel.goal_datasets import statistics
from relabel.goal_datasets.statistics import column_statistics, statistics_warnings
from schemas.enums import LastStep, Split
from schemas.goal_datasets import ColumnStatistics, GoalDatasetManifest, split_of
from schemas.manifests import manifest_bytes, parse_manifest
from schemas.store import Store
from tests.relabel.goal_dataset_stores import How, Told, build, dataset_manifest, make_store

LENGTHS = (3, 0, 7, 1, 5, 4, 9, 2)


def episodes(offset: float = 0.0, scale: float = 1.0) -> list[Told]:
    random = np.random.default_rng(0)
    return [
        Told(
            np.r_[np.ones((length - 1, 1)), [[np.nan]]] if length else np.zeros((0, 1)),
            state=(offset + scale * random.normal(size=(length, 2))).astype(np.float32),
            action=random.normal(size=(length, 2)).astype(np.float32),
        )
        for length in LENGTHS
    ]


def training(told: Sequence[Told], shares: tuple[float, float]) -> list[Told]:
    ids = [f"train/0/{i}" for i in range(len(told))]
    return [e for i, e in zip(ids, told, strict=True) if split_of(i, *shares) is Split.TRAIN]


def assert_equals_numpy(found: ColumnStatistics, values: np.ndarray) -> None:
    values = values.astype(np.float64)
    assert found.frames == found.percentile_frames == len(values)
    assert found.mean == pytest.approx(np.mean(values, axis=0), rel=1e-12)
    assert found.std == pytest.approx(np.std(values, axis=0), rel=1e-9)
    assert found.min == tuple(values.min(axis=0))
    assert found.max == tuple(values.max(axis=0))
    assert found.p01 == pytest.approx(np.percentile(values, 1, axis=0), rel=1e-12)
    assert found.p99 == pytest.approx(np.percentile(values, 99, axis=0), rel=1e-12)
    assert found.missing == (0, 0)


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.3, 0.3)])
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1e6, 1), (-3, 1e-3)])
@pytest.mark.parametrize("per_slice", [1, 3, 8])
def test_statistics_are_those_of_the_training_split(
    tmp_path: Path, shares: tuple[float, float], offset: float, scale: float, per_slice: int
) -> None:
    told = episodes(offset, scale)
    store = make_store(tmp_path / "s", told, How(per_slice=per_slice))
    found = build(store, validation=shares[0], test=shares[1]).statistics
    assert list(found) == ["observation.state", "action"]  # no integers, no truth, no flags
    own = training(told, shares)
    assert len(own) == 8 if shares == (0, 0) else 0 < len(own) < 8
    assert_equals_numpy(found["observation.state"], np.concatenate([e.state for e in own]))
    actions = np.concatenate([e.action[:-1] for e in own])  # the last is a filler
    assert_equals_numpy(found["action"], actions)


def test_a_last_step_that_carries_an_action_counts(tmp_path: Path) -> None:
    told = episodes()
    store = make_store(tmp_path / "s", told, How(last_step=LastStep.CARRIES_ACTION))
    found = build(store, validation=0, test=0).statistics
    assert_equals_numpy(found["action"], np.concatenate([e.action for e in told]))


def test_left_out_episodes_do_not_count(tmp_path: Path) -> None:
    told = episodes()
    store = make_store(tmp_path / "s", told)
    found = build(store, validation=0, test=0, episodes=("train/0/2", "train/0/6")).statistics
    states = np.concatenate([told[2].state, told[6].state])
    assert_equals_numpy(found["observation.state"], states)


@pytest.mark.parametrize("most", [1, 4, 10, 30, 31])
@pytest.mark.parametrize("per_slice", [1, 3, 8])
def test_percentiles_of_evenly_spaced_frames(tmp_path: Path, most: int, per_slice: int) -> None:
    told = episodes()
    store = make_store(tmp_path / "s", told, How(per_slice=per_slice))
    dataset = dataset_manifest(store, validation=0, test=0)
    found = column_statistics(store, dataset, percentile_frames=most)["observation.state"]
    states = np.concatenate([e.state for e in told])
    stride = -(-len(states) // most)
    assert found.percentile_frames == len(states[::stride]) <= most
    assert found.p99 == pytest.approx(np.percentile(states[::stride].astype(float), 99, axis=0))
    assert found.max == tuple(states.max(axis=0))  # of all frames


def test_values_that_are_not_finite_are_counted_and_told(tmp_path: Path) -> None:
    told = episodes()
    told[2].state[1, 0] = np.nan
    told[4].state[0, 0] = np.inf
    store = make_store(tmp_path / "s", told)
    manifest = build(store, validation=0, test=0)
    found = manifest.statistics["observation.state"]
    assert found.missing == (2, 0)
    states = np.concatenate([e.state for e in told]).astype(np.float64)
    assert found.mean[0] == pytest.approx(states[np.isfinite(states[:, 0]), 0].mean(), rel=1e-12)
    assert statistics_warnings(manifest.statistics) == [
        "observation.state: NaN or infinite in 2 of 31 training frames (components 0)"
    ]


def test_a_column_without_a_finite_value_survives_the_manifest(tmp_path: Path) -> None:
    told = episodes()
    for episode in told:
        episode.state[:, 1] = np.nan
    manifest = build(make_store(tmp_path / "s", told), validation=0, test=0)
    found = manifest.statistics["observation.state"]
    assert np.isnan([found.mean[1], found.std[1], found.min[1], found.max[1], found.p01[1]]).all()
    again = parse_manifest(manifest_bytes(manifest), origin="here")
    assert isinstance(again, GoalDatasetManifest)
    assert np.isnan(again.statistics["observation.state"].p99[1])


def test_constant_columns_are_kept_and_told(tmp_path: Path) -> None:
    told = episodes()
    for episode in told:
        episode.state[:, 0] = 0.1
        episode.action[:] = 0.3
    manifest = build(make_store(tmp_path / "s", told), validation=0, test=0)
    found = manifest.statistics["observation.state"]
    assert (found.std[0], found.mean[0]) == (0.0, float(np.float32(0.1)))
    assert statistics_warnings(manifest.statistics) == [
        "observation.state: constant in the training split (components 0)",
        "action: constant in the training split",
    ]


def test_an_empty_training_split_is_told(tmp_path: Path) -> None:
    told = episodes()
    store = make_store(tmp_path / "s", told)
    dataset = dataset_manifest(store, validation=0.999999, test=0)
    found = column_statistics(store, dataset)
    assert found["action"].frames == 0
    assert statistics_warnings(found)[0] == "observation.state: no frame in the training split"


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.floats(-1e9, 1e9),
    st.integers(0, 2**32 - 1),
)
def test_merging_parts_loses_nothing(parts: list[int], offset: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    blocks = [offset + random.normal(size=(rows, 2)) for rows in parts]
    total = statistics._Total(2, 1, "float64")
    for block in blocks:
        total.add(block)
    values = np.concatenate(blocks)
    if len(values):
        found = total.statistics()
        assert found.mean == pytest.approx(values.mean(axis=0), rel=1e-12, abs=1e-12)
        assert found.std == pytest.approx(values.std(axis=0), rel=1e-5, abs=1e-6)


def test_statistics_are_no_part_of_the_identity(tmp_path: Path) -> None:
    store: Store = make_store(tmp_path / "s", episodes())
    manifest = build(store)
    assert manifest.statistics
    assert manifest.fingerprint == dataset_manifest(store).fingerprint


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float16"])
@pytest.mark.parametrize("shape", [(), (1,), (4,)])
@pytest.mark.parametrize("last_step", list(LastStep))
def test_actions_of_whole_numbers_have_statistics(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], last_step: LastStep
) -> None:
    random = np.random.default_rng(3)
    high = {"bool": 2, "int64": 2**40}.get(dtype, 100)
    told = [
        replace(episode, action=random.integers(high, size=(episode.length, *shape)).astype(dtype))
        for episode in episodes()
    ]
    how = How(last_step=last_step, action=(dtype, shape), per_slice=3)
    manifest = build(make_store(tmp_path / "s", told, how), validation=0.3, test=0.3)
    stop = None if last_step is LastStep.CARRIES_ACTION else -1
    own = np.concatenate([episode.action[:stop] for episode in training(told, (0.3, 0.3))])
    found = manifest.statistics["action"]
    assert found.missing == (0,) * max(1, *shape, 1)
    values = own.reshape(len(own), -1).astype(np.float64)
    assert found.mean == pytest.approx(values.mean(axis=0), rel=1e-12)
    assert found.std == pytest.approx(values.std(axis=0), rel=1e-9)
    assert found.min == tuple(values.min(axis=0))
    assert found.max == tuple(values.max(axis=0))
    assert found.p99 == pytest.approx(np.percentile(values, 99, axis=0), rel=1e-12)
