"""Manifests: what a store and each of its tables say of themselves.

The store's own `manifest.json` is written first: it is the identity of the source and the
plan of the slices. A table's `plan.json` is written when a job starts on it, and replaced by
its `manifest.json`, with every file's rows, bytes and SHA-256, when all its slices are whole.
Both lie in the table's `__meta__`, so that the table's own folder holds nothing but slices.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.encoders import EncoderSpec
from schemas.enums import CameraForm, Fusion, LastStep, Timing
from schemas.errors import StoreError
from schemas.goal_datasets import GoalDatasetManifest
from schemas.json_text import parse_json, validation_problems
from schemas.names import InsidePath, Name, folder_name
from schemas.slices import Slice
from schemas.table_manifest import (
    FORMAT_VERSION,
    READABLE_MAJORS,
    TableManifest,
    differences_of,
)
from schemas.tables import FieldSpec
from schemas.texts import brief

__all__ = [
    "FORMAT_VERSION",
    "AnyTableManifest",
    "EmbeddingManifest",
    "EpisodesManifest",
    "GoalDatasetManifest",
    "RewardManifest",
    "SliceSpec",
    "SourceSpec",
    "StepsManifest",
    "StoreManifest",
    "TableManifest",
    "embedding_name",
    "manifest_bytes",
    "parse_manifest",
    "parse_store_manifest",
    "sealed",
    "unsealed",
]

CHECKSUM: Final = "checksum"  # of a manifest: SHA-256 of its other keys

_M = TypeVar("_M", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SourceSpec(_Model):
    """Where the frames came from."""

    name: str  # of the dataset: "bridge_dataset"
    version: str
    split: str  # "train"; several joined by "+"
    part: str = ""  # as asked for: "train[:10%]", "all"; "": all of `split`
    fingerprint: str  # sha256 of the dataset's name, version, splits, file format and features
    shard_lengths: tuple[int, ...]  # records per shard of the whole splits
    shard_splits: tuple[str, ...] = ()  # split of each of these shards; (): all of `split`

    @property
    def instruction(self) -> str:
        """What to ask the source for, to get the same part again."""
        return self.part or self.split

    @property
    def title(self) -> str:
        """For people: `bridge_dataset 1.0.0 train`."""
        return f"{self.name} {self.version} {self.instruction}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSpec:
    """One planned slice: episodes [start, stop) of a shard. No model of its own, as `TableFile`."""

    split: str | None = None  # None: that of the source
    shard: int
    start: int
    stop: int
    digest: str | None = None  # of the records, as they were when the slice was planned


class StoreManifest(_Model):
    """`manifest.json` of a store."""

    format_version: str = FORMAT_VERSION
    source: SourceSpec
    slices: tuple[SliceSpec, ...]
    episodes_per_slice: int | None = None  # at most, when new slices are cut
    fields: tuple[FieldSpec, ...]  # columns of the steps table, after its keys
    metadata: tuple[FieldSpec, ...]  # columns of the episodes table, after its own
    left_out: dict[str, str]  # features that are no column, with the reason
    cameras: tuple[str, ...]  # of the source, whether kept or not
    camera_forms: dict[str, CameraForm] = Field(default_factory=dict)  # how each is stored there
    language_fields: tuple[str, ...]  # text features that hold an instruction
    last_step: LastStep
    last_step_reason: str
    exclude: tuple[str, ...] = ()  # patterns of features that the user left out
    # What became of records in which several episodes begin; format 1.x left them whole.
    merged_records: Literal["split", "whole"] = "whole"

    def plan(self) -> tuple[Slice, ...]:
        """The slices, as the jobs pass them around."""
        count, split, numbered = len(self.slices), self.source.split, self.is_of_first_format
        return tuple(
            Slice(
                index=index,
                count=count,
                split=piece.split or split,
                shard=piece.shard,
                start=piece.start,
                stop=piece.stop,
                numbered=numbered,
            )
            for index, piece in enumerate(self.slices)
        )

    def differences(self, other: StoreManifest) -> list[str]:
        """What keeps this stored plan from being `other`, one line per differing value."""
        old, new = (m.model_dump(mode="json", exclude={"last_step_reason"}) for m in (self, other))
        found = differences_of(old, new)
        telling = [line for line in found if not line.startswith("slices:")]
        return telling or found  # other slices follow from another value, if there is one

    @property
    def is_of_first_format(self) -> bool:
        """Whether format 1 wrote it: its slices have numbers for names, and no digests."""
        return self.format_version.split(".")[0] == "1"

    @property
    def episodes(self) -> int:
        """Records of the source that the slices cover."""
        return sum(piece.stop - piece.start for piece in self.slices)

    @property
    def content(self) -> str:
        """sha256 of which source this is and what was read of it; changes when the store grows."""
        slices = [asdict(piece) for piece in self.slices]
        text = json.dumps([self.source.fingerprint, slices], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class StepsManifest(TableManifest):
    """Manifest of `steps`."""

    kind: Literal["steps"] = "steps"
    frames: tuple[str, ...] = ()  # cameras whose encoded images are kept as columns

    @property
    def table(self) -> str:
        """Path of the table below the store."""
        return "steps"


class EpisodesManifest(TableManifest):
    """Manifest of `episodes`."""

    kind: Literal["episodes"] = "episodes"

    @property
    def table(self) -> str:
        """Path of the table below the store."""
        return "episodes"


class EmbeddingManifest(TableManifest):
    """Manifest of `embeddings/<encoder>.<camera>`."""

    kind: Literal["embeddings"] = "embeddings"
    encoder: EncoderSpec
    camera: str  # dotted feature name
    form: CameraForm = CameraForm.IMAGE  # how the source stores its frames
    dtype: Literal["float16", "float32"] = "float16"  # as stored

    @property
    def table(self) -> str:
        """Path of the table below the store."""
        return f"embeddings/{embedding_name(self.encoder, self.camera)}"

    def identity(self) -> dict[str, Any]:
        """As for any table; an encoder moved to another path is the same encoder.

        How it reads texts does not matter to frames.
        """
        content = super().identity()
        content["encoder"].pop("name")
        content["encoder"].pop("tokenizer_sha256", None)
        return content


class RewardManifest(TableManifest):
    """Manifest of `rewards/<name>`."""

    kind: Literal["rewards"] = "rewards"
    name: Name
    goals_name: str
    goals_hash: str  # content hash of the goal set
    goals: int  # G
    encoder: EncoderSpec
    embeddings: tuple[InsidePath, ...]  # names of the embedding tables scored, one per camera
    embedding_fingerprints: tuple[str, ...]  # of these tables, in the same order
    function: dict[str, Any]  # the reward function with every number it used
    timing: Timing
    fusion: Fusion
    skip_blank_cameras: bool = False  # a camera counts only where it shows more than one colour
    binary: bool  # rewards are 0 or 1, stored as uint8
    scores: bool  # the score column is there
    score_range: tuple[float, float]  # closed interval
    reward_range: tuple[float, float]

    @property
    def table(self) -> str:
        """Path of the table below the store."""
        return f"rewards/{self.name}"

    def identity(self) -> dict[str, Any]:
        """As for any table; names of the goal set and of the encoder do not matter."""
        content = super().identity()
        content.pop("goals_name")
        content["encoder"].pop("name")
        return content


AnyTableManifest = (
    StepsManifest | EpisodesManifest | EmbeddingManifest | RewardManifest | GoalDatasetManifest
)

_KINDS: Final[dict[str, type[AnyTableManifest]]] = {
    "steps": StepsManifest,
    "episodes": EpisodesManifest,
    "embeddings": EmbeddingManifest,
    "rewards": RewardManifest,
    "goal_datasets": GoalDatasetManifest,
}


def embedding_name(encoder: EncoderSpec, camera: str) -> str:
    """Folder name of the embeddings of one camera under one encoder."""
    return folder_name(f"{encoder.key}.{camera.removeprefix('observation.')}")


def parse_manifest(text: str | bytes, *, origin: str, changed: bool = False) -> AnyTableManifest:
    """A table's manifest or plan from its JSON.

    Args:
        text: the JSON.
        origin: where it comes from, for error texts.
        changed: take it even if it was changed after it was written.

    Raises:
        StoreError: not a manifest, or of a format version this code does not read.
    """
    content = unsealed(text, origin=origin, changed=changed)
    model = _KINDS.get(str(content.get("kind")))
    if model is None:
        told = brief(repr(content.get("kind")))
        raise StoreError(f"{origin}: expected kind in {list(_KINDS)}, got {told}")
    return _validated(model, text, origin)


def parse_store_manifest(text: str | bytes, *, origin: str) -> StoreManifest:
    """A store's manifest from its JSON; errors as `parse_manifest`."""
    unsealed(text, origin=origin)
    return _validated(StoreManifest, text, origin)


