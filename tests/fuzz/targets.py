"""The parsers of ours that read what strangers wrote, each with good inputs to start from.

A parser may refuse whatever it is given, by the error that it promises. Anything else is a fault.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from offline_rl.run_config import load_config
from offline_rl.run_files import sync
from relabel.frames.decoding import MAX_PIXELS, decode_frame
from relabel.source.examples import EpisodeParser, read_example
from relabel.source.features import read_features
from relabel.source.opening import FEATURES_FILE, INFO_FILE
from relabel.source.records import read_records
from relabel.source.source import Source
from relabel.source.survey import survey_shard
from relabel.testing import encoded_image, serialize_episode
from schemas.errors import EpisodeError, FrameError, GoalError, RunError, SourceError, StoreError
from schemas.files import Folder
from schemas.goals import GoalSet
from schemas.manifests import parse_manifest, parse_store_manifest, sealed
from schemas.receipts import read_receipt
from tests.pipelines import small_source
from tests.relabel.mutations import framed

ROOT: Final = Path(__file__).parents[2]
GOLDEN: Final = ROOT / "tests" / "golden" / "store-1.0"
RECORDS: Final = 6  # asked of a shard


@dataclass(frozen=True)
class Target:
    """One parser."""

    parse: Callable[[bytes], object]
    refuses: type[Exception]
    seeds: Callable[[], Sequence[bytes]]

    def run(self, content: bytes) -> None:
        """Parses; raises what the parser should not have raised."""
        try:
            self.parse(content)
        except self.refuses as error:
            told = str(error)
            if not told or len(told) > 5000:
                raise AssertionError(f"refused with {len(told)} characters") from error
            return


# --- shards


@cache
def _place() -> Path:
    return Path(tempfile.mkdtemp(prefix="vlm-relabel-fuzz-", dir=_memory()))


def _memory() -> str | None:
    """A folder in memory, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _shard(content: bytes) -> None:
    path = _place() / "shard"
    path.write_bytes(content)
    survey = survey_shard(str(path), "tfrecord")
    found = list(read_records(str(path), "tfrecord", 0, RECORDS))
    if len(found) != RECORDS:
        raise AssertionError(f"{len(found)} of {RECORDS} records are accounted for")
    readable = sum(isinstance(record, bytes) for record in found)
    if readable > survey.records:
        raise AssertionError(f"{survey.records} records were found and {readable} read")
    if not 0 <= survey.records * 16 <= survey.size == len(content):
        raise AssertionError(f"{survey.records} records in {len(content)} bytes")


def _shards() -> list[bytes]:
    return [b"".join(map(framed, [b"first", b"", b"x" * 40])), framed(b""), b""]


# --- episodes


@cache
def _parser() -> EpisodeParser:
    features = read_features(small_source.features(), "the small source")
    return EpisodeParser(features, [leaf.spec.name for leaf in features.steps])


def _episode(content: bytes) -> None:
    steps, _ = _parser().parse(content)
    if len({len(values) for values in steps.values()}) > 1:
        raise AssertionError("columns of several lengths")


def _episodes() -> list[bytes]:
    made = [small_source.episode(0, 2), small_source.episode(1, 1)]
    return [serialize_episode(small_source.features(), episode) for episode in made]


# --- images


def _frame(content: bytes) -> None:
    height, width, channels = decode_frame(content).shape
    if channels != 3 or height * width > MAX_PIXELS:
        raise AssertionError(f"a frame of {height} x {width} x {channels}")


def _frames() -> list[bytes]:
    pixels = small_source.frame(0, 0)
    return [encoded_image(pixels), encoded_image(pixels, "JPEG")]


# --- goals


def _goals() -> list[bytes]:
    whole = ROOT / "examples" / "playroom" / "goals.yaml"
    anchors = "goals: [&a {id: red, texts: [a red room]}]\nname: x\n"
    return [small_source.GOALS.encode(), anchors.encode(), whole.read_bytes()[:2000]]


def _goals_json() -> list[bytes]:
    goal = {"id": "red", "texts": ["a red room"], "negatives": ["grey"], "threshold": 0.5}
    return [json.dumps({"name": "x", "goals": [goal]}).encode(), b'{"goals": []}', b"[]"]


def _yaml(content: bytes) -> object:
    return GoalSet.from_yaml(content.decode("utf-8", "replace"), origin="goals.yaml")


def _json(content: bytes) -> object:
    return GoalSet.from_json(content.decode("utf-8", "replace"), origin="goals.json")


# --- manifests


def _manifest(content: bytes) -> object:
    return parse_manifest(content, origin="manifest.json")


def _resealed(content: bytes) -> object:
    """With a checksum that is right, so that it is no protection."""
    keys = _object(content)
    return parse_manifest(content if keys is None else sealed(keys), origin="manifest.json")


def _store_manifest(content: bytes) -> object:
    keys = _object(content)
    manifest = parse_store_manifest(
        content if keys is None else sealed(keys), origin="manifest.json"
    )
    return manifest.plan()


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        keys = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return keys if isinstance(keys, dict) else None


def _manifests() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.rglob("manifest.json"))][1:]


def _store_manifests() -> list[bytes]:
    return [(GOLDEN / "manifest.json").read_bytes()]


def _receipt(content: bytes) -> None:
    (_place() / "receipt.json").write_bytes(content)
    read_receipt(Folder.at(str(_place().parent)), _place().name, "receipt")


def _receipts() -> list[bytes]:
    return [sealed({"format_version": "2.0", "files": []}), b"{}"]


def _config(content: bytes) -> None:
    path = _place() / "config.json"
    path.write_bytes(content)
    sync(path)
    load_config(_place())


def _configs() -> list[bytes]:
    return [b'{"store": "s", "dataset": "gc1", "algo": "iql", "steps": 3}', b"{}"]


@cache
def _dataset() -> Path:
    return small_source.write_source(_place() / "dataset")


@cache
def _description(name: str) -> bytes:
    return (_dataset() / name).read_bytes()


def _opened(name: str, content: bytes) -> None:
    _description(name)
    (_dataset() / name).write_bytes(content)
    try:
        Source.open(str(_dataset()), "train")
    finally:
        (_dataset() / name).write_bytes(_description(name))


TARGETS: Final[dict[str, Target]] = {
    "shard": Target(_shard, SourceError, _shards),
    "example": Target(read_example, EpisodeError, _episodes),
    "episode": Target(_episode, EpisodeError, _episodes),
    "frame": Target(_frame, FrameError, _frames),
    "goals-yaml": Target(_yaml, GoalError, _goals),
    "goals-json": Target(_json, GoalError, _goals_json),
    "manifest": Target(_manifest, StoreError, _manifests),
    "resealed-manifest": Target(_resealed, StoreError, _manifests),
    "store-manifest": Target(_store_manifest, StoreError, _store_manifests),
    "receipt": Target(_receipt, StoreError, _receipts),
    "features": Target(
        partial(_opened, FEATURES_FILE), SourceError, lambda: [_description(FEATURES_FILE)]
    ),
    "dataset-info": Target(
        partial(_opened, INFO_FILE), SourceError, lambda: [_description(INFO_FILE)]
    ),
    "run-config": Target(_config, RunError, _configs),
}
