"""Worker pools of Beam, as stand on the machines of a cluster (environment EXTERNAL), and one door.

A pool starts workers where it runs. The door, which a runner is given the address of, asks one pool
after the other, as a cluster's load balancer does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import psutil
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.transforms.environments import ExternalEnvironment

MODULE = "tests.pipelines.pools"
ROOT = Path(__file__).parents[2]


def without_proxies() -> dict[str, str]:
    """This process's environment; gRPC would look for workers behind the proxies that it names."""
    return {name: value for name, value in os.environ.items() if "_proxy" not in name.lower()}


class _Door(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
    def __init__(self, pools: Sequence[str]) -> None:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub
        self._next = itertools.cycle([stub(grpc.insecure_channel(pool)) for pool in pools])

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        return next(self._next).StartWorker(request, timeout=60, wait_for_ready=True)


@contextmanager
def door(pools: Sequence[str], host: str = "127.0.0.1") -> Iterator[str]:
    """Address of a door to pools."""
    server = grpc.server(ThreadPoolExecutor(4))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_Door(pools), server)
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        yield f"{host}:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def pool(*, threads: bool, host: str = "127.0.0.1", before: Sequence[str] = ()) -> Iterator[str]:
    """Address of a pool, in a process of its own, that ends with all that it has started.

    Args:
        threads: its workers are threads of that process; else each is a process of its own.
        host: how the pool is reached.
        before: words in front of the command, such as `ip netns exec NAME`.
    """
    words = [*before, sys.executable, "-m", MODULE, *(["--threads"] if threads else [])]
    # Beam's pool starts its workers as `python`.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        words,
        env={**without_proxies(), "PYTHONPATH": str(ROOT), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd="/",  # nothing relative means the same here
    )
    try:
        assert process.stdout is not None
        yield f"{host}:{int(process.stdout.readline())}"
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        for one in (*children, process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


@contextmanager
def pools(count: int, *, threads: bool) -> Iterator[str]:
    """Address of the door to some pools on this machine."""
    with ExitStack() as stack:
        each = [stack.enter_context(pool(threads=threads)) for _ in range(count)]
        yield stack.enter_context(door(each))


def workers() -> list[psutil.Process]:
    """Processes that the pools of this one have started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("SdkHarness" in word for word in process.cmdline()):
                found.append(process)
    return found


class PoolRunner(fn_runner.FnApiRunner):  # type: ignore[misc]
    """Beam's FnApiRunner, with workers that a pool starts."""

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> Any:
        """Runs it with the pool that `--environment_config` is the address of."""
        address = options.view_as(PortableOptions).environment_config
        self._default_environment = ExternalEnvironment(address)
        return super().run_pipeline(pipeline, options)


def runner_words(address: str, workers: int) -> tuple[str, ...]:
    """Beam arguments: so many workers of a pool."""
    return (
        *("--runner", f"{MODULE}.PoolRunner", "--environment_config", address),
        *("--direct_num_workers", str(workers)),
    )


def job_server_words(address: str) -> tuple[str, ...]:
    """Beam arguments: by the protocol of job servers, as with Flink and Spark, to Beam's own.

    It asks a pool for one worker.
    """
    return (
        *("--runner", "PortableRunner", "--job_endpoint", "embed"),
        *("--environment_type", "EXTERNAL", "--environment_config", address),
    )


def _serve(threads: bool, wait: Callable[[], Any]) -> None:
    address, _server = BeamFnExternalWorkerPoolServicer.start(use_process=not threads)
    sys.stdout.write(f"{address.rpartition(':')[2]}\n")
    sys.stdout.flush()
    wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", action="store_true")
    _serve(parser.parse_args().threads, threading.Event().wait)
