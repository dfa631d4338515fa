"""Which Beam runner a job runs on, and how its errors come back."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final, cast

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from threadpoolctl import threadpool_limits

from pipelines.local_worker import command
from pipelines.worker_watch import WorkerWatch
from relabel.jobs.options import RunOptions
from schemas import errors
from schemas.errors import RelabelError

_SUFFIX: Final = re.compile(r" \[while running '[^']*'\]$")  # that Beam adds to a message
# In the tracebacks that a worker process sent as text: where one of our errors is told, and
# where what it says ends. Beam raises it several times over, each "during handling of" the last.
_RAISED: Final = re.compile(r"^schemas\.errors\.(\w+): ", re.MULTILINE)
_SAID: Final = re.compile(
    r".*?(?= \[while running '|\n\n(?:During handling of|The above exception)|\Z)", re.DOTALL
)


def run_pipeline(build: Callable[[beam.Pipeline], Any], options: RunOptions) -> Any:
    """Builds a pipeline and runs it to its end; Beam's result, with its metrics.

    Without a `--runner` among the Beam arguments, the in-process FnApiRunner is used.
    `DirectRunner` is not: it now means Prism, which fetches a binary and ignores the worker
    options.

    Raises:
        RelabelError: what a worker raised, of the same kind and with the same text.
        WorkerError: a local worker process died.
    """
    beam_options = _beam_options(options)
    named = beam_options.view_as(StandardOptions).runner
    runner = named or _local_runner(beam_options, options.workers)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # raised as well
    pipeline = beam.Pipeline(runner=runner, options=beam_options)
    build(pipeline)

    def run() -> Any:
        result = pipeline.run()
        result.wait_until_finish()
        return result

    if named is None and options.workers > 1:
        return _run_with_workers(run)
    try:
        with threadpool_limits(None):  # puts back what slices change in this process
            return run()
    except Exception as error:  # runners wrap what a worker raised in kinds of their own
        raise _unwrapped(error) from error


def _run_with_workers(run: Callable[[], Any]) -> Any:
    with WorkerWatch() as watch:
        try:
            return watch.run(run)
        except Exception as error:  # as above
            known = _unwrapped(error)
            if known is error and (death := watch.death()):
                raise death from error
            raise known from error


def _beam_options(options: RunOptions) -> PipelineOptions:
    local = ["--direct_num_workers", str(options.workers)]
    if options.workers > 1:
        # What a worker raises is raised here again; its log would print the traceback twice.
        local += ["--default_sdk_harness_log_level", "CRITICAL"]
    return PipelineOptions([*local, *options.beam_args])


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
