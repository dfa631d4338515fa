"""Inputs that many tests share; each is made once and never changed in place."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import requests
from hypothesis import HealthCheck, settings

from relabel.source.source import Source
from schemas.store import Store
from tests import browser, buckets, small

S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
# The same examples in every run, and as long as they take: whether a change passes hangs neither on
# a draw nor on what else a machine does.
settings.register_profile(
    "same",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("same")

ROOT = Path(__file__).parent.parent
BRIDGE = ROOT.parent / "shared" / "data" / "bridge_dataset" / "1.0.0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what talks to a server or opens a browser, which `make quick` leaves out."""
    for item in items:
        taken = getattr(item, "fixturenames", ())
        if "s3" in taken:
            item.add_marker("server")
        if "open_page" in taken:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def bridge_dir() -> Path:
    """The real BridgeData sample."""
    if not (BRIDGE / "features.json").exists():
        pytest.skip(f"no real BridgeData sample at {BRIDGE}")
    return BRIDGE


@pytest.fixture(scope="session")
def source_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small source of `tests.small`, as TFRecord."""
    directory = tmp_path_factory.mktemp("sources") / "small" / "1.0.0"
    small.write_source(directory)
    return directory


@pytest.fixture(scope="session")
def source(source_dir: Path) -> Source:
    """The small source, opened."""
    return Source.open(str(source_dir), "train")


@pytest.fixture(scope="session")
def _finished(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    location = tmp_path_factory.mktemp("stores") / "finished.store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("schemas.slice_writer.ROW_GROUP_ROWS", 3)
        small.build_store(location, source)
    return location


@pytest.fixture
def store(_finished: Path, tmp_path: Path, row_groups_of_three: None) -> Store:
    """A finished store of its own, to read or to damage."""
    location = tmp_path / "small.store"
    shutil.copytree(_finished, location)
    return Store.open(str(location))


@pytest.fixture
def empty_store(source: Source, tmp_path: Path, row_groups_of_three: None) -> Store:
    """A store that has its plan and no table."""
    return Store.create(str(tmp_path / "empty.store"), small.store_manifest(source))


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # slow to import, for the few tests that need it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(_s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 endpoint on this machine, with an empty bucket `bucket`; its URL."""
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3_server)
    requests.post(f"{_s3_server}/moto-api/reset", timeout=10)
    buckets.forget_endpoints()
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    filesystem.mkdir("bucket")
    yield _s3_server
    buckets.forget_endpoints()
    fsspec.asyn.reset_lock()


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    if reason := browser.missing():
        pytest.skip(reason)
    with browser.browser() as opened:
        yield opened


@pytest.fixture
def open_page(chromium: browser.Browser) -> Iterator[browser.OpenPage]:
    """Opens pages in Chromium; the test fails if one of them logs an error or misses a file."""
    windows = browser.Windows(chromium)
    yield windows
    windows.close()
    assert windows.problems == []


@pytest.fixture
def row_groups_of_three() -> Iterator[None]:
    """Row groups so short that every slice but the empty one has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("schemas.slice_writer.ROW_GROUP_ROWS", 3)
        yield
