"""What a job sends to its workers: descriptions and places, never what is embedded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import cloudpickle
import dask
import pytest
from apache_beam.runners.dask.dask_runner import DaskRunner
from apache_beam.runners.dask.overrides import dask_overrides
from apache_beam.runners.portability.fn_api_runner import fn_runner

from pipelines import jobs
from relabel.jobs.calibrate import CalibrateOptions, Output, calibrate
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.sent import as_planned, to_send
from schemas.errors import StoreError
from schemas.goals import GoalSet
from schemas.labels import Labels
from schemas.store import BINDING, PLAN, Store
from tests.pipelines import counted_encoders
from tests.pipelines.job_options import Embedding, Scoring

Build = Callable[[beam.Pipeline], Any]
GOALS = 2000
MOST_BYTES = 1 << 20  # of a job's graph; Dataflow takes twenty times as much


def dask_graph(build: Build) -> bytes:
    """As Beam's runner on Dask sends it to the scheduler."""
    pipeline = beam.Pipeline(runner=DaskRunner())
    build(pipeline)
    pipeline.replace_all(dask_overrides())
    visitor: Any = DaskRunner.to_dask_bag_visitor({"partition_size": 1})
    pipeline.visit(visitor)
    (last,) = dask.optimize(list(visitor.bags.values())[-1])
    return bytes(cloudpickle.dumps(dict(last.__dask_graph__())))


def portable_graph(build: Build) -> bytes:
    """As it is sent to Dataflow, and to job servers of Flink and Spark."""
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner())
    build(pipeline)
    return bytes(pipeline.to_runner_api().SerializeToString())


@pytest.fixture
def graph_sizes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Bytes of the graphs of every job that is sent away; none is run."""
    sizes: list[list[int]] = []

    def measured(build: Build, *_: Any) -> dict[str, float]:
        sizes.append([len(dask_graph(build)), len(portable_graph(build))])
        return {}

    monkeypatch.setattr(jobs, "run_elsewhere", measured)
    return sizes


def _goals(count: int) -> GoalSet:
    return GoalSet.from_texts([f"goal number {number:04d}" for number in range(count)])


def test_embedded_goals_are_not_in_the_graph(
    job: JobOptions, embedding: Embedding, scoring: Scoring, graph_sizes: list[list[int]]
) -> None:
    encoder = counted_encoders.TellingEncoder
    jobs.embed(job, embedding(encoder=encoder))
    away = replace(job, run=RunOptions(beam_args=("--runner", "dask")))
    for count in (2, GOALS):
        with pytest.raises(StoreError, match="4 of 4 slices are missing"):  # nothing has run
            jobs.score(away, scoring(encoder=encoder, goals=_goals(count), name=f"of{count:04d}"))
    few, many = graph_sizes
    assert max(many) < MOST_BYTES
    assert [abs(b - a) < 1000 for a, b in zip(few, many, strict=True)] == [True, True]
    kept = Path(job.store) / "rewards" / f"of{GOALS:04d}" / BINDING
    assert kept.stat().st_size > GOALS * 4 * 4, "it is the store that holds them"


def _labels(store: Store, rewards: str) -> Labels:
    """Of two goals on a few frames, now true and now not."""
    frames = store.read("steps", ["episode_id", "step"]).slice(0, 8).to_pylist()
    goals = store.goals(rewards).column("goal_id").to_pylist()[:2]
    rows = ((f["episode_id"], f["step"], goal) for goal in goals for f in frames)
    return Labels.of_rows((*row, place % 3 == 0) for place, row in enumerate(rows))


@pytest.mark.parametrize("output", ["thresholds", "probabilities"])
def test_fitted_numbers_are_not_in_the_graph(
    job: JobOptions,
    embedding: Embedding,
    scoring: Scoring,
    graph_sizes: list[list[int]],
    output: Output,
) -> None:
    encoder = counted_encoders.TellingEncoder
    jobs.embed(job, embedding(encoder=encoder))
    away = replace(job, run=RunOptions(beam_args=("--runner", "dask")))
    method: Any = "valley" if output == "thresholds" else "platt"
    for count in (2, GOALS):
        base, name = f"of{count:04d}", f"fit{count:04d}"
        jobs.score(job, scoring(encoder=encoder, goals=_goals(count), name=base))
        labels = None if method == "valley" else _labels(Store.open(job.store), base)
        what = CalibrateOptions(base, name, labels=labels, method=method, output=output)
        with pytest.raises(StoreError, match="4 of 4 slices are missing"):  # nothing has run
            calibrate(away, what, jobs.with_beam)
    few, many = graph_sizes
    assert [abs(b - a) < 1000 for a, b in zip(few, many, strict=True)] == [True, True]
    plan = Path(job.store) / "rewards" / f"fit{GOALS:04d}" / PLAN
    assert plan.stat().st_size > GOALS * 4, "it is the store that holds them"


def test_what_is_sent_is_whole_again_in_a_worker(
    job: JobOptions, embedding: Embedding, scoring: Scoring
) -> None:
    jobs.relabel(job, embedding(), scoring())
    store = Store.open(job.store)
    for manifest in map(store.table_manifest, store.tables()):
        assert as_planned(store, to_send(manifest)) == manifest
        assert as_planned(store, manifest) is manifest
    sent = to_send(store.rewards("v1"))
    assert sent.function == {}
    store.folder.delete_folder("rewards/v1")
    with pytest.raises(StoreError, match=r"rewards/v1: was begun and is gone"):
        as_planned(store, sent)


def test_what_workers_score_with_is_gone_when_the_table_is_complete(
    job: JobOptions, embedding: Embedding, scoring: Scoring
) -> None:
    jobs.relabel(job, embedding(), scoring())
    assert list(Path(job.store).rglob("*.npz")) == []


def test_the_measure_can_fail(
    job: JobOptions, embedding: Embedding, graph_sizes: list[list[int]]
) -> None:
    """What a stage holds is in both graphs."""
    away = replace(job, run=RunOptions(beam_args=("--runner", "dask")))
    for size in (0, 1 << 20):
        encoder = counted_encoders.Heavy(os.urandom(size))
        where = replace(away, store=f"{job.store}-{size}")
        with pytest.raises(StoreError, match="slices are missing"):
            jobs.embed(where, embedding(encoder=encoder))
    small, large = graph_sizes
    assert [b - a > 1 << 20 for a, b in zip(small, large, strict=True)] == [True, True]
