"""Files that appear whole or not at all, on a local disk or an object store."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyarrow import fs

from schemas.errors import StoreError
from schemas.names import check_inside

_TEMPORARY: Final = ".tmp-"  # prefix of a file that is not yet committed
_COPY_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Folder:
    """A directory of a local disk or an object store (`s3://`, `gs://`), by pyarrow.fs."""

    path: str
    filesystem: fs.FileSystem

    @classmethod
    def at(cls, location: str) -> Folder:
        """The folder at a path or URI; it need not exist yet.

        Raises:
            StoreError: a URI of no known kind.
        """
        if "://" not in location:
            return cls(str(Path(location).expanduser().absolute()), fs.LocalFileSystem())
        try:
            filesystem, path = fs.FileSystem.from_uri(location)
        except (ValueError, OSError) as error:
            raise StoreError(f"{location}: cannot be opened: {error}") from error
        return cls(path, filesystem)

    @property
    def is_local(self) -> bool:
        """Whether files can be renamed into place."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def join(self, name: str) -> str:
        """Path of a file below the folder, as `filesystem` takes it.

        Raises:
            StoreError: the name leads out of the folder.
        """
        try:
            return f"{self.path}/{check_inside(name)}"
        except ValueError as error:
            raise StoreError(f"{self.path}: {error}") from error

    def exists(self, name: str) -> bool:
        """Whether a committed file has this name."""
        return bool(self.info(name).type == fs.FileType.File)

    def info(self, name: str) -> fs.FileInfo:
        """Kind, size and time of change of a file; its kind is `NotFound` if there is none."""
        return self.filesystem.get_file_info(self.join(name))

    def names(self, folder: str, *, recursive: bool = False) -> list[str]:
        """Sorted names of the files below `folder`, relative to it; [] if there is none."""
        base = self.join(folder) if folder else self.path
        selector = fs.FileSelector(base, recursive=recursive, allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        files = (info.path for info in infos if info.type == fs.FileType.File)
        return sorted(_below(base, path) for path in files)

    def read(self, name: str) -> bytes:
        """Whole content of a file.

        Raises:
            StoreError: there is no such file.
        """
        try:
            with self.filesystem.open_input_stream(self.join(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError as error:
            raise StoreError(f"{self.join(name)}: no such file") from error

    def sha256(self, name: str) -> str:
        """Hash of a file's content."""
        with self.filesystem.open_input_file(self.join(name)) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def size(self, name: str) -> int:
        """Length of a file in bytes."""
        return int(self.info(name).size)

    def delete(self, name: str) -> None:
        """Removes one file; it may be gone already."""
        if self.exists(name):
            self.filesystem.delete_file(self.join(name))

    def delete_folder(self, name: str) -> None:
        """Removes a folder with all below it; it may be gone already."""
        if self.info(name).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.join(name))

    def leftovers(self, folder: str = "") -> list[str]:
        """Files of writers that were killed before they committed."""
        names = self.names(folder, recursive=True)
        return [name for name in names if Path(name).name.startswith(_TEMPORARY)]

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file so that it appears whole or not at all."""
        staged = self.stage(name)
        try:
            staged.path.write_bytes(content)
            staged.commit()
        finally:
            staged.discard()

    def stage(self, name: str) -> StagedFile:
        """A local path to write to, which takes the final name when committed.

        Local folders: a hidden neighbour. Object stores: a local temporary file.

        Raises:
            StoreError: the folder cannot be written to.
        """
        # Not ending in .parquet: some readers' `*.parquet` takes hidden files too.
        temporary = f"{_TEMPORARY}{uuid.uuid4().hex[:12]}-{Path(name).name}.part"
        try:
            if not self.is_local:
                return StagedFile(self, name, Path(tempfile.gettempdir()) / temporary)
            parent = Path(self.join(name)).parent
            parent.mkdir(parents=True, exist_ok=True)
            (parent / temporary).touch(exist_ok=False)
            return StagedFile(self, name, parent / temporary)
        except OSError as error:
            raise StoreError(
                f"{self.join(name)}: cannot be written: {error}; "
                "choose another --store or make its folder writable"
            ) from error


@dataclass(frozen=True)
class StagedFile:
    """A file that does not exist for readers until it is committed."""

    folder: Folder
    name: str  # final name below the folder
    path: Path  # where to write meanwhile

    def commit(self) -> None:
        """Gives the file its final name: a synced rename, or one upload.

        Raises:
            StoreError: the upload failed; nothing has the final name then.
        """
        if self.folder.is_local:
            with self.path.open("rb+") as stream:
                os.fsync(stream.fileno())
            self.path.replace(self.folder.join(self.name))
            _sync_directory(self.path.parent)
            return
        try:
            self._upload()
        except OSError as error:
            raise StoreError(
                f"{self.folder.join(self.name)}: cannot be written: {error}"
            ) from error

    def _upload(self) -> None:
        target = self.folder.filesystem.open_output_stream(self.folder.join(self.name))
        try:
            with self.path.open("rb") as source, target:
                shutil.copyfileobj(source, target, _COPY_BYTES)
        except BaseException:
            # Closing the stream, which an error does too, published what had been written.
            self.folder.delete(self.name)
            raise

    def discard(self) -> None:
        """Removes what was written and not committed."""
        self.path.unlink(missing_ok=True)


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
