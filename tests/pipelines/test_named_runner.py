"""Runners that are named: found by name, and refused in one sentence before anything is written."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.runner import PipelineRunner

from pipelines import jobs
from pipelines.named_runner import NamedRunner, find_runner
from pipelines.profiles import job_profile
from pipelines.runners import run_elsewhere
from relabel.jobs import run
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.report import PROFILE
from relabel.jobs.work import Engine, Work, in_this_process
from schemas.errors import FrameError, RelabelError, RunnerError
from tests.pipelines.job_options import Embedding

DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
HERE = "tests.pipelines.test_named_runner"


class Broken(PipelineRunner):
    """Fails as runners do: with text of several lines, in a kind of its own."""

    def run_pipeline(self, pipeline: beam.Pipeline, options: Any) -> Any:
        raise ConnectionError("the master\n  is not\n\nthere")


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("--runner", "dask"), DASK),
        (("--runner=DaskRunner",), DASK),
        (("--runner=daskrunner", "--dask_npartitions", "3"), DASK),
        (("--runner", DASK), DASK),
        (("--runner", f"{HERE}.Broken"), f"{HERE}.Broken"),
        (
            ("--runner=FlinkRunner", "--flink_master", "host:8081", "--of_the_job_server", "3"),
            "apache_beam.runners.portability.flink_runner.FlinkRunner",
        ),
    ],
)
def test_a_runner_is_found_by_its_name(words: tuple[str, ...], path: str) -> None:
    assert find_runner(words) == NamedRunner(path.rpartition(".")[2], path)


@pytest.mark.parametrize("words", [(), ("--runner", "FnApiRunner"), ("--runner=fnapi",)])
def test_the_local_runner_is_nobody_elses(words: tuple[str, ...]) -> None:
    assert find_runner(words) is None


def _closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{taken.getsockname()[1]}"


REFUSED = {
    "unknown": (("--runner", "DaskRuner"), "--runner DaskRuner: unknown; FnApiRunner, which"),
    "no module": (("--runner", "no.such.Runner"), "no.such.Runner cannot be imported"),
    "no class": (("--runner", "json.Runner"), "json.Runner cannot be imported"),
    "no runner": (("--runner", "json.JSONDecoder"), "json.JSONDecoder is no PipelineRunner"),
    "no name": (("--runner",), "Beam's options: argument --runner: expected one argument"),
    "mistyped": (("--runer", "dask"), "--runer dask: no option of Beam or of FnApiRunner"),
    "of another": (("--runner", "dask", "--dask_adress", "x"), "--dask_adress x: no option of"),
    "no number": (("--runner", "dask", "--dask_npartitions", "q"), "invalid int value: 'q'"),
    "missing": (("--runner", "DataflowRunner"), "Missing required option: project"),
    "not there": (
        ("--runner=dask", "--dask_connection_timeout=1", "--dask_client_address", _closed_port()),
        "--runner DaskRunner: no scheduler at tcp://127.0.0.1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_in_one_sentence_before_anything_is_written(
    job: JobOptions, embedding: Embedding, case: str
) -> None:
    words, said = REFUSED[case]
    with pytest.raises(RunnerError) as caught:
        jobs.embed(replace(job, run=RunOptions(beam_args=words)), embedding())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path(job.store).exists()


def test_threads_must_be_given_and_workers_must_not(job: JobOptions, embedding: Embedding) -> None:
    dask = RunOptions(beam_args=("--runner", "dask"))
    with pytest.raises(RunnerError, match=r"^--threads: missing; with --runner DaskRunner"):
        jobs.embed(replace(job, threads=None, run=dask), embedding())
    with pytest.raises(RunnerError, match=r"^--workers 2: counts processes of the local runner"):
        jobs.embed(replace(job, run=replace(dask, workers=2)), embedding())
    assert not Path(job.store).exists()


def test_an_error_of_a_runner_is_one_sentence(job: JobOptions, embedding: Embedding) -> None:
    broken = RunOptions(beam_args=("--runner", f"{HERE}.Broken"))
    with pytest.raises(RunnerError) as caught:
        jobs.embed(replace(job, run=broken), embedding())
    assert str(caught.value) == "Broken: ConnectionError: the master is not there"


def test_an_error_of_a_slice_comes_back_from_a_runner_as_it_was_raised() -> None:
    class Raising:
        def run(self) -> Any:
            try:
                raise FrameError("image: cut")
            except FrameError as error:
                raise RuntimeError("bundle failed") from error

    def build(pipeline: beam.Pipeline) -> None:
        pipeline.run = Raising().run

    with pytest.raises(RelabelError) as caught:
        run_elsewhere(build, NamedRunner("Broken", f"{HERE}.Broken"), RunOptions(), lambda r: r)
    assert type(caught.value) is FrameError
    assert str(caught.value) == "image: cut"


def test_a_runner_without_metrics_has_no_profile_and_says_so(
    job: JobOptions, embedding: Embedding
) -> None:
    class Finished:
        def metrics(self) -> Any:
            raise NotImplementedError

    def carried(work: Work, options: RunOptions) -> Any:
        in_this_process(work, options)
        return job_profile(Finished())

    engine = Engine("Beam, OddRunner", carried, elsewhere=True)
    done = run.embed(replace(job, profile=True), embedding(), engine)
    assert done.profile is None
    assert done.notes[-1].startswith("--profile: Beam, OddRunner has told no times of stages")
    assert not (Path(job.store) / PROFILE).exists()
