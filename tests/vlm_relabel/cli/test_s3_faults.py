"""Jobs on an S3 endpoint that fails: the same bytes, or one sentence and nothing lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import buckets
from tests.faulty_proxy import FAULTS, Proxy, Request, faulty, seeded
from tests.pipelines.small_source import GOALS, write_source
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run, files, refusal

STORE = "s3://bucket/stores/a"
Words = list[object]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source in two shards, and goals; read-only."""
    folder = tmp_path_factory.mktemp("room")
    write_source(folder / "small")
    (folder / "goals.yaml").write_text(GOALS)
    return folder


def commands(room: Path | str, store: Path | str) -> list[Words]:
    return [
        [
            *("relabel", "--source", f"{room}/small", "--camera", "front", "--encoder", PIXEL_MEAN),
            *("--goals", f"{room}/goals.yaml", "--store", store, "--episodes-per-slice", 2),
            *("--threads", 1, "--json"),
        ],
        ["build-goals", store, "--threads", 1, "--json"],
    ]


@pytest.fixture
def expected(run: Run, here: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of a local store."""
    for words in commands(here, tmp_path / "local"):
        assert run(*words).exit_code == 0
    return files(tmp_path / "local")


@pytest.fixture
def proxy(s3: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before a bucket that holds the source; it fails as soon as it has a schedule."""
    buckets.upload(here, "s3://bucket/room")
    buckets.hurry(monkeypatch)
    with faulty(s3, lambda request: None) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        buckets.forget_endpoints()
        yield proxy


def check_order(proxy: Proxy) -> None:
    """No manifest was written before the files that it lists."""
    written = [request.path for request in proxy.requests if request.method == "PUT"]
    for place, path in enumerate(written):
        if path.endswith("/__meta__/manifest.json"):
            table = path.removesuffix("__meta__/manifest.json")
            later = [other for other in written[place + 1 :] if other.startswith(table)]
            assert [other for other in later if other != path] == []


def check_whole(contents: dict[str, bytes]) -> None:
    """Every file that has its name is what a manifest says, if one lists it."""
    for name, content in contents.items():
        if name.endswith("/__meta__/manifest.json"):
            for file in json.loads(content)["files"]:
                assert len(contents[f"{file['table']}/{file['file']}"]) == file["bytes"]


def check_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert found.keys() == expected.keys()
    assert buckets.tables(found) == buckets.tables(expected)
    check_whole(found)


def test_a_faulty_endpoint_changes_no_byte(
    run: Run, expected: dict[str, bytes], proxy: Proxy
) -> None:
    proxy.schedule = seeded(0, 0.2)
    for words in commands("s3://bucket/room", STORE):
        done = run(*words)
        assert done.exit_code == 0, done.output
    assert set(proxy.faults) == set(FAULTS)
    check_order(proxy)
    check_same(buckets.contents(STORE), expected)


def _slices_put(proxy: Proxy) -> int:
    names = (request.path for request in proxy.requests if request.method == "PUT")
    return len({name for name in names if "/slice-" in name and name.endswith(".parquet")})


def test_an_endpoint_that_dies_again_and_again_loses_nothing(
    run: Run, expected: dict[str, bytes], proxy: Proxy
) -> None:
    before: dict[str, bytes] = {}
    words = commands("s3://bucket/room", STORE)[0]
    for slices in (1, 3):
        proxy.requests.clear()
        proxy.schedule = lambda request, n=slices: "503" if _slices_put(proxy) > n else None
        told = refusal(run(*words))
        assert re.search("ServiceUnavailable it is|Service Unavailable", told)
        check_order(proxy)
        proxy.schedule = lambda request: None
        found = buckets.contents(STORE)
        check_whole(found)
        assert buckets.tables(before).items() <= buckets.tables(found).items()
        before = found
    assert len(buckets.tables(before)) >= 5  # slices, and goals
    proxy.requests.clear()
    done = run(*words)
    assert done.exit_code == 0, done.output
    uploaded = [request.path for request in proxy.requests if request.method == "PUT"]
    kept = [name for name in before if "/slice-" in name and name.endswith(".parquet")]
    assert [name for name in kept if f"/bucket/stores/a/{name}" in uploaded] == []
    relabeled = {n: c for n, c in expected.items() if not n.startswith(("goal_", "left_"))}
    check_same(buckets.contents(STORE), relabeled)


@pytest.mark.parametrize("location", ["s3://bucket/x", "s3://nowhere/x"])
@pytest.mark.parametrize("trouble", ["nobody there", "403", "no such place"])
def test_a_store_that_cannot_be_had_is_one_sentence(
    run: Run, here: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, location: str, trouble: str
) -> None:
    if trouble == "403":
        proxy.schedule = lambda request: "403"
    if trouble == "nobody there":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        buckets.forget_endpoints()
    told = refusal(run("verify", location, "--json"))
    expected = {
        "nobody there": "Could not connect to the endpoint URL.* AWS_ENDPOINT_URL right?",
        "403": "Forbidden; do these keys allow to read and write there?",
        "no such place": "bucket does not exist" if "nowhere" in location else "not a store",
    }
    assert re.search(expected[trouble].replace("?", r"\?"), told)
    assert "\n" not in told
    job = [location if word == STORE else word for word in commands(here, STORE)[0]]
    if trouble != "no such place" or "nowhere" in location:
        assert re.search(expected[trouble].replace("?", r"\?"), refusal(run(*job)))
    assert len(proxy.requests) < 40


def test_a_source_that_cannot_be_reached_makes_no_dead_letters(
    run: Run, here: Path, tmp_path: Path, proxy: Proxy
) -> None:
    words = commands("s3://bucket/room", tmp_path / "store")[0]
    shards: list[str] = []

    def late(request: Request) -> str | None:
        shards.extend([request.path] if ".tfrecord-" in request.path else [])
        return "503" if len(shards) > 12 else None

    proxy.schedule = late
    told = refusal(run(*words))
    assert re.search(
        r"small-train.tfrecord-0000.-of-0000.: cannot be read: .*same command again", told
    )
    assert not list((tmp_path / "store" / "dead_letters").rglob("*"))
