"""A worker process holds one model, however many threads of it work, and a counter tells so."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter

from pipelines import jobs
from pipelines.guests import Guest
from pipelines.named_runner import find_runner
from pipelines.runners import run_elsewhere, run_pipeline
from pipelines.transforms import EmbedSlices
from relabel.jobs.options import EmbedOptions, JobOptions, RunOptions
from relabel.jobs.work import EmbedWork, Engine, Work
from relabel.testing import PixelMeanEncoder
from schemas.store import Store
from tests.pipelines import pools, small_source

SLICES = 12


@dataclass(frozen=True)
class Noted:
    """Loads an encoder, and leaves a file of its process's number for each time that it does."""

    folder: str

    def __call__(self) -> PixelMeanEncoder:
        Path(self.folder, f"{os.getpid()}-{uuid4().hex}").touch()
        return PixelMeanEncoder()

    def processes(self) -> list[int]:
        """That have loaded it, once for each time."""
        return sorted(int(path.name.partition("-")[0]) for path in Path(self.folder).iterdir())


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    folder = tmp_path / "loads"
    folder.mkdir()
    return Noted(str(folder))


@pytest.fixture
def many(tmp_path: Path) -> EmbedOptions:
    source = small_source.write_source(tmp_path / "source", [3] * SLICES, [SLICES])
    return EmbedOptions(
        source=str(source),
        split="train",
        cameras=("front",),
        encoder=PixelMeanEncoder,
        batch_size=2,
        episodes_per_slice=1,
    )


def _loads(result: Any) -> int:
    found = result.metrics().query(MetricsFilter().with_name("encoders_loaded"))
    return sum(int(counter.result) for counter in found["counters"])


def _embed(
    many: EmbedOptions, store: Path, noted: Noted, run: Callable[[Any, EmbedWork], Any]
) -> int:
    """Loads by the counter, of a job that is run by `run`."""
    counted = []

    def execute(work: Work, _: RunOptions) -> dict[str, float]:
        embed = work.embed
        assert embed is not None
        assert embed.encoder is not None
        embed = replace(embed, encoder=replace(embed.encoder, load=noted, key=uuid4().hex))

        def build(guest: Guest | None, pipeline: beam.Pipeline) -> None:
            groups = [(piece,) for piece in work.slices]
            pipeline | beam.Create(groups) | beam.Reshuffle() | EmbedSlices(embed, guest)

        counted.append(_loads(run(build, embed)))
        return {}

    options = JobOptions(str(store), threads=1)
    with pytest.raises(Exception, match="cannot be completed"):  # no table is ended
        jobs.run.embed(options, many, Engine("counting", execute))
    embeddings = Store.open(str(store)).unfinished()
    assert any(table.startswith("embeddings/") for table in embeddings)
    assert len(list(store.glob("embeddings/*/slice-*"))) == SLICES
    return counted[0]


@pytest.mark.slow
@pytest.mark.usefixtures("workers_import_tests")
def test_threads_of_a_worker_process_share_a_model(
    many: EmbedOptions, noted: Noted, tmp_path: Path
) -> None:
    def run(build: Any, _: EmbedWork) -> Any:
        with pools.pools(2, threads=True) as address:  # two processes, each with three workers
            options = RunOptions(beam_args=pools.runner_words(address, workers=6))
            runner = find_runner(options.beam_args)
            assert runner is not None
            return run_elsewhere(lambda p: build(Guest(), p), runner, options, lambda r: r)

    assert _embed(many, tmp_path / "store", noted, run) == 2
    loaded = noted.processes()
    assert len(loaded) == len(set(loaded)) == 2
    assert os.getpid() not in loaded


@pytest.mark.slow
@pytest.mark.usefixtures("workers_import_tests")
@pytest.mark.parametrize("workers", [1, 2])
def test_each_local_worker_process_has_one(
    workers: int, many: EmbedOptions, noted: Noted, tmp_path: Path
) -> None:
    def run(build: Any, _: EmbedWork) -> Any:
        return run_pipeline(lambda p: build(None, p), RunOptions(workers))

    assert _embed(many, tmp_path / "store", noted, run) == workers
    loaded = noted.processes()
    assert len(loaded) == len(set(loaded)) == workers
    assert (os.getpid() in loaded) == (workers == 1)
