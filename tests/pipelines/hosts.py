"""Two hosts on one machine: network namespaces, joined by a cable, that share the disk.

Each has a worker pool. The submitter is in the first one, so that the workers of the second have
nothing but the cable to reach it by. Nothing outside of the two namespaces is touched.
"""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from pipelines import jobs
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.work import Engine, Work
from tests.pipelines import pools

MODULE = "tests.pipelines.hosts"
ADDRESSES = ("198.18.77.1", "198.18.77.2")  # of a range that no network uses


@dataclass(frozen=True)
class Hosts:
    """Two namespaces, and the pools in them."""

    names: tuple[str, str]
    pools: tuple[str, str]  # addresses

    def engine(self) -> Engine:
        """Carries work from the first host, with a worker on each."""
        return Engine("Beam, two hosts", partial(_submit, self), elsewhere=True)


def lacking() -> str | None:
    """Why there can be no namespaces here; None: they can be made."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are of Linux"
    for name in ("ip", "unshare"):
        if shutil.which(name) is None:
            return f"`{name}` is not installed (Debian: iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = f"probe-{uuid4().hex[:8]}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    _ip("netns", "delete", probe)
    return None


@contextmanager
def hosts() -> Iterator[Hosts]:
    """Makes two, and takes them away; a test that asks for them is skipped where there are none."""
    if (reason := lacking()) is not None:
        pytest.skip(reason)
    word = uuid4().hex[:6]
    first, second = (f"host-{word}-{letter}" for letter in "ab")
    with ExitStack() as stack:
        for name in (first, second):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)  # and the cable with it
        cable = ("link", "add", "eth0", "netns", first, "type", "veth")
        _ip(*cable, "peer", "name", "eth0", "netns", second)
        for name, address in zip((first, second), ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/30", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        one, two = (
            stack.enter_context(pools.pool(threads=False, host=address, before=_inside(name)))
            for name, address in zip((first, second), ADDRESSES, strict=True)
        )
        yield Hosts((first, second), (one, two))


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _inside(name: str) -> Sequence[str]:
    return ("ip", "netns", "exec", name)


def _submit(on: Hosts, work: Work, _: RunOptions) -> Mapping[str, float]:
    """Does the work from a process on the first host; what that raises is raised here."""
    # With a host name of its own, which Beam tells workers to come back to.
    words = [*_inside(on.names[0]), "unshare", "--uts", sys.executable, "-m", MODULE]
    done = subprocess.run(
        words,
        input=pickle.dumps((work, on.pools)),
        capture_output=True,
        env={**pools.without_proxies(), "PYTHONPATH": str(pools.ROOT)},
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    result = pickle.loads(done.stdout[done.stdout.index(_MARK) + len(_MARK) :])
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, Mapping)
    return result


_MARK = b"\nresult:"


def _serve() -> None:
    """Does the work that comes in by standard input; to be run on the first host."""
    socket.sethostname(ADDRESSES[0])
    work, addresses = pickle.load(sys.stdin.buffer)
    result: Mapping[str, float] | Exception
    with pools.door(addresses, ADDRESSES[0]) as address:
        run = RunOptions(beam_args=pools.runner_words(address, workers=2))
        options = JobOptions(str(Path(work.finish.store)), run=run, threads=1)
        try:
            result = jobs.with_beam.ready(options)(work, run)
        except Exception as error:
            result = error
    sys.stdout.buffer.write(_MARK + pickle.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # Beam's threads wait for workers that its pools end


if __name__ == "__main__":
    _serve()
