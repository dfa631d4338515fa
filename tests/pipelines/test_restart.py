"""The same bytes however a job came to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from pipelines import jobs
from relabel.encoders.registry import encoder_loader
from relabel.jobs.options import JobOptions, RunOptions
from schemas.errors import StoreError
from schemas.store import Store
from schemas.tables import matrix
from tests.pipelines import counted_encoders
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.small_source import write_source
from tests.pipelines.store_checks import hashes, leftovers, problems

ROOT = Path(__file__).parents[2]
RESUME = "vlm-relabel the same again"


@pytest.mark.slow
def test_two_worker_processes_write_the_same_bytes_as_one(
    tmp_path: Path, embedding: Embedding, scoring: Scoring, goals: Path, tiny_model: str
) -> None:
    load = encoder_loader(tiny_model, "cpu", "float32")
    what, rewards = embedding(encoder=load), scoring(encoder=load)
    for workers in (1, 2):
        run = RunOptions(workers)
        jobs.relabel(JobOptions(str(tmp_path / str(workers)), run, threads=1), what, rewards)
    assert (
        len(hashes(tmp_path / "1")) == 4 * 4 + 2
    )  # 4 slices of 4 tables, the goals, and their texts
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")
    assert problems(tmp_path / "2") == []


@pytest.mark.slow
@pytest.mark.usefixtures("workers_import_tests")
def test_a_worker_process_computes_with_the_threads_it_was_given(
    job: JobOptions, embedding: Embedding
) -> None:
    two = replace(job, run=RunOptions(2), threads=1)
    jobs.embed(two, embedding(encoder=counted_encoders.load_thread_probe))
    store = Store.open(job.store)
    told = matrix(store.read(store.embeddings()[0].table).column("embedding"))
    assert set(told.argmax(axis=1) + 1) == {1}


# --- killed -----------------------------------------------------------------------------------

SCRIPT = """
import sys
from tests.pipelines.counted_encoders import SlowEncoder
from pipelines import jobs
from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions

source, goals, store, command = sys.argv[1:]
jobs.relabel(
    JobOptions(store, threads=1, command=command),
    EmbedOptions(source, "train", ("front",), SlowEncoder, batch_size=2, episodes_per_slice=1),
    ScoreOptions(SlowEncoder, goals),
)
"""


def _kill_in_mid_run(source: Path, goals: Path, store: Path) -> None:
    """Runs the job in a process and kills it when two of its six slices have embeddings."""
    words = [sys.executable, "-c", SCRIPT, str(source), str(goals), str(store), RESUME]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(list(store.glob("embeddings/*/slice-*"))) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        while not list(store.glob("embeddings/*/.tmp-*")):  # the next slice has begun
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def long_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("long"), (3, 4, 2, 3, 4, 3), (6,))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, long_source: Path, goals: Path) -> Path:
    """A store whose job was killed; read-only."""
    store = tmp_path_factory.mktemp("killed") / "store"
    _kill_in_mid_run(long_source, goals, store)
    return store


@pytest.mark.slow
def test_after_a_kill_no_table_looks_whole(killed: Path) -> None:
    store = Store.open(str(killed))
    assert store.tables() == []
    assert [name.split("/")[0] for name in store.unfinished()] == [
        "embeddings", "episodes", "rewards", "steps",
    ]  # fmt: skip
    for table in store.unfinished():
        with pytest.raises(StoreError, match=f"resume it with:\n  {RESUME}"):
            store.read(table)
    assert all(RESUME in problem for problem in problems(killed))
    assert len(problems(killed)) == 4


@pytest.mark.slow
def test_after_a_kill_every_slice_that_has_its_name_is_whole(killed: Path) -> None:
    temporary = list(killed.rglob(".tmp-*"))
    assert temporary
    assert not [path for path in temporary if path.match("slice-*.parquet")]
    for folder in {path.parent for path in temporary}:
        store = Store.open(str(killed))
        named = list(folder.glob("slice-*.parquet"))
        rows = [store.rows(str(folder.relative_to(killed)), path.name) for path in named]
        assert rows
        assert min(rows) > 0


@pytest.mark.slow
def test_after_a_kill_duckdb_reads_no_temporary_file(killed: Path) -> None:
    # Unlike a shell's, DuckDB's * takes hidden files.
    folder = next(path.parent for path in killed.rglob(".tmp-*"))
    count = len(list(folder.glob("slice-*.parquet")))
    read = duckdb.sql(f"select distinct filename from read_parquet('{folder}/*.parquet')")
    assert len(read.fetchall()) == count


@pytest.mark.slow
def test_resumed_after_a_kill_the_bytes_are_those_of_an_unbroken_run(
    tmp_path: Path, killed: Path, long_source: Path, embedding: Embedding, scoring: Scoring
) -> None:
    done_already = {name for name in hashes(killed) if "/slice-" in name}
    what = embedding(source=str(long_source))
    whole = JobOptions(str(tmp_path / "whole"), threads=1)
    jobs.relabel(whole, what, scoring())
    counted_encoders.frames.clear()
    resumed = jobs.relabel(replace(whole, store=str(killed)), what, scoring())
    assert hashes(killed) == hashes(tmp_path / "whole")
    assert sum(counted_encoders.frames) <= 19 - 3 - 4  # two slices were there
    assert resumed.slices_new <= 4
    assert done_already < set(hashes(killed))
    assert leftovers(killed) == []
    assert problems(killed) == []
