"""Workers on two hosts do the work of one job; the contract of engines compares what they write."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from relabel.jobs import run
from relabel.jobs.options import JobOptions
from relabel.testing import PixelMeanEncoder
from schemas.store import Store
from tests.pipelines.hosts import hosts
from tests.pipelines.job_options import Embedding

pytestmark = pytest.mark.slow


def _network() -> str:
    return os.readlink("/proc/self/ns/net").strip("net:[]")


@dataclass(frozen=True)
class NotedHost:
    """Loads an encoder, and leaves a file of the network that this is done in."""

    folder: str

    def __call__(self) -> PixelMeanEncoder:
        Path(self.folder, f"{_network()}-{uuid4().hex}").touch()
        return PixelMeanEncoder()


def test_both_hosts_work_and_are_gone_afterwards(embedding: Embedding, tmp_path: Path) -> None:
    loads = tmp_path / "loads"
    loads.mkdir()
    with hosts() as two:
        options = JobOptions(str(tmp_path / "store"), threads=1)
        run.embed(options, embedding(encoder=NotedHost(str(loads))), two.engine())
    networks = [path.name.partition("-")[0] for path in loads.iterdir()]
    assert len(networks) == 3  # each loads it once, and so does this process, which plans
    assert len(set(networks)) == 3
    assert _network() in networks
    assert Store.open(str(tmp_path / "store")).unfinished() == []
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert [name for name in two.names if name in left.stdout] == []
