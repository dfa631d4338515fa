"""What Beam's runner on Dask needs beside Beam: sensible partitions, a look ahead, and an end.

Imports Dask only where a job runs on it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions

from schemas.errors import RunnerError

_PARTITIONS: Final = ("--dask_npartitions", "--dask_partition_size")


def dask_defaults(words: Sequence[str]) -> tuple[str, ...]:
    """Options that are added to those given: one group of slices for each task.

    The runner's own default is 128, so that a small job would be one task.
    """
    given = any(word.partition("=")[0] in _PARTITIONS for word in words)
    return () if given else ("--dask_partition_size", "1")


def check_cluster(words: Sequence[str]) -> None:
    """Looks for the scheduler that is named, if one is.

    Raises:
        RunnerError: it is not there.
    """
    import distributed
    from apache_beam.runners.dask.dask_runner import DaskOptions

    client: Any = distributed.Client  # it has no types
    options = PipelineOptions(list(words)).view_as(DaskOptions)
    given = options.get_all_options(drop_default=True, current_only=True)
    named = {name: given[name] for name in ("address", "scheduler_file") if name in given}
    if not named:
        return
    timeout = {"timeout": given["timeout"]} if isinstance(given.get("timeout"), int) else {}
    _quiet()
    try:
        client(**named, **timeout, set_as_default=False).close()
    except (OSError, ValueError, TimeoutError) as error:
        where = " ".join(map(str, named.values()))
        raise RunnerError(
            f"--runner DaskRunner: no scheduler at {where}: {str(error).splitlines()[0]}; start "
            "one with `dask scheduler`, or leave the address out for processes on this machine"
        ) from error


@contextmanager
def closing_dask(opened: Sequence[Any]) -> Iterator[None]:
    """Closes the clients of the results that were begun in the block; what still runs is dropped.

    Args:
        opened: results of the runner, as they come.
    """
    _quiet()
    try:
        yield
    finally:
        for result in opened:
            result.client.close()  # and the cluster that it has started itself


def _quiet() -> None:
    """What Dask logs is raised as well, and once."""
    import distributed  # sets levels of its own when it is imported

    for name in (distributed.__name__, "distributed.client", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
