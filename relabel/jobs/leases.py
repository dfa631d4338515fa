"""Leases: who works on a table, so that another command does not begin on it meanwhile.

A lease is a small file below the store, with a process and the command it was given. It is renewed
while the job runs and removed when it ends. One whose process is gone, or that was not renewed for
some minutes by another machine, counts no more. The same command twice shares the work: both commit
whole slices of the same bytes.

Of several processes that find a stale lease, one breaks it; those of tables that are complete are
removed by the next command, whatever it works on. Which one is told by a claim, a file
beside the lease that is named after the stale content and created by one of them only. Who has it
looks again whether that content is still there before it writes its own. A claim is a lease too, so
that one of a process which was killed at this very moment is broken in the same way.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import StoreError
from schemas.files import Folder
from schemas.manifests import AnyTableManifest
from schemas.processes import ProcessName
from schemas.store import META, Store

LEASES: Final = f"{META}/leases"  # below the store
_RENEWED_S: Final = 30.0
_STALE_S: Final = 300.0  # of a process on another machine
_BREAKING_S: Final = 10.0  # that another process may need to break a lease
_PAUSE_S: Final = 0.02


class Lease(BaseModel):
    """Who works on a table."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    process: ProcessName = Field(default_factory=ProcessName.own)
    command: str | None
    renewed: float  # seconds since 1970

    def is_stale(self, now: float) -> bool:
        """Whether its process has gone."""
        runs = self.process.runs
        return now - self.renewed > _STALE_S if runs is None else not runs


def touched(store: Store, tables: Sequence[AnyTableManifest]) -> list[str]:
    """Names of those tables that are not there yet, whole and as they are to be."""
    return [
        table.table
        for table in tables
        if not store.is_complete(table.table) or store.differences(table)
    ]


@contextmanager
def leased(
    folder: Folder,
    tables: Sequence[str],
    command: str | None,
    clock: Callable[[], float] = time.time,
) -> Iterator[None]:
    """Holds the leases of some tables while the block runs.

    Args:
        folder: of the store.
        tables: their names.
        command: that works on them.
        clock: seconds since 1970; injected in tests.

    Raises:
        StoreError: another command works on one of them; names it, and its process.
    """
    leases = _Leases(folder, tables, command, clock)
    leases.clear()
    stopped = threading.Event()
    renewing = threading.Thread(target=leases.renew, args=(stopped,), name="leases", daemon=True)
    try:
        leases.take()
        renewing.start()
        yield
    finally:
        stopped.set()
        if renewing.ident is not None:
            renewing.join()  # or what is released would be there again
        leases.release()


class _Leases:
    def __init__(
        self,
        folder: Folder,
        tables: Sequence[str],
        command: str | None,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._names = {table: f"{LEASES}/{table}.json" for table in tables}
        self._process = ProcessName.own()
        self._command = command
        self._clock = clock

    def clear(self) -> None:
        """Removes the leases of processes that are gone, and half ones, of whichever table.

        One that was killed when its tables were complete would else leave its leases for good.
        """
        with suppress(StoreError):  # where nothing can be written, they stand in nobody's way
            if self._folder.is_local:  # on an object store nothing is left of so small a file
                self._folder.sweep(LEASES)
            files = [f"{LEASES}/{file}" for file in self._folder.names(LEASES, recursive=True)]
            for name in files:
                if name.endswith(".json") and name not in self._names.values():
                    self._clear(name)

    def _clear(self, name: str) -> None:
        content = self._stored(name)
        other = None if content is None else _parsed(content)
        if content is not None and (other is None or other.is_stale(self._clock())):
            self._break(name, content, self._delete)

    def _delete(self, name: str) -> None:
        self._sweep(name)
        self._folder.delete(name)

    def take(self) -> None:
        """Takes every lease, or shares it with the same command."""
        for table, name in self._names.items():
            other = self._take(name)
            if other is not None and other.command != self._command:
                raise StoreError(self._held(table, other))

    def _take(self, name: str) -> Lease | None:
        """Takes one lease, if need be by breaking it; None, or the one that stands instead."""
        deadline = time.monotonic() + _BREAKING_S
        while True:
            if self._folder.create(name, self._content()):
                return None
            content = self._stored(name)
            if content is None:  # released meanwhile
                continue
            other = _parsed(content)
            if other is not None and not other.is_stale(self._clock()):
                return other
            if self._break(name, content, self._write):
                return None
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{self._folder.join(name)}: another process has been about to take it over "
                    f"for {_BREAKING_S:g} s; type the command again"
                )
            time.sleep(_PAUSE_S)

    def _write(self, name: str) -> None:
        self._folder.write(name, self._content())

    def _break(self, name: str, content: bytes, act: Callable[[str], None]) -> bool:
        """Writes or deletes a stale lease, if no other process did; whether this one has."""
        claim = f"{name}.{hashlib.sha256(content).hexdigest()[:16]}"
        if self._take(claim) is not None:
            return False
        try:
            if self._stored(name) != content:  # broken before, by one that has given up its claim
                return False
            act(name)
            return True
        finally:
            self._folder.delete(claim)

    def renew(self, stopped: threading.Event) -> None:
        """Renews the leases from time to time, and takes over those whose process has ended."""
        while not stopped.wait(_RENEWED_S):
            for name in self._names.values():
                with suppress(StoreError):  # a disk or network that fails for a while
                    if self._is_own(self._read(name)):
                        self._write(name)
                    else:
                        self._take(name)

    def release(self) -> None:
        """Removes what this process holds, and the claims of processes that were killed."""
        for name in self._names.values():
            with suppress(StoreError):  # it is stale as soon as the process has ended
                if self._is_own(self._read(name)):
                    self._delete(name)

    def _sweep(self, name: str) -> None:
        """Of claims to what stood before this lease; while it stands, they give nothing."""
        folder, _, own = name.rpartition("/")
        for other in self._folder.names(folder):
            if other.startswith(f"{own}."):
                claim = self._read(f"{folder}/{other}")
                if claim is None or claim.is_stale(self._clock()):
                    self._folder.delete(f"{folder}/{other}")

    def _is_own(self, lease: Lease | None) -> bool:
        own = (self._process, self._command)
        return lease is not None and (lease.process, lease.command) == own

    def _content(self) -> bytes:
        lease = Lease(process=self._process, command=self._command, renewed=self._clock())
        return lease.model_dump_json(indent=1).encode()

    def _read(self, name: str) -> Lease | None:
        content = self._stored(name)
        return None if content is None else _parsed(content)

    def _stored(self, name: str) -> bytes | None:
        try:
            return self._folder.read(name) if self._folder.exists(name) else None
        except StoreError:  # gone meanwhile
            if self._folder.exists(name):
                raise
            return None

    def _held(self, table: str, other: Lease) -> str:
        ago = max(0, round(self._clock() - other.renewed))
        return (
            f"{self._folder.path}/{table}: another command works on it: "
            f"{other.command or 'a program'} (process {other.process.pid} on {other.process.host}, "
            f"seen {ago} s ago); type the command again when that one has ended"
        )


def _parsed(content: bytes) -> Lease | None:
    try:
        return Lease.model_validate_json(content)
    except ValidationError:  # torn by a power cut
        return None
