"""Worker processes that die, and parents that die before their workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from pipelines import jobs
from pipelines.local_worker import MODULE
from pipelines.worker_watch import WorkerWatch
from relabel.jobs.options import JobOptions, RunOptions
from relabel.testing import load_pixel_mean_encoder
from schemas.errors import WorkerError
from tests.pipelines.job_options import Embedding
from tests.pipelines.store_checks import hashes, leftovers, problems

ROOT = Path(__file__).parents[2]


def _dies(code: int) -> None:
    """What Beam does where it waits for a worker process."""

    def wait() -> None:
        raise RuntimeError(f"Worker subprocess exited with return code {code}")

    threading.Thread(target=wait, name="run_worker").start()


@pytest.mark.parametrize(
    ("code", "told"), [(-9, "was killed (SIGKILL)"), (-77, "(signal 77)"), (3, "exit code 3")]
)
def test_a_runner_that_waits_for_a_dead_worker_is_not_waited_for(code: int, told: str) -> None:
    with WorkerWatch() as watch, pytest.raises(WorkerError) as caught:
        watch.run(lambda: (_dies(code), time.sleep(600)))
    assert told in str(caught.value)
    assert "the same command resumes" in str(caught.value)


def test_what_a_runner_returns_and_raises_comes_through() -> None:
    def fails() -> None:
        raise ZeroDivisionError("a bug")

    with WorkerWatch() as watch:
        assert watch.run(lambda: 7) == 7
    with WorkerWatch() as watch, pytest.raises(ZeroDivisionError, match="a bug"):
        watch.run(fails)


def test_a_death_that_is_told_after_the_runners_own_error_explains_it() -> None:
    def closed() -> None:
        threading.Timer(0.2, _dies, [-9]).start()
        raise RuntimeError("Channel closed prematurely.")

    with WorkerWatch() as watch:
        with pytest.raises(RuntimeError, match="Channel"):
            watch.run(closed)
        assert "SIGKILL" in str(watch.death())


def test_lost_connections_to_workers_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> None:
        raise grpc.RpcError

    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    with WorkerWatch() as watch:
        thread = threading.Thread(target=read, name="beam_control_read")
        watch.run(thread.start)
        thread.join()
    assert heard == []


def test_errors_of_other_threads_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    with WorkerWatch() as watch:
        thread = threading.Thread(target=lambda: 1 // 0, name="another")
        watch.run(thread.start)
        thread.join()
    assert [raised.exc_type for raised in heard] == [ZeroDivisionError]
    assert threading.excepthook == heard.append


def test_a_worker_whose_parent_is_gone_ends_before_it_has_begun() -> None:
    nobody = {"CONTROL_API_SERVICE_DESCRIPTOR": "url: 'localhost:1'", "PIPELINE_OPTIONS": "{}"}
    done = subprocess.run(
        [sys.executable, "-m", MODULE, str(os.getppid())],  # which is not its parent
        env={**os.environ, **nobody, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1


def test_a_worker_that_is_just_starting_is_ended_with_the_others() -> None:
    ended: list[int] = []

    def serve() -> None:
        time.sleep(0.3)  # the others are ended meanwhile
        words = [sys.executable, "-c", "import time; time.sleep(60)", MODULE]
        ended.append(subprocess.run(words, check=False).returncode)

    threading.Thread(target=serve, name="run_worker", daemon=True).start()
    with pytest.raises(WorkerError), WorkerWatch():
        raise WorkerError("another has died")
    assert ended == [-signal.SIGKILL]


def _kill_first_worker() -> None:
    while True:
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                if MODULE in child.cmdline():
                    child.kill()
                    return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("workers_import_tests")
def test_a_killed_worker_ends_the_job_and_the_same_job_goes_on(
    job: JobOptions, embedding: Embedding, tmp_path: Path
) -> None:
    what = embedding(encoder=load_pixel_mean_encoder)
    two = replace(job, run=RunOptions(2))
    threading.Thread(target=_kill_first_worker, daemon=True).start()
    with pytest.raises(WorkerError, match="a worker process was killed"):
        jobs.embed(two, what)
    assert not any(MODULE in child.cmdline() for child in psutil.Process().children())
    jobs.embed(job, what)
    whole = replace(job, store=str(tmp_path / "whole"))
    jobs.embed(whole, what)
    assert hashes(Path(job.store)) == hashes(Path(whole.store))
    assert leftovers(Path(job.store)) == problems(Path(job.store)) == []