def manifest_bytes(manifest: AnyTableManifest | StoreManifest) -> bytes:
    """A manifest as it is stored: JSON with a checksum of its own as the last key."""
    return sealed(manifest.model_dump(mode="json"))


def sealed(content: dict[str, Any]) -> bytes:
    """The JSON of a manifest's keys, its checksum added."""
    whole = {**content, CHECKSUM: _checksum(content)}
    lines = ",\n".join(f" {json.dumps(key)}: {_laid_out(value)}" for key, value in whole.items())
    return f"{{\n{lines}\n}}".encode()


def _laid_out(value: Any) -> str:
    """An item of a list a line: some 400,000 files, indented key by key, take ten seconds."""
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    items = ",\n".join(f"  {json.dumps(item)}" for item in value)
    return f"[\n{items}\n ]"


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _validated(model: type[_M], text: str | bytes, origin: str) -> _M:
    try:
        # From JSON, in which a tuple is a list and an enum its value, whatever is strict.
        return model.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(f"{origin}: not a valid manifest: {validation_problems(error)}") from error


def unsealed(text: str | bytes, *, origin: str, changed: bool = False) -> dict[str, Any]:
    """The keys that `sealed` was given; with `changed`, or what has become of them.

    Raises:
        StoreError: no JSON, of a format version this code does not read, or changed since.
    """
    try:
        content: Any = parse_json(text)
    except ValueError as error:
        raise StoreError(f"{origin}: not JSON: {error}") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, str) or version.split(".")[0] not in READABLE_MAJORS:
        raise StoreError(
            f"{origin}: expected format version {' or '.join(f'{n}.x' for n in READABLE_MAJORS)}, "
            f"got {brief(repr(version))}; read it with a release of that major version"
        )
    found = content.pop(CHECKSUM, None)
    if version.split(".")[0] != "1" and not changed and found != _checksum(content):
        raise StoreError(
            f"{origin}: expected its content to have the {CHECKSUM} {str(found)[:8]}…, got "
            f"{_checksum(content)[:8]}…: it was changed after it was written; put back a copy, or "
            "delete it and run the command that wrote it again"
        )
    return dict(content)
