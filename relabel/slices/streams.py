"""Bounded overlap of the stages inside one slice."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


def prefetch(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """The same items, produced by a thread that stays at most `ahead` of the reader.

    An error of the producer is raised where its item would have come. When the reader stops
    early, the thread stops too.
    """
    pending: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def put(kind: str, value: object) -> bool:
        while not stopped.is_set():
            try:
                pending.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # carried over to the reading thread
            put("error", error)

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (message := pending.get())[0] == "item":
            yield cast(T, message[1])
        if message[0] == "error":
            raise cast(BaseException, message[1])
    finally:
        stopped.set()
        thread.join()


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], pool: Executor, ahead: int
) -> Iterator[R]:
    """`map(function, items)` on a pool, in order, with at most `ahead` results waiting."""
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
