"""Sources: stored trajectories in RLDS form, read by the slice."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from etils import epath

from relabel.frames.blank_cameras import sampled_blank_notes
from relabel.frames.camera_names import resolve_cameras
from relabel.frames.cameras import Found, find_cameras
from relabel.frames.videos import check_library, with_videos
from relabel.source.episodes import Episode as Episode
from relabel.source.examples import Cameras, EpisodeParser, Example, read_example, undescribed
from relabel.source.extent import Extent, find_extent, known_splits, split_names
from relabel.source.features import Features, Leaf, column_name, read_features
from relabel.source.flags import episode_bounds
from relabel.source.forms import settle
from relabel.source.notes import LanguageReport, language_reports, source_notes, undescribed_note
from relabel.source.opening import FEATURES_FILE, Opened, open_dataset
from relabel.source.reasons import told
from relabel.source.record_places import RecordPlaces
from relabel.source.records import reaching_source, read_records
from relabel.source.survey import survey_shard
from schemas import fields
from schemas.dead_letters import DeadLetter
from schemas.enums import CameraForm, LastStep
from schemas.errors import EpisodeError
from schemas.manifests import SourceSpec, StoreManifest
from schemas.slices import Slice
from schemas.tables import FieldSpec

_SAMPLED_RECORDS: Final = 20  # looked at to tell what a last step means, and the like
_SAMPLED_BYTES: Final = 64 << 20  # of records; at least one is looked at
_SLICE_MIB: Final = (1, 64)  # bounds of the source bytes one slice aims at
_SLICES_AT_LEAST: Final = 8  # aimed at, so that small sources use several workers too


class Source:
    """A split of a TFDS/RLDS directory, or a part of one, read-only.

    Example:
        >>> source = Source.open("/data/bridge_dataset/1.0.0", "train")   # doctest: +SKIP
        >>> source.cameras                                                 # doctest: +SKIP
        ('observation.image_0', 'observation.image_1')
    """

    def __init__(
        self, opened: Opened, instruction: str, features: Features, keep_merged: bool = False
    ) -> None:
        self.directory = opened.directory
        self.instruction = instruction
        self.keep_merged = keep_merged
        self.file_format = opened.info.file_format
        self._opened = opened
        self._record_places = RecordPlaces()
        self._splits = split_names(instruction, known_splits(opened), opened.directory)
        self._shards = [shard for split in self._splits for shard in opened.shards[split]]
        self.features = features
        self.features = settle(features, self._sampled_examples())

    @classmethod
    def open(
        cls,
        directory: str,
        split: str,
        *,
        exclude: Sequence[str] = (),
        keep_merged: bool = False,
    ) -> Source:
        """Opens a split, or a part of one; reads its first records.

        Args:
            directory: holds `features.json` and `dataset_info.json`.
            split: "train", "train[:10%]", "train+val", "all", as TFDS takes it.
            exclude: patterns of dotted feature names (`observation.depth*`) to leave out.
            keep_merged: a record in which several episodes begin stays one episode; otherwise
                it is split where the flags say.

        Raises:
            SourceError: no such directory, not a TFDS dataset, not RLDS, no such split; a flag
                that is none; a pattern that no feature matches.
        """
        opened = open_dataset(directory)
        features = read_features(opened.builder.info.features, directory, exclude)
        return cls(opened, split, features, keep_merged)

    @cached_property
    def extent(self) -> Extent:
        """Which episodes the part has, and what its shards really hold: walks every shard once.

        Raises:
            SourceError: no such part, or it holds no episode; a shard that is no data file.
        """
        return find_extent(self._opened, self.instruction, self._splits)

    @cached_property
    def spec(self) -> SourceSpec:
        """What a store keeps of the source; needs `extent`."""
        shards = [shard.shard.split for shard in self.extent.shards]
        split = "+".join(self._splits)
        return SourceSpec(
            name=self._opened.info.name,
            version=self._opened.info.version,
            split=split,
            part="" if self.instruction == split else self.instruction,
            fingerprint=self._fingerprint(),
            shard_lengths=tuple(shard.length for shard in self.extent.shards),
            shard_splits=tuple(shards) if len(self._splits) > 1 else (),
        )

    def _fingerprint(self) -> str:
        """Of what makes two sources the same one, whatever part of it is read.

        What the shards hold is not in it: a store keeps that slice by slice, as digests.
        """
        content = {
            "name": self._opened.info.name,
            "version": self._opened.info.version,
            "splits": self._splits,
            "file_format": self.file_format,
            "features": self._description(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def first_fingerprint(self) -> str:
        """The fingerprint that format 1 gave: names and sizes, told lengths, no content."""
        sizes = [shard.found.size for shard in self.extent.shards if not shard.found.missing]
        content = {
            "name": self._opened.info.name,
            "version": self._opened.info.version,
            "split": self.instruction,
            "features": self._description(),
            "shard_lengths": [shard.told for shard in self._shards],
            "shard_bytes": sizes,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _description(self) -> Any:
        path = epath.Path(self.directory).expanduser() / FEATURES_FILE
        with reaching_source(self.directory):
            return json.loads(path.read_text())

    @cached_property
    def stored_bytes(self) -> int:
        """Stored size of the whole splits."""
        told = [split.num_bytes for split in self._opened.info.splits if split.name in self._splits]
        known = [size for size in told if size]
        return sum(known) if len(known) == len(self._splits) else self.extent.stored_bytes

    @property
    def paths(self) -> list[str]:
        """Of the shard files of the whole splits."""
        return [shard.path for shard in self._shards]

    @classmethod
    def open_as(cls, directory: str, split: str, manifest: StoreManifest) -> Source:
        """Opens a split as a store has read it; as `open`."""
        whole = manifest.merged_records == "whole"
        return cls.open(directory, split, exclude=manifest.exclude, keep_merged=whole)

    @property
    def episodes(self) -> int:
        """Number of stored records of the whole splits."""
        return sum(self.spec.shard_lengths)

    @cached_property
    def found(self) -> Found:
        """The cameras; looks at the first episodes where a feature's type does not tell."""
        of_steps = find_cameras([leaf.spec for leaf in self.features.steps], self._sampled_values)
        return with_videos(of_steps, self._videos(), self._sampled_frames)

    def _videos(self) -> list[tuple[FieldSpec, CameraForm]]:
        """Features of an episode with a frame per step, named as their tables are."""
        return [
            (leaf.spec.model_copy(update={"name": column_name(leaf)}), leaf.frames)
            for leaf in self.features.videos
            if leaf.frames is not None
        ]

    @property
    def cameras(self) -> tuple[str, ...]:
        """Dotted names of the features that hold frames."""
        return tuple(self.found.forms)

    def resolve_cameras(self, names: Sequence[str]) -> dict[str, CameraForm]:
        """Dotted names and forms of cameras given as `observation/wrist`, `wrist` or `wrist=FORM`.

        Raises:
            SourceError: none given, or one is unknown, ambiguous or no camera; lists the cameras.
        """
        specs = [leaf.spec for leaf in self.features.steps] + [spec for spec, _ in self._videos()]
        forms = resolve_cameras(names, specs, self.found, self._sampled_values, self.directory)
        check_library(name for name, form in forms.items() if form is CameraForm.VIDEO)
        return forms

    @property
    def columns(self) -> tuple[Leaf, ...]:
        """Step features that are no images, which become columns of the steps table."""
        return tuple(
            leaf
            for leaf in self.features.steps
            if leaf.spec.kind != "image" and leaf.spec.name not in self.found.forms
        )

    def kept_fields(self) -> tuple[FieldSpec, ...]:
        """Columns of a steps table with frames: a camera's is binary, the image's file."""
        columns = {leaf.spec.name for leaf in self.columns}
        of_steps = (
            leaf.spec if leaf.spec.name in columns else _as_image(leaf.spec)
            for leaf in self.features.steps
        )
        videos = (spec for spec, _ in self._videos() if spec.name in self.found.forms)
        return (*of_steps, *videos)

    def default_episodes_per_slice(self) -> int:
        """Episodes whose stored size is a good unit of work: 1 to 64 MiB, several slices."""
        low, high = (mib << 20 for mib in _SLICE_MIB)
        target = min(max(self.stored_bytes // _SLICES_AT_LEAST, low), high)
        return max(1, target * self.episodes // max(self.stored_bytes, 1))

    def read(
        self, piece: Slice, columns: Sequence[str], cameras: Cameras | None = None
    ) -> Iterator[Episode | DeadLetter]:
        """Streams the episodes of a slice, in order; memory is that of one episode.

        Args:
            piece: which episodes.
            columns: step features to parse.
            cameras: those that hold frames, as `EpisodeParser` takes them.

        Yields:
            Each episode, or a dead letter in the place of one that cannot be read.
        """
        parser = EpisodeParser(self.features, columns, cameras)
        path = self._opened.shards[piece.split][piece.shard].path
        records = read_records(path, self.file_format, piece.start, piece.stop, self._record_places)
        for index, record in enumerate(records, start=piece.start):
            episode_id = piece.episode_id(index)
            yield from self._read_record(parser, episode_id, record, path)

    def _read_record(
        self, parser: EpisodeParser, record_id: str, record: bytes | EpisodeError, path: str
    ) -> Iterator[Episode | DeadLetter]:
        try:
            yield from _episodes(parser, record_id, record, self.keep_merged)
        except Exception as error:  # of one record: no other is lost with it
            yield DeadLetter(record_id, f"{epath.Path(path).name}: {told(error)}")

    def detect_last_step(self) -> tuple[LastStep, str]:
        """What the last step of an episode means here, and what makes us think so.

        RLDS ends an episode with a step that is only an observation; its action and reward
        are fillers. Many converters store a real action there. A filler is all zeros (or
        NaN); one real action among the sampled episodes settles it.
        """
        actions = [leaf.spec.name for leaf in self.columns if is_action(leaf.spec.name)]
        if not actions:
            return LastStep.FINAL_OBSERVATION, "no action feature: nothing follows a last frame"
        sample = [e for e in self._sampled if isinstance(e, Episode) and e.length]
        if not sample:
            return LastStep.FINAL_OBSERVATION, "no readable episode to look at"
        real = sum(any(_is_real(e.steps[name][-1]) for name in actions) for e in sample)
        told = f"{real} of {len(sample)} sampled episodes end with a non-zero action"
        return (LastStep.CARRIES_ACTION if real else LastStep.FINAL_OBSERVATION), told

    def sample_instructions(self) -> tuple[str, ...]:
        """Distinct instructions of the first episodes."""
        names = self.features.language_fields
        texts = (e.language(names) for e in self._sampled if isinstance(e, Episode))
        return tuple(dict.fromkeys(text for text in texts if text))

    def languages(self) -> tuple[LanguageReport, ...]:
        """Every text of the source, with what the first episodes hold of it."""
        episodes = [item for item in self._sampled if isinstance(item, Episode)]
        return language_reports(self.features, episodes)

    def notes(self) -> list[str]:
        """What is unusual about the first episodes."""
        # Decoding whole videos would take too long.
        forms = {n: form for n, form in self.found.forms.items() if form is not CameraForm.VIDEO}
        blank = sampled_blank_notes(forms, self._sampled_frames(forms))
        unknown = {n for e in self._sampled_examples() for n in undescribed(e, self.features)}
        told = [*source_notes(self.features, self._sampled), *undescribed_note(unknown)]
        return [*told, *self.found.notes, *blank]

    @cached_property
    def _sampled(self) -> tuple[Episode | DeadLetter, ...]:
        """The first records, without images."""
        columns = [leaf.spec.name for leaf in self.columns]
        parser = EpisodeParser(self.features, columns)
        return tuple(
            item
            for episode_id, record, path in self._sampled_records()
            for item in self._read_record(parser, episode_id, record, path)
        )

    def sampled(self, columns: Sequence[str], cameras: Cameras | None = None) -> Iterator[Episode]:
        """The readable episodes of the first records; arguments as of `read`."""
        items = self.sampled_items(columns, cameras)
        yield from (item for item in items if isinstance(item, Episode) and item.length)

    def sampled_items(
        self, columns: Sequence[str], cameras: Cameras | None = None
    ) -> Iterator[Episode | DeadLetter]:
        """The first records, as `read` would give them; arguments as of `read`."""
        parser = EpisodeParser(self.features, columns, cameras)
        for episode_id, record, path in self._sampled_records():
            yield from self._read_record(parser, episode_id, record, path)

    def _sampled_frames(self, forms: Cameras) -> Iterator[Mapping[str, Any]]:
        some = [leaf.spec.name for leaf in self.features.steps[:1]]  # tells how many steps
        return (episode.steps for episode in self.sampled([*some, *forms], forms))

    def _sampled_values(self, names: list[str]) -> Iterator[Mapping[str, Any]]:
        as_stored = dict.fromkeys(names, CameraForm.ENCODED)
        return (episode.steps for episode in self.sampled(names, as_stored))

    def _sampled_examples(self) -> Iterator[Example]:
        for _, record, _ in self._sampled_records():
            try:
                if not isinstance(record, EpisodeError):
                    yield read_example(record)
            except EpisodeError:  # told where episodes are read
                continue

    def _sampled_records(self) -> Iterator[tuple[str, bytes | EpisodeError, str]]:
        """The first records, with the ids of their episodes and the paths of their shards."""
        read = 0
        for episode_id, record, path in itertools.islice(self._records(), _SAMPLED_RECORDS):
            yield episode_id, record, path
            read += 0 if isinstance(record, EpisodeError) else len(record)
            if read > _SAMPLED_BYTES:
                return

    def _records(self) -> Iterator[tuple[str, bytes | EpisodeError, str]]:
        # Of the whole splits, so that a part is understood as the whole is.
        for shard in self._shards:
            if not epath.Path(shard.path).exists():
                continue
            length = shard.told or survey_shard(shard.path, self.file_format).records
            piece = Slice(0, 1, shard.split, shard.index, 0, length)
            records = read_records(shard.path, self.file_format, 0, length)
            yield from (
                (piece.episode_id(i), record, shard.path) for i, record in enumerate(records)
            )


def _episodes(
    parser: EpisodeParser, record_id: str, record: bytes | EpisodeError, keep_merged: bool
) -> list[Episode]:
    """The episodes of one record: one, or several that the flags tell apart."""
    if isinstance(record, EpisodeError):
        raise record
    steps, metadata = parser.parse(record)
    length = len(next(iter(steps.values()))) if steps else 0
    bounds = [(0, length)] if keep_merged else episode_bounds(steps, length)
    if len(bounds) == 1:
        return [Episode(record_id, length, steps, metadata)]
    return [
        Episode(
            f"{record_id}.{part}",
            stop - start,
            {name: values[start:stop] for name, values in steps.items()},
            metadata,
        )
        for part, (start, stop) in enumerate(bounds)
    ]


def _as_image(spec: FieldSpec) -> FieldSpec:
    dtype = spec.dtype if spec.kind == "image" else "uint8"  # a depth image's file has its own
    return FieldSpec(name=spec.name, kind="image", dtype=dtype)


def is_action(name: str) -> bool:
    """Whether a step feature is the action or a part of it."""
    return name == fields.ACTION or name.startswith(f"{fields.ACTION}.")


def _is_real(action: Any) -> bool:
    values = np.asarray(action)
    return values.dtype.kind in "fiub" and bool(np.any(np.nan_to_num(values)))
