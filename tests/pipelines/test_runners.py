"""How errors come back from where they happened, and what may be asked of Beam."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from pipelines import jobs
from pipelines.runners import run_pipeline
from relabel.jobs.options import JobOptions, RunOptions, runner_arguments
from relabel.jobs.workers import limit_threads
from schemas.errors import EncoderError, FrameError, RelabelError, StoreError
from schemas.store import Store
from tests.pipelines import counted_encoders
from tests.pipelines.job_options import Embedding


def _raise(error: Exception) -> Any:
    def build(pipeline: beam.Pipeline) -> Any:
        def fail(_: int) -> None:
            raise error

        return pipeline | beam.Create([1]) | beam.Map(fail)

    return build


def _fail_with(error: Exception) -> Any:
    """As a runner raises what another process sent as text: with no cause but the text."""

    def build(pipeline: beam.Pipeline) -> None:
        def run() -> None:
            raise error

        pipeline.run = run

    return build


def test_an_error_of_ours_comes_back_as_it_was_raised() -> None:
    text = "slice 3: expected a frame\n  got none; [while running] is no part of it"
    with pytest.raises(FrameError) as caught:
        run_pipeline(_raise(FrameError(text)), RunOptions())
    assert str(caught.value) == text
    assert type(caught.value) is FrameError


def test_a_bug_is_not_turned_into_an_error_of_the_user() -> None:
    with pytest.raises(Exception, match="a bug") as caught:
        run_pipeline(_raise(ZeroDivisionError("a bug")), RunOptions())
    assert not isinstance(caught.value, RelabelError)


def test_an_error_in_a_slice_leaves_no_table_and_no_temporary_file(
    job: JobOptions, embedding: Embedding, store: Path
) -> None:
    with pytest.raises(EncoderError, match=r"^encoder broken: .* use float32$"):
        jobs.embed(job, embedding(encoder=counted_encoders.BrokenEncoder))
    opened = Store.open(str(store))
    assert opened.tables() == []
    assert list(store.rglob(".tmp-*")) == []
    assert list(store.rglob("slice-*")) == []


FIRST = "Traceback (most recent call last):\n  ...\nschemas.errors.FrameError: image: cut\n\n"
TRACEBACKS = {
    "alone": (FIRST, FrameError, "image: cut"),
    "of several lines": (FIRST.replace("cut", "cut:\n  here"), FrameError, "image: cut:\n  here"),
    "told again": (
        f"{FIRST}During handling of the above exception, another exception occurred:\n\n"
        + FIRST.replace("cut", "cut [while running 'Embed [2]/x']"),
        FrameError,
        "image: cut",
    ),
    "wrapped in one of ours": (
        f"{FIRST}The above exception was the direct cause of the following exception:\n\n"
        "  ...\nschemas.errors.StoreError: slice 3: broken\n",
        StoreError,
        "slice 3: broken",
    ),
    "wrapped in one of Beam's": (
        f"{FIRST}The above exception was the direct cause of the following exception:\n\n"
        "  ...\nRuntimeError: bundle failed\n",
        FrameError,
        "image: cut",
    ),
}


@pytest.mark.parametrize("case", TRACEBACKS)
def test_an_error_is_read_off_the_traceback_of_another_process(case: str) -> None:
    text, kind, message = TRACEBACKS[case]
    with pytest.raises(kind) as caught:
        run_pipeline(_fail_with(RuntimeError(text)), RunOptions())
    assert str(caught.value) == message


@pytest.mark.slow
@pytest.mark.usefixtures("workers_import_tests")
def test_an_error_in_one_of_two_worker_processes_comes_back_with_kind_and_text(
    job: JobOptions, embedding: Embedding
) -> None:
    with pytest.raises(RelabelError) as caught:
        jobs.embed(
            replace(job, run=RunOptions(2)), embedding(encoder=counted_encoders.BrokenEncoder)
        )
    assert type(caught.value) is EncoderError
    assert str(caught.value) == "encoder broken: an embedding is not finite; use float32"
    assert Store.open(job.store).tables() == []


@pytest.mark.parametrize("name", ["DirectRunner", "PrismRunner", "SwitchingDirectRunner"])
@pytest.mark.parametrize("form", ["--runner={}", "--runner {}"])
def test_runners_that_fetch_a_program_are_refused(name: str, form: str) -> None:
    with pytest.raises(RelabelError, match="leave --runner out to run locally"):
        runner_arguments(form.format(name).split(" "))


def test_other_beam_arguments_are_passed_on() -> None:
    words = ["--runner", "FlinkRunner", "--flink_master", "host:8081"]
    assert runner_arguments(words) == tuple(words)


def _blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_threads_that_a_slice_was_limited_to_are_given_back() -> None:
    def limited(_: int) -> None:
        limit_threads(1)
        assert _blas_threads() == {1}

    with threadpool_limits(2):
        run_pipeline(lambda pipeline: pipeline | beam.Create([1]) | beam.Map(limited), RunOptions())
        assert _blas_threads() == {2}
