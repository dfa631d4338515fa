"""The contract of engines: every job on every one writes the same bytes, whoever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relabel.jobs import run
from relabel.jobs.finishing import FinishOptions, finish
from relabel.jobs.options import (
    EmbedOptions,
    GoalDatasetOptions,
    JobOptions,
    RunOptions,
    ScoreOptions,
)
from relabel.jobs.parts import Part
from relabel.testing import load_pixel_mean_encoder
from schemas.errors import EncoderError, RelabelError, RunnerError, WorkerError
from schemas.store import Store
from tests.pipelines import counted_encoders, engines, small_source
from tests.pipelines.engines import Carrier, Killer
from tests.pipelines.store_checks import leftovers, problems

pytestmark = pytest.mark.slow

SLICES = 24
Job = Callable[[JobOptions, Carrier], Any]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> EmbedOptions:
    """A source of many short episodes, a slice each."""
    place = tmp_path_factory.mktemp("engines")
    source = small_source.write_source(place / "source", [3] * SLICES, [SLICES // 2] * 2)
    return EmbedOptions(
        source=str(source),
        split="train",
        cameras=("front",),
        encoder=load_pixel_mean_encoder,
        batch_size=2,
        episodes_per_slice=1,
    )


@pytest.fixture(scope="module")
def scored(goals: Path) -> ScoreOptions:
    return ScoreOptions(encoder=load_pixel_mean_encoder, goals=str(goals))


@pytest.fixture(scope="module")
def ways(many: EmbedOptions, scored: ScoreOptions) -> dict[str, tuple[tuple[str, Job], ...]]:
    """Jobs by store, in order, each with the table that it commits last."""
    dataset = GoalDatasetOptions("gc1")
    table, embedded = "rewards/v1", "embeddings/*"
    return {
        "step by step": (
            (embedded, lambda options, c: run.embed(options, many, c.execute)),
            (table, lambda options, c: run.score(options, scored, c.execute)),
            ("goal_datasets/gc1", lambda options, c: run.build_goals(options, dataset, c.execute)),
        ),
        "in one pass": ((table, lambda options, c: run.relabel(options, many, scored, c.execute)),),
    }


@pytest.fixture(scope="module")
def expected(
    tmp_path_factory: pytest.TempPathFactory, ways: dict[str, tuple[tuple[str, Job], ...]]
) -> dict[str, dict[str, bytes]]:
    """What each way writes in this process, without Beam."""
    place = tmp_path_factory.mktemp("expected")
    with engines.alone() as carrier:
        for way, jobs in ways.items():
            for _, job in jobs:
                job(_options(place / way, carrier), carrier)
    return {way: contents(place / way) for way in ways}


@pytest.fixture(scope="module", params=engines.ENGINES)
def carrier(request: pytest.FixtureRequest) -> Iterator[Carrier]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(engines.ROOT))
        with engines.ENGINES[request.param]() as opened:
            yield opened


def _options(store: Path, carrier: Carrier) -> JobOptions:
    return JobOptions(str(store), run=carrier.run, threads=1, command="vlm-relabel the same again")


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store: tables, goals and manifests."""
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def _check(store: Path, expected: dict[str, bytes]) -> None:
    found = contents(store)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert leftovers(store) == problems(store) == []
    assert Store.open(str(store)).unfinished() == []


@pytest.mark.parametrize("way", ["step by step", "in one pass"])
def test_every_engine_writes_the_same_bytes(
    way: str,
    ways: Any,
    expected: Any,
    carrier: Carrier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # workers have directories of their own
    options = _options(Path("store"), carrier)
    for _, job in ways[way]:
        if carrier.parts == 1:
            job(options, carrier)
            continue
        for number in range(carrier.parts, 0, -1):
            job(replace(options, part=Part(number, carrier.parts)), carrier)
        finish(FinishOptions(options.store))
    _check(tmp_path / "store", expected[way])


@pytest.mark.parametrize("way", ["step by step", "in one pass"])
def test_a_worker_that_is_killed_in_the_middle_changes_nothing(
    way: str, ways: Any, expected: Any, carrier: Carrier, tmp_path: Path
) -> None:
    if carrier.workers is None:
        pytest.skip("no process but that of this test: tests of commands and tests/torture kill it")
    store = tmp_path / "store"
    for table, job in ways[way]:
        options = _options(store, carrier)
        with Killer(carrier, store, table) as killer:
            if carrier.goes_on:
                job(options, carrier)
            else:
                with pytest.raises((WorkerError, RunnerError), match=r"was killed|Channel closed"):
                    job(options, carrier)
        assert killer.committed is not None
        assert killer.committed < SLICES, f"{table}: the worker was killed too late"
        if not carrier.goes_on:  # another engine may go on where this one was
            job(replace(options, run=RunOptions()), Carrier())
    _check(store, expected[way])


def test_what_a_slice_raises_comes_back_as_it_was_raised(
    many: EmbedOptions, carrier: Carrier, tmp_path: Path
) -> None:
    broken = replace(many, encoder=counted_encoders.BrokenEncoder)
    with pytest.raises(RelabelError) as caught:
        run.embed(_options(tmp_path / "store", carrier), broken, carrier.execute)
    assert type(caught.value) is EncoderError
    assert str(caught.value) == "encoder broken: an embedding is not finite; use float32"
    assert Store.open(str(tmp_path / "store")).tables() == []
