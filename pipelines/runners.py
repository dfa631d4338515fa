"""Which Beam runner a job runs on, and how its errors come back."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final, TypeVar, cast

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from threadpoolctl import threadpool_limits

from pipelines.dask_cluster import closing_dask, dask_defaults
from pipelines.local_worker import command
from pipelines.named_runner import NamedRunner, without_runner
from pipelines.worker_watch import WorkerWatch
from relabel.jobs.options import RunOptions
from schemas import errors
from schemas.errors import RelabelError, RunnerError

T = TypeVar("T")

_LONGEST: Final = 500  # characters of a runner's own error
_SUFFIX: Final = re.compile(r" \[while running '[^']*'\]$")  # that Beam adds to a message
# In the tracebacks that a worker process sent as text: where one of our errors is told, and
# where what it says ends. Beam raises it several times over, each "during handling of" the last.
_RAISED: Final = re.compile(r"^schemas\.errors\.(\w+): ", re.MULTILINE)
_SAID: Final = re.compile(
    r".*?(?= \[while running '|\n\n(?:During handling of|The above exception)|\Z)", re.DOTALL
)


def run_pipeline(build: Callable[[beam.Pipeline], Any], options: RunOptions) -> Any:
    """Builds a pipeline and runs it on this machine; Beam's result, with its metrics.

    That is the FnApiRunner, in this process or with worker processes. `DirectRunner` is not used:
    it now means Prism, which fetches a binary and ignores the worker options.

    Raises:
        RelabelError: what a worker raised, of the same kind and with the same text.
        WorkerError: a local worker process died.
    """
    beam_options = _local_options(options)
    run = _built(build, _local_runner(beam_options, options.workers), beam_options)
    if options.workers > 1:
        return _run_with_workers(run)
    try:
        with threadpool_limits(None):  # puts back what slices change in this process
            return run()
    except Exception as error:  # runners wrap what a worker raised in kinds of their own
        raise _unwrapped(error) from error


def run_elsewhere(
    build: Callable[[beam.Pipeline], Any],
    runner: NamedRunner,
    options: RunOptions,
    take: Callable[[Any], T],
) -> T:
    """Builds a pipeline and runs it on a runner that was named.

    Args:
        build: adds the transforms.
        runner: carries them.
        options: with the runner's own.
        take: what is wanted of Beam's result, which is closed then.

    Raises:
        RelabelError: what a worker raised, of the same kind and with the same text.
        RunnerError: the runner failed.
    """
    words = [*options.beam_args, *(dask_defaults(options.beam_args) if runner.is_dask else ())]
    beam_options = PipelineOptions([*without_runner(words), "--runner", runner.path])
    opened: list[Any] = []
    try:
        with closing_dask(opened) if runner.is_dask else nullcontext():
            return take(_built(build, runner.path, beam_options, opened.append)())
    except Exception as error:  # as above
        known = _unwrapped(error)
        if isinstance(known, RelabelError):
            raise known from error
        raise RunnerError(f"{runner.name}: {_brief(error)}") from error


def _built(
    build: Callable[[beam.Pipeline], Any],
    runner: Any,
    options: PipelineOptions,
    begun: Callable[[Any], None] = lambda result: None,
) -> Callable[[], Any]:
    """A function that runs the pipeline to its end."""
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # raised as well
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline)

    def run() -> Any:
        result = pipeline.run()
        begun(result)
        result.wait_until_finish()
        return result

    return run


def _run_with_workers(run: Callable[[], Any]) -> Any:
    with WorkerWatch() as watch:
        try:
            return watch.run(run)
        except Exception as error:  # as above
            known = _unwrapped(error)
            if known is error and (death := watch.death()):
                raise death from error
            raise known from error


def _local_options(options: RunOptions) -> PipelineOptions:
    local = ["--direct_num_workers", str(options.workers)]
    if options.workers > 1:
        # What a worker raises is raised here again; its log would print the traceback twice.
        local += ["--default_sdk_harness_log_level", "CRITICAL"]
    return PipelineOptions([*local, *without_runner(options.beam_args)])


def _brief(error: BaseException) -> str:
    """What a runner raised, in one line; of a traceback that came as text, its last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[-1:] if "Traceback (most recent call last)" in str(error) else lines
    text = " ".join([f"{type(error).__name__}:", *told])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _local_runner(options: PipelineOptions, workers: int) -> fn_runner.FnApiRunner:
    # Worker processes learn the pipeline options from the provisioning information.
    from apache_beam.portability.api import beam_provision_api_pb2

    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(
        None if workers == 1 else SubprocessSDKEnvironment.from_command_string(command()),
        provision_info=fn_runner.ExtendedProvisionInfo(info),
    )


def _unwrapped(error: BaseException) -> BaseException:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RelabelError):
            return type(cause)(_SUFFIX.sub("", str(cause)))
        cause = cause.__cause__
    text = str(error)
    found = list(_RAISED.finditer(text))
    if not found:
        return error
    kind = getattr(errors, found[-1][1], RelabelError)
    said = cast(re.Match[str], _SAID.match(text, found[-1].end()))[0].strip()
    return kind(said) if issubclass(kind, RelabelError) else error
