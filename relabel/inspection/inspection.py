"""`inspect`: what a source holds, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from relabel.inspection.content import (
    CameraReport,
    LengthReport,
    MetadataReport,
    RangeReport,
    look_at,
)
from relabel.inspection.proposal import propose
from relabel.source.extent import known_splits
from relabel.source.features import read_features
from relabel.source.notes import LanguageReport
from relabel.source.opening import open_dataset
from relabel.source.source import Source, is_action
from schemas.enums import CameraForm, LastStep
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
    sampled_split: str  # whose first records were looked at; what follows is of these
    sampled: int  # how many
    unreadable: tuple[str, ...]  # episode and reason, of each that cannot be read
    lengths: LengthReport | None  # None: none could be read, or all are empty
    cameras: tuple[str, ...]
    frames: tuple[CameraReport, ...]  # of the cameras
    no_cameras: dict[str, str]  # depth and the like → why no camera is made of it unasked
    actions: tuple[RangeReport, ...]
    columns: tuple[FieldSpec, ...]  # every other low-dimensional feature
    metadata: tuple[MetadataReport, ...]
    left_out: dict[str, str]
    language: tuple[LanguageReport, ...]  # every text
    language_fields: tuple[str, ...]  # of these, what may fill `language` of the episodes table
    instructions: tuple[str, ...]  # of the sampled episodes
    last_step: LastStep
    last_step_reason: str
    notes: tuple[str, ...]
    error: str | None  # why nothing can be done with the source as it is
    advice: tuple[str, ...]  # what to do, where no command can be proposed as it is
    next_command: str | None  # None: none would work


def inspect_source(
    directory: str, *, exclude: Sequence[str] = (), keep_merged: bool = False
) -> SourceReport:
    """Looks at a dataset directory and at its first episodes.

    Args:
        directory: as `Source.open` takes it.
        exclude: likewise.
        keep_merged: likewise.

    Raises:
        SourceError: it cannot be a source; see `Source.open`.
    """
    opened = open_dataset(directory)
    features = read_features(opened.builder.info.features, directory, exclude)
    names = known_splits(opened)
    if not names:
        raise SourceError(f"{directory}: no split holds an episode")
    sources = {name: Source(opened, name, features, keep_merged) for name in names}
    first = _DEFAULT_SPLIT if _DEFAULT_SPLIT in names else names[0]
    source = sources[first]
    last_step, reason = source.detect_last_step()
    low = [leaf.spec for leaf in source.columns]
    actions = tuple(spec for spec in low if is_action(spec.name))
    # Decoding whole videos would take too long.
    quick = {n: form for n, form in source.found.forms.items() if form is not CameraForm.VIDEO}
    items = source.sampled_items([*(spec.name for spec in low), *quick], quick)
    content = look_at(
        items,
        cameras=source.found.forms,
        actions=actions,
        metadata=[leaf.spec for leaf in source.features.metadata],
    )
    language = source.languages()
    how = [word for pattern in exclude for word in ("--exclude", pattern)]
    how += ["--keep-merged"] if keep_merged else []
    proposal = propose(directory, first, source, content, language, how)
    return SourceReport(
        directory=directory,
        name=source.spec.name,
        version=source.spec.version,
        file_format=source.file_format,
        splits=tuple(map(_split, sources.values())),
        sampled_split=first,
        sampled=content.records,
        unreadable=content.unreadable,
        lengths=content.lengths,
        cameras=tuple(camera.name for camera in content.cameras),
        frames=content.cameras,
        no_cameras={n.replace(".", "/"): why for n, why in source.found.refused.items()},
        actions=content.actions,
        columns=tuple(spec for spec in low if spec not in actions),
        metadata=content.metadata,
        left_out=dict(source.features.left_out),
        language=language,
        language_fields=source.features.language_fields,
        instructions=source.sample_instructions(),
        last_step=last_step,
        last_step_reason=reason,
        notes=(
            *(note for known in sources.values() for note in known.extent.notes()),
            *source.notes(),
            *content.notes(),
        ),
        error=proposal.error,
        advice=proposal.advice,
        next_command=proposal.command,
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
