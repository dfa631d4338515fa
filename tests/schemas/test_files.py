"""Files appear whole or not at all: on a local disk, and where nothing can be renamed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas import object_stores
from schemas.errors import LocationError, StoreError
from schemas.files import Folder
from schemas.object_stores import explained
from schemas.processes import host_mark
from tests import small


def local(directory: Path) -> Folder:
    return Folder.at(str(directory / "store"))


def by_uri(directory: Path) -> Folder:
    return Folder.at(f"file://{directory}/store")


def uploaded(directory: Path) -> Folder:
    return small.memory_folder(f"test/{directory.name}/store")


def in_bucket(directory: Path) -> Folder:
    return Folder.at(f"s3://bucket/{directory.name}/store")


FOLDERS: list[Callable[[Path], Folder]] = [local, by_uri, uploaded, in_bucket]


@pytest.fixture(autouse=True)
def _s3(s3: str) -> None:
    """An object store on this machine."""


@pytest.fixture(params=FOLDERS, ids=lambda make: make.__name__)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return request.param(tmp_path)


@pytest.fixture(autouse=True)
def _own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staged uploads lie in a place that the test can look at."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def staged_uploads(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "temporary")


# --- the same on every kind of folder


def test_only_local_folders_rename(tmp_path: Path) -> None:
    assert [make(tmp_path / make.__name__).is_local for make in FOLDERS] == [
        True, True, False, False,
    ]  # fmt: skip


def test_what_is_written_can_be_read(folder: Folder, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one chunk of an upload
    assert not folder.exists("a/b/x.bin")
    folder.write("a/b/x.bin", content)
    assert folder.exists("a/b/x.bin")
    assert folder.read("a/b/x.bin") == content
    assert folder.size("a/b/x.bin") == len(content)
    assert folder.sha256("a/b/x.bin") == hashlib.sha256(content).hexdigest()
    assert staged_uploads(tmp_path) == []


def test_a_second_write_replaces_the_first(folder: Folder) -> None:
    folder.write("steps/x", b"a longer text")
    folder.write("steps/x", b"short")
    assert folder.read("steps/x") == b"short"


def test_names_are_relative_and_sorted(folder: Folder) -> None:
    for name in ("steps/z", "steps/y", "a/b/c", "top"):
        folder.write(name, b"")
    assert folder.names("steps") == ["y", "z"]
    assert folder.names("a", recursive=True) == ["b/c"]
    assert folder.names("a") == []
    assert folder.names("") == ["top"]
    assert folder.names("", recursive=True) == ["a/b/c", "steps/y", "steps/z", "top"]
    assert folder.names("nowhere") == []


def test_a_folder_is_no_file(folder: Folder) -> None:
    folder.write("steps/x", b"")
    assert not folder.exists("steps")


def test_deleting_twice_is_once(folder: Folder) -> None:
    folder.write("steps/x", b"")
    folder.write("steps/y", b"")
    folder.delete("steps/x")
    folder.delete("steps/x")
    assert folder.names("steps") == ["y"]
    folder.delete_folder("steps")
    folder.delete_folder("steps")
    assert folder.names("steps") == []


def test_a_folder_is_deleted_with_all_below_it(folder: Folder) -> None:
    for place in range(70):  # more than are deleted side by side
        folder.write(f"steps/__meta__/receipts/{place}", b"")
    for name in ("steps/x", "steps/__meta__/plan", "steps2/y", "z"):
        folder.write(name, b"")
    folder.delete_folder("steps")
    assert folder.names("", recursive=True) == ["steps2/y", "z"]
    assert folder.folders("") == ["steps2"]


def test_what_a_link_leads_to_is_not_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").touch()
    folder = local(tmp_path)
    folder.write("steps/x", b"")
    (tmp_path / "store/steps/inside").symlink_to(elsewhere)
    folder.delete_folder("steps")
    assert folder.folders("") == []
    (tmp_path / "store/steps").symlink_to(elsewhere)
    folder.delete_folder("steps")
    assert os.listdir(tmp_path / "store") == []
    assert (elsewhere / "mine").exists()


def test_a_bucket_is_told_at_once_what_to_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_bucket(tmp_path)
    for place in range(20):
        folder.write(f"steps/{place}", b"")
    told: list[str] = []
    ask = type(folder.remote)._call_s3

    async def heard(self: Any, method: str, *args: Any, **more: Any) -> Any:
        told.append(method)
        return await ask(self, method, *args, **more)

    monkeypatch.setattr(type(folder.remote), "_call_s3", heard)
    folder.delete_folder("steps")
    assert [method for method in told if "delete" in method] == ["delete_objects"]
    assert folder.names("steps") == []


def test_when_files_changed_is_told_of_one_listing(folder: Folder) -> None:
    assert folder.changes("nowhere") == {}
    for name in ("steps/x", "steps/y", "steps/__meta__/z"):
        folder.write(name, b"")
    found = folder.changes("steps")
    assert found == {name: folder.info(f"steps/{name}").changed for name in ("x", "y")}
    known = {name: changed for name, changed in found.items() if changed is not None}
    assert folder.times("steps") == known
    assert not known or abs(time.time() - known["x"]) < 600


def test_a_missing_file_is_named(folder: Folder) -> None:
    with pytest.raises(StoreError, match=r"steps/x: no such file"):
        folder.read("steps/x")


def test_nothing_appears_before_the_commit(folder: Folder, tmp_path: Path) -> None:
    staged = folder.stage("steps/x")
    staged.path.write_bytes(b"half")
    assert not folder.exists("steps/x")
    staged.discard()
    staged.discard()
    assert folder.names("", recursive=True) == []
    assert staged_uploads(tmp_path) == []


def test_nothing_is_left_when_the_commit_fails(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    if folder.remote is not None:
        monkeypatch.setattr(folder.remote, "put_file", no_space)
    with pytest.raises((StoreError, OSError), match="No space left"):
        folder.write("steps/x", b"content")
    assert folder.names("", recursive=True) == []
    assert staged_uploads(tmp_path) == []


# --- local disks


def test_a_staged_file_is_a_neighbour_of_its_final_name(tmp_path: Path) -> None:
    # A rename between two filesystems would not be atomic.
    staged = local(tmp_path).stage("steps/x.parquet")
    assert staged.path.parent == tmp_path / "store" / "steps"
    assert staged.path.name.startswith(".tmp-")
    staged.discard()


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    folder = local(tmp_path)
    one, two = folder.stage("x"), folder.stage("x")
    assert one.path != two.path
    one.path.write_bytes(b"one")
    two.path.write_bytes(b"two")
    two.commit()
    one.commit()
    assert folder.read("x") == b"one"
    assert folder.leftovers() == []


def test_leftovers_of_a_killed_writer_are_found(tmp_path: Path) -> None:
    folder = local(tmp_path)
    folder.write("steps/whole", b"")
    killed = small.stage_and_die(folder, "steps/x.parquet")
    assert folder.leftovers("steps") == [killed.name]
    assert folder.leftovers() == [f"steps/{killed.name}"]
    assert folder.leftovers("episodes") == []


def test_a_file_of_a_writer_at_work_is_no_leftover(tmp_path: Path) -> None:
    folder = local(tmp_path)
    staged = folder.stage("steps/x.parquet")
    assert folder.leftovers() == []
    host, rest = staged.path.name.split("-")[1], staged.path.name.split("-")[2:]
    assert len(host) == 8
    elsewhere = staged.path.with_name("-".join([".tmp", "0" * 8, *rest]))
    staged.path.rename(elsewhere)
    assert folder.leftovers() == []  # may be at work: it has just been changed
    hours_ago = time.time() - 7200
    os.utime(elsewhere, (hours_ago, hours_ago))
    assert folder.leftovers("steps") == [elsewhere.name]


def test_content_is_on_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def told_replace(path: Path, target: Any) -> Path:
        events.append("rename")
        return replace(path, target)

    def told_fsync(handle: int) -> None:
        events.append("sync directory" if os.path.isdir(f"/proc/self/fd/{handle}") else "sync")
        fsync(handle)

    monkeypatch.setattr(Path, "replace", told_replace)
    monkeypatch.setattr(os, "fsync", told_fsync)
    local(tmp_path).write("x", b"content")
    assert events == ["sync", "rename", "sync directory"]


def test_a_target_that_is_a_file_cannot_be_a_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("here first")
    with pytest.raises(StoreError, match=r"store/steps/x: cannot be written: .*--store"):
        local(tmp_path).write("steps/x", b"")
    assert (tmp_path / "store").read_text() == "here first"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"cannot be written: .*choose another --store"):
        local(tmp_path).write("x", b"")


# --- disks without hard links


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_of_many_creators_one_succeeds_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    folder = local(tmp_path)
    for round_ in range(20):
        name = f"a/plan{round_}"
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n, name=name: folder.create(name, bytes([n])), range(8)))
        assert won.count(True) == 1
        assert folder.read(name) == bytes([won.index(True)])
        assert not folder.create(name, b"late")
    assert folder.leftovers() == []
    assert len(folder.names("a")) == 20


def test_a_disk_without_links_and_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(os, "link", small.no_links)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    folder = local(tmp_path)
    with pytest.raises(StoreError, match=r"neither hard links nor locks .*choose another --store"):
        folder.create("plan", b"content")
    assert folder.names("", recursive=True) == []


def test_an_unlinkable_folder_that_is_read_only_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "link", small.no_links)
    monkeypatch.setattr(Path, "replace", read_only)
    with pytest.raises(StoreError, match="the disk is read-only; choose another place"):
        local(tmp_path).create("plan", b"content")


# --- locations


def test_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Folder.at("a/b").path == str(tmp_path / "a" / "b")
    assert Folder.at("~/s").path == "/home/somebody/s"
    assert Folder.at("/data/s/").path == "/data/s"
    assert Folder.at("file:///data/s/").path == "/data/s"
    assert Folder.at("/data/s").join("steps/x") == "/data/s/steps/x"


def test_an_unknown_kind_of_location() -> None:
    with pytest.raises(LocationError, match=r"ftp://host/x: expected a path or file://, s3://"):
        Folder.at("ftp://host/x")


def test_a_bucket_that_is_not_there_is_a_store_error() -> None:
    with pytest.raises(StoreError, match=r"nowhere/s/x: cannot be written"):
        Folder.at("s3://nowhere/s").write("x", b"")


def test_a_location_with_keys_is_refused_without_telling_them() -> None:
    with pytest.raises(LocationError, match=r"must not carry keys") as told:
        Folder.at("s3://KEY:hunter2@bucket/s")
    assert "hunter2" not in str(told.value)


def test_a_missing_library_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(
        LocationError, match=r"gs:// needs a library: pip install 'vlm-relabel\[gcs\]'"
    ):
        Folder.at("gs://bucket/s")


def test_of_many_creators_one_succeeds(folder: Folder, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: folder.create("a/plan", bytes([n])), range(8)))
    assert won.count(True) == 1
    assert folder.read("a/plan") == bytes([won.index(True)])
    assert not folder.create("a/plan", b"late")
    assert folder.names("", recursive=True) == ["a/plan"]
    assert staged_uploads(tmp_path) == []


def test_what_a_library_says_is_one_line_without_secrets() -> None:
    told = explained(OSError("no answer\nfrom http://user:hunter2@host/x?sig=hunter2" + " x" * 999))
    assert told.startswith("no answer from http://…@host/x?… x x")
    assert len(told) <= 300


# --- what killed writers leave


def of_process(pid: int, name: str = "x.parquet") -> str:
    return f".tmp-{host_mark()}-{pid}-0123456789ab-{name}.part"


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_writer_left_is_swept_and_what_is_being_written_stays(
    tmp_path: Path, dead: int
) -> None:
    folder = local(tmp_path)
    folder.write("steps/whole", b"")
    at_work = folder.stage("steps/y.parquet")
    for place in ("steps/a", "steps"):
        folder.write(f"{place}/{of_process(dead)}", b"half")
    folder.sweep("steps")
    assert folder.names("", recursive=True) == [f"steps/{at_work.path.name}", "steps/whole"]
    at_work.commit()
    assert folder.names("steps") == ["whole", "y.parquet"]


def test_uploads_of_a_killed_writer_are_swept(tmp_path: Path, dead: int) -> None:
    temporary = tmp_path / "temporary"
    kept = [of_process(os.getpid()), "of-somebody-else.part", ".tmp-of-somebody-else.part"]
    for name in [*kept, of_process(dead)]:
        (temporary / name).write_bytes(b"half")
    in_bucket(tmp_path).sweep("steps")
    assert sorted(staged_uploads(tmp_path)) == sorted(kept)


@pytest.mark.parametrize("hours", [1, 30])
def test_uploads_in_parts_that_never_ended_are_aborted_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    folder = in_bucket(tmp_path)
    call = folder.remote.call_s3
    for key in ("steps/x", "steps-too/x"):
        name = f"{folder.path}/{key}".removeprefix("bucket/")
        call("create_multipart_upload", Bucket="bucket", Key=name)
    begun = [u["Initiated"] for u in call("list_multipart_uploads", Bucket="bucket")["Uploads"]]
    now = max(begun) + timedelta(hours=hours)
    monkeypatch.setattr(object_stores, "now", lambda: now)
    folder.sweep("steps")
    left = call("list_multipart_uploads", Bucket="bucket").get("Uploads", [])
    names = [upload["Key"].rpartition("store/")[2] for upload in left]
    assert sorted(names) == (["steps-too/x"] if hours > 24 else ["steps-too/x", "steps/x"])


def test_keys_that_may_not_list_uploads_sweep_what_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    folder = in_bucket(tmp_path)
    monkeypatch.setattr(folder.remote, "call_s3", refused)
    folder.sweep("steps")


def test_a_creation_whose_answer_was_lost_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_bucket(tmp_path)
    pipe_file = folder.remote.pipe_file

    def twice(*args: Any, **options: Any) -> None:
        pipe_file(*args, **options)
        pipe_file(*args, **options)  # as botocore does when it has heard nothing

    monkeypatch.setattr(folder.remote, "pipe_file", twice)
    assert folder.create("lease", b"mine")
    assert not folder.create("lease", b"another's")
    assert folder.read("lease") == b"mine"
