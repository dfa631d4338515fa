"""`inspect`: what a source holds, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from relabel.notes import LanguageReport
from relabel.source import Source, is_action, open_builder
from schemas.enums import LastStep
from schemas.errors import SourceError
from schemas.tables import FieldSpec


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class SplitReport(_Model):
    """One split of a source."""

    name: str
    episodes: int
    shards: int
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
    builder = open_builder(directory)
    names = [name for name, info in builder.info.splits.items() if info.num_examples]
    if not names:
        raise SourceError(f"{directory}: no split holds an episode")
    source = Source.open(directory, names[0])
    last_step, reason = source.detect_last_step()
    low = [leaf.spec for leaf in source.columns]
    actions = tuple(spec for spec in low if is_action(spec.name))
    return SourceReport(
        directory=directory,
        name=builder.name,
        version=str(builder.version),
        file_format=source.file_format,
        splits=tuple(_split(directory, name) for name in names),
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
        notes=tuple(source.notes()),
        next_command=_next_command(directory, names[0], source),
    )


def _split(directory: str, name: str) -> SplitReport:
    source = Source.open(directory, name)
    per_slice = source.default_episodes_per_slice()
    return SplitReport(
        name=name,
        episodes=source.episodes,
        shards=len(source.spec.shard_lengths),
        bytes=source.bytes,
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
