"""Local worker processes, seen from their parent: one that dies ends the job in one sentence.

Beam's runner waits forever for a worker that dies before it has reported, and says "Channel closed
prematurely" of one that dies later. Only the thread that waits for the process learns of its exit
code, and raises; here that is heard.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import grpc
import psutil

from pipelines.local_worker import MODULE
from schemas.errors import WorkerError

_WAITS: Final = "run_worker"  # Beam's name of the thread that waits for one worker process
_READS: Final = "read_grpc_client_inputs"  # and of the one that reads what a worker sends
_CONTROLS: Final = "beam_control_read"  # and of the one that hears what a worker has done
_CODE: Final = re.compile(r"exited with return code (-?\d+)")  # Beam's words
_GRACE_S: Final = 2.0  # in which a death is heard of after the runner's own error
_END_S: Final = 10.0  # that killed workers may take to be gone


class WorkerWatch:
    """Listens for worker processes that die, while the block runs.

    A block that is left with a `WorkerError` ends the other workers.

    Example:
        >>> with WorkerWatch() as watch:                     # doctest: +SKIP
        ...     result = watch.run(run_the_pipeline)         # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self._others = threading.excepthook
        threading.excepthook = self._hear
        return self

    def _hear(self, raised: threading.ExceptHookArgs) -> None:
        found = _CODE.search(str(raised.exc_value))
        thread = "" if raised.thread is None else raised.thread.name
        if found and thread == _WAITS:
            self._events.put(("died", int(found[1])))
        elif thread != _READS and not isinstance(raised.exc_value, grpc.RpcError):
            self._others(raised)  # the end of a connection tells nothing that is not told otherwise

    def run(self, work: Callable[[], Any]) -> Any:
        """What `work` returns or raises.

        Raises:
            WorkerError: a worker process died first.
        """
        threading.Thread(target=self._work, args=(work,), name="runner", daemon=True).start()
        kind, value = self._events.get()
        if kind == "died":
            raise _death(value)
        if kind == "raised":
            raise value
        return value

    def _work(self, work: Callable[[], Any]) -> None:
        try:
            self._events.put(("returned", work()))
        except BaseException as error:  # raised again in the waiting thread
            self._events.put(("raised", error))

    def death(self) -> WorkerError | None:
        """The death of a worker that may be what the runner's error came from."""
        with suppress(queue.Empty):
            kind, value = self._events.get(timeout=_GRACE_S)
            if kind == "died":
                return _death(value)
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, WorkerError):
            _end_workers()
        threading.excepthook = self._others


def _death(code: int) -> WorkerError:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        how = f"was killed ({name}), as the system does when memory runs out"
    else:
        how = f"ended by itself with exit code {code}"
    return WorkerError(
        f"a worker process {how}; what is committed stays, and the same command resumes; fewer "
        "--workers or a smaller --batch-size need less memory"
    )


def _end_workers() -> None:
    """Ends the worker processes that are left, and with them Beam's threads that serve them.

    It looks again until these threads are gone: a worker may be just starting.
    """
    until = time.monotonic() + _END_S
    while True:
        for child in psutil.Process(os.getpid()).children():
            with suppress(psutil.NoSuchProcess):
                if MODULE in child.cmdline():
                    child.kill()
        serving = [t for t in threading.enumerate() if t.name in (_WAITS, _READS, _CONTROLS)]
        if not serving or time.monotonic() > until:
            return
        serving[0].join(0.1)
