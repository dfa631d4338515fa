"""The opening of a dataset directory: where it is, what its description says, its shard files.

Everything that TFDS would answer with a traceback, or with nothing, is one sentence here.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import tensorflow_datasets as tfds
from etils import epath
from etils.epath import gpath
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from relabel.lfs import LFS_CURE, is_lfs_pointer
from relabel.source.records import reaching_source
from schemas.errors import SourceError
from schemas.json_text import parse_json
from schemas.locations import check_no_secret, is_url
from schemas.object_stores import explained, network_errors, open_url

FEATURES_FILE: Final = "features.json"
INFO_FILE: Final = "dataset_info.json"
_SCHEMES: Final = ("gs", "s3")  # of the URLs that etils, and so TFDS, opens

_Count = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    # Protocol buffers write 64-bit integers as text, and take names in both spellings.
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class SplitInfo(_Model):
    """What `dataset_info.json` says of a split; None: nothing."""

    name: Annotated[str, Field(min_length=1)]
    shard_lengths: tuple[_Count, ...] | None = None  # records per shard
    num_bytes: _Count | None = None


class DatasetInfo(_Model):
    """What we need of `dataset_info.json`."""

    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    file_format: Literal["tfrecord", "array_record"] = "tfrecord"  # TFDS's own default
    splits: tuple[SplitInfo, ...] = ()


@dataclass(frozen=True)
class Shard:
    """One shard file of a split."""

    split: str
    index: int  # within the split
    path: str
    told: int | None  # records, as `dataset_info.json` says; None: it does not say


@dataclass(frozen=True)
class Opened:
    """A dataset directory that TFDS takes."""

    directory: str
    builder: Any
    info: DatasetInfo
    shards: Mapping[str, tuple[Shard, ...]]  # by split, in alphabetical order


def open_dataset(directory: str) -> Opened:
    """Opens a dataset directory and lists its shard files; reads none of them.

    Raises:
        SourceError: there is no such directory, or no dataset in it.
    """
    with reaching_source(directory):
        return _opened(directory, checked_directory(directory))


def _opened(directory: str, path: epath.Path) -> Opened:
    info = _read_info(path)
    _check_local(directory, info)
    _check_features(path / FEATURES_FILE)
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        builder = tfds.builder_from_directory(path)
        return Opened(directory, builder, info, _shards(path, builder, info))
    except SourceError:
        raise
    except Exception as error:  # TFDS raises whatever its JSON and registry code raises
        raise SourceError(
            f"{path / INFO_FILE}: the dataset description cannot be read: {_told(error)}"
        ) from error


def _check_local(directory: str, info: DatasetInfo) -> None:
    if info.file_format == "array_record" and is_url(directory):
        raise SourceError(
            f"{directory}: expected a directory on a local disk, since the library that reads "
            "ArrayRecord files opens no URLs; copy the dataset first"
        )


def checked_directory(directory: str) -> epath.Path:
    """The directory of a dataset, once it is known to be there and to hold `features.json`.

    Raises:
        SourceError: it is not; or it is a URL that no installed library opens.
    """
    path = _path(directory)
    if not _is_there(directory, path):
        raise SourceError(f"{directory}: no such directory")
    if not (path / FEATURES_FILE).exists():
        below = sorted(str(p.parent) for p in path.glob(f"*/{FEATURES_FILE}"))
        hint = f"; did you mean {below[-1]}?" if below else ""
        raise SourceError(f"{directory}: not a TFDS dataset (no {FEATURES_FILE}){hint}")
    for name in (FEATURES_FILE, INFO_FILE):
        if is_lfs_pointer(path / name):
            raise SourceError(f"{path / name}: {LFS_CURE}")
    return path


def _path(directory: str) -> epath.Path:
    check_no_secret(directory)
    scheme, separator, rest = directory.partition("://")
    if not separator:
        return epath.Path(directory).expanduser()
    if scheme == "file":
        raise SourceError(f"{directory}: a local source is given as a path: /{rest.lstrip('/')}")
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise SourceError(f"{directory}: expected a path or {known}, got {scheme}://")
    open_url(directory)  # its library is there, and takes the URL
    _use_fsspec()
    return epath.Path(directory)


def _is_there(directory: str, path: epath.Path) -> bool:
    if "://" not in directory:
        return bool(path.is_dir())
    remote, name = open_url(directory)
    try:
        remote.ls(name)  # `isdir` says "no" also where nothing could be reached
    except FileNotFoundError:
        return False
    except network_errors() as error:
        raise SourceError(f"{directory}: cannot be looked at: {explained(error)}") from error
    return True


def _use_fsspec() -> None:
    """Makes etils open URLs with fsspec.

    With TensorFlow installed it would ask that, which knows no s3:// and answers "not there". It
    decides once in a process, by the environment, so a decision made before must be forgotten.
    """
    os.environ["EPATH_USE_TF"] = "0"
    forget = getattr(getattr(gpath, "_is_tf_installed", None), "cache_clear", None)
    if forget is not None:
        forget()


def _told(error: BaseException) -> str:
    """An error on one line; what the network says rather than what TFDS makes of it."""
    told, cause = brief(error), error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, network_errors()):
            told = explained(cause)
        cause = cause.__cause__ or cause.__context__
    return told


def brief(error: BaseException) -> str:
    """An error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


