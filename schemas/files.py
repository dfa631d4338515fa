"""Files that appear whole or not at all, on a local disk or an object store."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from pyarrow import fs

from schemas.checksums import Checksums, checksums_of, crc32c_of
from schemas.errors import StoreError
from schemas.locations import check_location, without_scheme
from schemas.names import check_inside
from schemas.object_stores import (
    SCHEMES,
    Handler,
    abort_uploads,
    create_first,
    names_no_bucket,
    open_url,
    reaching,
)
from schemas.processes import host_mark, pid_runs

_TEMPORARY: Final = ".tmp-"  # prefix of a file that is not yet committed
_WRITER: Final = re.compile(r"\.tmp-([0-9a-f]{8})-(\d+)-")  # whose it is: machine, process
_FOREIGN_S: Final = 3600.0  # a file of another machine is left over if unchanged for so long
_AT_ONCE: Final = 32  # calls to an object store, or a disk's deletions, that wait side by side
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EXDEV)


class FileState(NamedTuple):  # made in half the time of a dataclass, for some 100,000 files
    """What there is under a name. Two equal states of a file with a version are one content."""

    is_file: bool = False
    is_folder: bool = False
    size: int = 0
    version: str | None = None  # changes with the content; None: the place tells no such thing
    changed: float | None = None  # when, by the clock of the place, in seconds; None: not told


@dataclass(frozen=True)
class Folder:
    """A directory of a local disk, or of an object store (`s3://`, `gs://`) by fsspec."""

    path: str
    filesystem: fs.FileSystem  # for Arrow
    remote: Any = None  # fsspec's file system; None: a local disk

    @classmethod
    def at(cls, location: str) -> Folder:
        """The folder at a path or URL; it need not exist yet.

        Raises:
            LocationError: a URL of no known kind, with secrets in it, or of an object store whose
                library is not installed.
        """
        if check_location(location, ("file", *SCHEMES)) in SCHEMES:
            return cls.on(*open_url(location))
        path = Path(without_scheme(location)).expanduser().absolute()
        return cls(str(path), fs.LocalFileSystem())

    @classmethod
    def on(cls, remote: Any, path: str) -> Folder:
        """The folder at a path of a file system of fsspec's."""
        return cls(path.rstrip("/"), fs.PyFileSystem(Handler(remote)), remote)

    @property
    def is_local(self) -> bool:
        """Whether files can be renamed into place."""
        return self.remote is None

    def join(self, name: str) -> str:
        """Path of a file below the folder, as `filesystem` takes it.

        Raises:
            StoreError: the name leads out of the folder.
        """
        try:
            return f"{self.path}/{check_inside(name)}"
        except ValueError as error:
            raise StoreError(f"{self.path}: {error}") from error

    def info(self, name: str) -> FileState:
        """What there is under a name."""
        path = self.join(name)
        if self.remote is not None:
            return self._remote_info(path)
        try:
            found = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return FileState()
        if Path(path).is_dir():
            return FileState(is_folder=True)
        return _file_state(found)

    def _remote_info(self, path: str) -> FileState:
        with self.reaching(path):
            try:
                found = self.remote.info(path)
            except FileNotFoundError as error:
                if names_no_bucket(error):
                    raise
                return FileState()
        if found["type"] != "file":
            return FileState(is_folder=True)
        return _object_state(found)

    def exists(self, name: str) -> bool:
        """Whether a committed file has this name."""
        return self.info(name).is_file

    def names(self, folder: str, *, recursive: bool = False) -> list[str]:
        """Sorted names of the files below `folder`, relative to it; [] if there is none."""
        base = self.join(folder) if folder else self.path
        if self.is_local and not recursive:  # a fifth of the time that Arrow takes
            return self._local_names(base)
        selector = fs.FileSelector(base, recursive=recursive, allow_not_found=True)
        with self.reaching(base):
            infos = self.filesystem.get_file_info(selector)
        files = (info.path for info in infos if info.type == fs.FileType.File)
        return sorted(_below(base, path) for path in files)

    def times(self, folder: str) -> dict[str, float]:
        """When the files of a folder were written, in seconds of the epoch, by name.

        Files of which the place tells no time are left out. A copy has times of its own.
        """
        found = self.changes(folder).items()
        return {name: changed for name, changed in found if changed is not None}

    def changes(self, folder: str) -> dict[str, float | None]:
        """`FileState.changed` of every file in `folder`, by its name there, of one listing."""
        if self.remote is not None:
            return {name: state.changed for name, state in self.states(folder).items()}
        base = self.join(folder)
        with self.reaching(base), suppress(FileNotFoundError):
            return {name: found.st_mtime for name, found in _local_stats(base)}
        return {}

    def _local_names(self, base: str) -> list[str]:
        with self.reaching(base), suppress(FileNotFoundError), os.scandir(base) as entries:
            return sorted(e.name for e in entries if e.is_file())
        return []

    def _local_temporaries(self, base: str) -> list[str]:
        with self.reaching(base), suppress(FileNotFoundError):
            names = [name for name in os.listdir(base) if name.startswith(_TEMPORARY)]
            return sorted(name for name in names if Path(base, name).is_file())
        return []

    def folders(self, folder: str) -> list[str]:
        """Sorted names of the folders in `folder`; [] if there is none."""
        base = self.join(folder) if folder else self.path
        with self.reaching(base), suppress(FileNotFoundError):
            if self.remote is None:
                with os.scandir(base) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir())
            found = self.remote.ls(base, detail=True, refresh=True)
            names = (_below(base, e["name"]) for e in found if e["type"] == "directory")
            return sorted(filter(None, names))
        return []

    def states(self, folder: str) -> dict[str, FileState]:
        """What `info` tells of every file in `folder`, by its name there, of one listing."""
        base = self.join(folder)
        with self.reaching(base), suppress(FileNotFoundError):
            if self.remote is None:
                return {name: _file_state(found) for name, found in _local_stats(base)}
            found = self.remote.ls(base, detail=True, refresh=True)
            files = (entry for entry in found if entry["type"] == "file")
            return {_below(base, entry["name"]): _object_state(entry) for entry in files}
        return {}

    def read(self, name: str) -> bytes:
        """Whole content of a file.

        Raises:
            StoreError: there is no such file.
        """
        path = self.join(name)
        with self.reaching(path):
            try:
                with self.filesystem.open_input_stream(path) as stream:
                    return bytes(stream.read())
            except FileNotFoundError as error:
                raise StoreError(f"{path}: no such file") from error

    def read_if_there(self, name: str) -> bytes | None:
        """Whole content of a small file, by one call; None if there is no such file."""
        path = self.join(name)
        with self.reaching(path), suppress(FileNotFoundError, NotADirectoryError):
            if self.remote is not None:
                return bytes(self.remote.cat_file(path))
            with open(path, "rb") as stream:  # a third of the time that Path takes
                return stream.read()
        return None

    def sha256(self, name: str) -> str:
        """Hash of a file's content."""
        path = self.join(name)
        with self.reaching(path), self.filesystem.open_input_file(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def crc32c(self, name: str) -> int:
        """As `sha256`, at a fifth of its cost; for damage that nobody intended."""
        path = self.join(name)
        with self.reaching(path), self.filesystem.open_input_file(path) as stream:
            return crc32c_of(stream)

    def checksums(self, name: str) -> Checksums:
        """Both, of one reading."""
        path = self.join(name)
        with self.reaching(path), self.filesystem.open_input_file(path) as stream:
            return checksums_of(stream)

    @property
    def at_once(self) -> int:
        """How many small files it pays to read side by side: those of a disk do not wait."""
        return 1 if self.is_local else _AT_ONCE

    def size(self, name: str) -> int:
        """Length of a file in bytes."""
        return self.info(name).size

    def delete(self, name: str) -> None:
        """Removes one file; it may be gone already."""
        path = self.join(name)
        with self.reaching(path), suppress(FileNotFoundError):
            if self.exists(name):
                self.filesystem.delete_file(path)

    def delete_folder(self, name: str) -> None:
        """Removes a folder with all below it; it may be gone already.

        Files of a disk are removed side by side, since some disks make each of them wait for
        milliseconds; an object store is told as many at once as it takes.
        """
        path = self.join(name)
        if not self.info(name).is_folder:
            return
        with self.reaching(path), suppress(FileNotFoundError):
            if self.remote is None and not Path(path).is_symlink():
                _delete_side_by_side(path)
            self.filesystem.delete_dir(path)

    def leftovers(self, folder: str = "", *, recursive: bool = True) -> list[str]:
        """Files of writers that were killed before they committed; not those of one at work."""
        if self.is_local and not recursive:
            base = self.join(folder) if folder else self.path
            temporary = self._local_temporaries(base)
        else:
            names = self.names(folder, recursive=recursive)
            temporary = [n for n in names if n.rpartition("/")[2].startswith(_TEMPORARY)]
        below = f"{folder}/" if folder else ""
        return [n for n in temporary if not (self.is_local and _is_at_work(self.join(below + n)))]

    def sweep(self, folder: str = "", *, recursive: bool = True) -> None:
        """Removes what killed writers left of files below a folder.

        On an object store nothing can be left there but the parts of large files; what was to be
        uploaded lies in this machine's temporary directory.
        """
        if self.remote is None:
            for leftover in self.leftovers(folder, recursive=recursive):
                self.delete(f"{folder}/{leftover}" if folder else leftover)
            return
        abort_uploads(self.remote, self.join(folder) if folder else self.path)
        for path in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*.part"):
            if _WRITER.match(path.name) and not _is_at_work(path):
                with suppress(OSError):  # of another user
                    path.unlink()

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file so that it appears whole or not at all."""
        staged = self.stage(name)
        try:
            with self.reaching(self.join(name), "the disk fails"):
                staged.path.write_bytes(content)
            staged.commit()
        finally:
            staged.discard()

    def create(self, name: str, content: bytes) -> bool:
        """As `write`, but only if there is no such file: of several writers, one succeeds.

        Returns:
            Whether it was this one; on an object store also if another wrote the same.
        """
        staged = self.stage(name)
        try:
            with self.reaching(self.join(name), "the disk fails"):
                staged.path.write_bytes(content)
            return staged.commit_first()
        finally:
            staged.discard()

    def stage(self, name: str) -> StagedFile:
        """A local path to write to, which takes the final name when committed.

        Local folders: a hidden neighbour. Object stores: a local temporary file.

        Raises:
            StoreError: the folder cannot be written to.
        """
        # Not ending in .parquet: some readers' `*.parquet` takes hidden files too.
        writer = f"{_TEMPORARY}{host_mark()}-{os.getpid()}"
        temporary = f"{writer}-{uuid.uuid4().hex[:12]}-{Path(name).name}.part"
        path = self.join(name)
        if not self.is_local:
            return StagedFile(self, name, Path(tempfile.gettempdir()) / temporary)
        with self.reaching(path, "choose another --store or make its folder writable"):
            parent = Path(path).parent
            parent.mkdir(parents=True, exist_ok=True)
            (parent / temporary).touch(exist_ok=False)
            return StagedFile(self, name, parent / temporary)

    @contextmanager
    def reaching(self, path: str | Path, cure: str | None = None) -> Iterator[None]:
        """Whatever the disk, the network or the object store refuses becomes a StoreError.

        Args:
            path: of the file or folder, for the error's text.
            cure: what to do about it.
        """
        what = "cannot be written" if cure else "cannot be read or written"
        shown = path
        if self.remote is not None and isinstance(path, str):
            shown = self.remote.unstrip_protocol(path)
        with reaching(shown, what, cure):
            yield


@dataclass(frozen=True)
class StagedFile:
    """A file that does not exist for readers until it is committed."""

    folder: Folder
    name: str  # final name below the folder
    path: Path  # where to write meanwhile

    def commit(self) -> None:
        """Gives the file its final name: a synced rename, or one upload.

        Raises:
            StoreError: the disk is full, or the upload failed; nothing has the final name then.
        """
        target = self.folder.join(self.name)
        with self.folder.reaching(target, "the disk or the network fails"):
            if self.folder.remote is not None:
                self.folder.remote.put_file(str(self.path), target)
                return
            _sync(self.path)
            self.path.replace(target)
            _sync_directory(self.path.parent)

    def commit_first(self) -> bool:
        """As `commit`, unless there is a file of that name; whether it was done."""
        target = self.folder.join(self.name)
        with self.folder.reaching(target, "the disk or the network fails"):
            try:
                if self.folder.remote is not None:
                    return create_first(self.folder.remote, target, self.path.read_bytes())
                _sync(self.path)
                _rename_first(self.path, Path(target))
            except FileExistsError:
                return False
            _sync_directory(self.path.parent)
            return True

    def discard(self) -> None:
        """Removes what was written and not committed."""
        self.path.unlink(missing_ok=True)


def _rename_first(source: Path, target: Path) -> None:
    """Gives a file a further name that no other has, or its only one; both at once or not at all.

    Raises:
        FileExistsError: there is a file of that name.
        StoreError: this disk has no means for it.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_locked(source, target)


def _rename_locked(source: Path, target: Path) -> None:
    """For disks without hard links: under a lock of the folder, which ends with its process."""
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise StoreError(
                f"{target}: cannot be written: this disk has neither hard links nor locks "
                f"({error.strerror}), without which two commands could both begin here; choose "
                "another --store, on another disk"
            ) from error
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.replace(target)
    finally:
        os.close(handle)


def _is_at_work(file: str | Path) -> bool:
    """Whether the writer of a file that is not committed may still be there."""
    path = Path(file)
    writer = _WRITER.match(path.name)
    if writer is None:
        return False
    if writer[1] == host_mark():
        return pid_runs(int(writer[2]))
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime < _FOREIGN_S
    return False


def _delete_side_by_side(folder: str) -> None:
    """Removes all files below a folder of a disk; not the folders."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for base, _, names in os.walk(folder):
            shares = (names[start::_AT_ONCE] for start in range(min(_AT_ONCE, len(names))))
            list(pool.map(lambda share, base=base: _unlink(base, share), shares))


def _unlink(folder: str, names: Sequence[str]) -> None:
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))


def _sync(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _local_stats(base: str) -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of each file in a folder; one that goes meanwhile is left out."""
    with os.scandir(base) as entries:
        for entry in entries:
            try:
                found = entry.stat() if entry.is_file() else None
            except FileNotFoundError:
                continue
            if found is not None:
                yield entry.name, found


def _file_state(found: os.stat_result) -> FileState:
    return FileState(True, False, found.st_size, str(found.st_mtime_ns), found.st_mtime)


def _object_state(found: Mapping[str, Any]) -> FileState:
    changed = found.get("LastModified", found.get("mtime"))  # of S3, of Google's
    return FileState(
        is_file=True,
        size=int(found["size"]),
        version=found.get("ETag", found.get("etag")),
        changed=changed.timestamp() if isinstance(changed, datetime) else None,
    )


def _below(base: str, path: str) -> str:
    """The part of `path` below `base`; some filesystems put a slash before their paths."""
    return path.strip("/").removeprefix(base.strip("/")).lstrip("/")


def _sync_directory(path: Path) -> None:
    """Makes a rename survive a power cut; a no-op where directories cannot be synced."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
