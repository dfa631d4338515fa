"""`inspect`: what a source holds, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from relabel.extent import known_splits
from relabel.features import read_features
from relabel.notes import LanguageReport
from relabel.opening import open_dataset
from relabel.source import Source, is_action
from schemas.enums import LastStep
from schemas.errors import SourceError
from schemas.tables import FieldSpec

_DEFAULT_SPLIT: Final = "train"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class SplitReport(_Model):
    """One split of a source."""

    name: str
    episodes: int  # as a store would have them: those found, and those told but lost
    told: int | None  # episodes that dataset_info.json tells of; None: it does not say
    found: int  # records that the shard files really hold
    shards: int
    shards_missing: int  # of these, files that are not there
    bytes: int
    slices: int  # as they would be cut by default


class SourceReport(_Model):
    """What `vlm-relabel inspect` tells."""

    directory: str
    name: str
    version: str
    file_format: str
    splits: tuple[SplitReport, ...]
    cameras: tuple[str, ...]
    no_cameras: dict[str, str]  # depth and the like → why no camera is made of it unasked
    actions: tuple[FieldSpec, ...]
    columns: tuple[FieldSpec, ...]  # every other low-dimensional feature
    metadata: tuple[FieldSpec, ...]
    left_out: dict[str, str]
    language_fields: tuple[str, ...]
    instructions: tuple[str, ...]  # of the first episodes
    language: tuple[LanguageReport, ...]  # every text, with what the first episodes hold of it
    last_step: LastStep
    last_step_reason: str
    notes: tuple[str, ...]
    next_command: str


def inspect_source(directory: str) -> SourceReport:
    """Looks at a dataset directory and at its first episodes.

    Raises:
        SourceError: it cannot be a source; see `Source.open`.
    """
    opened = open_dataset(directory)
    features = read_features(opened.builder.info.features, directory)
    names = known_splits(opened)
    if not names:
        raise SourceError(f"{directory}: no split holds an episode")
    sources = {name: Source(opened, name, features) for name in names}
    first = _DEFAULT_SPLIT if _DEFAULT_SPLIT in names else names[0]
    source = sources[first]
    last_step, reason = source.detect_last_step()
    low = [leaf.spec for leaf in source.columns]
    actions = tuple(spec for spec in low if is_action(spec.name))
    return SourceReport(
        directory=directory,
        name=source.spec.name,
        version=source.spec.version,
        file_format=source.file_format,
        splits=tuple(map(_split, sources.values())),
        cameras=tuple(camera.replace(".", "/") for camera in source.cameras),
        no_cameras={n.replace(".", "/"): why for n, why in source.found.refused.items()},
        actions=actions,
        columns=tuple(spec for spec in low if spec not in actions),
        metadata=tuple(leaf.spec for leaf in source.features.metadata),
        left_out=dict(source.features.left_out),
        language_fields=source.features.language_fields,
        instructions=source.sample_instructions(),
        language=source.languages(),
        last_step=last_step,
        last_step_reason=reason,
        notes=(*(n for s in sources.values() for n in s.extent.notes()), *source.notes()),
        next_command=_next_command(directory, first, source),
    )


def _split(source: Source) -> SplitReport:
    per_slice = source.default_episodes_per_slice()
    shards = source.extent.shards
    told = [shard.shard.told for shard in shards]
    return SplitReport(
        name=source.spec.split,
        episodes=source.episodes,
        told=sum(t for t in told if t is not None) if None not in told else None,
        found=sum(shard.found.records for shard in shards),
        shards=len(shards),
        shards_missing=sum(shard.found.missing for shard in shards),
        bytes=source.stored_bytes,
        slices=sum(-(-length // per_slice) for length in source.spec.shard_lengths),
    )


def _next_command(directory: str, split: str, source: Source) -> str:
    store = ("--store", f"{source.spec.name}.store")
    if not source.cameras:
        where = ("--source", directory, "--split", split)
        return shlex.join(("vlm-relabel", "embed", "--no-frames", *where, *store))
    goals = "goals.yaml"
    spoken = [report for report in source.languages() if report.fills_language and report.examples]
    if spoken:
        goals = f"field:{spoken[0].name}"
    camera = source.cameras[0].replace(".", "/")
    words: Sequence[str] = (
        *("vlm-relabel", "relabel", "--source", directory, "--split", split),
        *("--camera", camera, "--encoder", "ViT-B-32:laion2b_s34b_b79k"),
        *("--goals", goals, *store),
    )
    return shlex.join(words)