# --- features.json


def _check_features(path: epath.Path) -> None:
    content = _read_json(path)
    error = _feature_error(content)
    if error is None:
        return
    keys, error = _broken_feature(content, error)
    raise SourceError(
        f"{path}: {'.'.join(keys) or 'the whole'}: the dataset description cannot be read, since "
        f"this is no feature that TFDS knows: {brief(error)}"
    ) from error


def _feature_error(content: Any) -> Exception | None:
    try:
        tfds.features.FeatureConnector.from_json(content)
    except Exception as error:  # whatever TFDS's registry code raises
        return error
    return None


def _broken_feature(content: Any, error: Exception) -> tuple[tuple[str, ...], Exception]:
    """Keys that lead to the innermost feature that cannot be read, and why it cannot."""
    for key, inner in _inner_features(content):
        if found := _feature_error(inner):
            keys, innermost = _broken_feature(inner, found)
            return (*key, *keys), innermost
    return (), error


def _inner_features(content: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The features that a feature of `features.json` is made of, with the keys to them."""
    kinds = content.values() if isinstance(content, dict) else ()
    for kind in kinds:
        if isinstance(kind, dict) and isinstance(kind.get("features"), dict):
            yield from (((name,), inner) for name, inner in kind["features"].items())
        elif isinstance(kind, dict) and "feature" in kind:
            yield (), kind["feature"]


# --- dataset_info.json


def _read_json(path: epath.Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text())
    except (ValueError, OSError) as error:
        raise SourceError(
            f"{path}: the dataset description cannot be read: {brief(error)}"
        ) from error
    if not isinstance(content, dict):
        raise SourceError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _read_info(directory: epath.Path) -> DatasetInfo:
    path = directory / INFO_FILE
    if not path.exists():
        raise SourceError(f"{directory}: not a TFDS dataset (no {INFO_FILE})")
    content = _read_json(path)
    try:
        return DatasetInfo.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, got {_short(problem)}"
            for problem in error.errors()
        ]
        raise SourceError(f"{path}: {'; '.join(problems)}") from error


def _short(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "missing":
        return "nothing"
    text = json.dumps(problem["input"], default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- shards


def _shards(path: epath.Path, builder: Any, info: DatasetInfo) -> dict[str, tuple[Shard, ...]]:
    """The shard files of every split, from the description or, where it is silent, by name."""
    told = {split.name: split for split in info.splits}
    by_name = _files(path, builder, info)
    splits = {}
    for name in sorted({*told, *by_name}):
        lengths = told[name].shard_lengths if name in told else None
        if lengths:
            paths = [str(p) for p in builder.info.splits[name].filepaths]
            splits[name] = tuple(
                Shard(name, index, file, length)
                for index, (file, length) in enumerate(zip(paths, lengths, strict=True))
            )
        else:
            splits[name] = tuple(
                Shard(name, index, file, None) for index, file in enumerate(by_name.get(name, []))
            )
    if not any(map(_exists, splits.values())):
        _check_format(path, info)
    return splits


def _exists(shards: tuple[Shard, ...]) -> bool:
    return any(epath.Path(shard.path).exists() for shard in shards)


def _files(path: epath.Path, builder: Any, info: DatasetInfo) -> dict[str, list[str]]:
    """Paths of the shard files of every split that is found by its files' names."""
    names = sorted(file.name for file in path.iterdir())
    last: dict[str, tuple[Any, int]] = {}  # by split; each file tells of all its neighbours
    for template, name in itertools.product(_templates(path, builder, info), names):
        parsed = template.parse_filename_info(name)
        if parsed is None or not parsed.num_shards:
            continue
        if parsed.filetype_suffix not in (None, info.file_format):
            continue
        if parsed.dataset_name not in (None, info.name):
            continue
        split, count = parsed.split or template.split, parsed.num_shards
        last[split] = (template, count)
    return {
        split: _sharded(template.replace(split=split), count)
        for split, (template, count) in last.items()
    }


def _sharded(template: Any, count: int) -> list[str]:
    shards = (template.sharded_filepath(shard_index=i, num_shards=count) for i in range(count))
    return [str(path) for path in shards]


def _templates(path: epath.Path, builder: Any, info: DatasetInfo) -> Iterator[Any]:
    for split in builder.info.splits.values():
        yield split.filename_template
    yield tfds.core.ShardedFileTemplate(
        data_dir=path, dataset_name=info.name, filetype_suffix=info.file_format
    )


def _check_format(path: epath.Path, info: DatasetInfo) -> None:
    """Files of another format than the description says are the likeliest reason for none."""
    for other in ("tfrecord", "array_record"):
        if other != info.file_format and any(path.glob(f"*.{other}-*")):
            raise SourceError(
                f"{path / INFO_FILE}: fileFormat: got {info.file_format!r}, but the files here are "
                f'{other}; write "fileFormat": "{other}"'
            )
