"""What a job did, for people and for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from relabel.encoders.protocol import TextEncoder
from relabel.evaluation.references import coverage_notes
from relabel.jobs.estimates import Estimate
from relabel.jobs.parts import Part
from relabel.jobs.progress import Progress
from relabel.slices.profile import BACKGROUND, FOREGROUND
from relabel.slices.short_episodes import ShortEpisodes, slice_short_episodes
from schemas import fields
from schemas.commits import at_once, slice_rows
from schemas.files import FileState
from schemas.footers import read_summary
from schemas.goal_datasets import is_difference
from schemas.manifests import (
    AnyTableManifest,
    EmbeddingManifest,
    RewardManifest,
    StepsManifest,
)
from schemas.reward_counts import SUCCESS_ABOVE, RewardCounts, read_counts
from schemas.store import Store

PROFILE: Final = "profile.json"  # in the store: the report of the last job run with --profile
_EXAMPLES: Final = 3
_OF_HEADS: Final = (
    *(fields.HEAD_BLEND, fields.HEAD_POSITIVES, fields.HEAD_NEGATIVES, fields.HEAD_FOLDS),
    *(fields.ZERO_SHOT_AP, fields.HEAD_AP, fields.HEAD_REASON),
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableReport(_Model):
    """One table."""

    table: str
    complete: bool
    slices_done: int
    rows: int
    bytes: int
    dead_letters: int
    examples: tuple[str, ...] = ()  # of dead letters
    damages: tuple[str, ...] = ()  # slices that its manifest lists, missing or of another size


class GoalReport(_Model):
    """One goal of a reward set."""

    goal_id: str
    family: str
    max_score: float | None  # of a frame; None: not stored
    # Of rewards of 0 and 1:
    rewarded: float | None = None  # share of transitions with reward 1
    # Of all other rewards:
    mean_score: float | None = None
    min_score: float | None = None
    above_bound: float | None = None  # share of frames with a score above `success_bound`
    success_bound: float | None = None  # that `build-goals` takes unless told otherwise
    # Of potential differences:
    raised: float | None = None  # share of transitions whose action raised the score
    # With a head:
    head_blend: float | None = None  # share of the head in the score; 0: zero-shot is kept
    head_positives: int | None = None  # labelled frames that show the goal
    head_negatives: int | None = None  # those that do not
    head_folds: str | None = None  # what was left out together; None: too few labels
    zero_shot_ap: float | None = None  # average precision on the labels
    head_ap: float | None = None  # likewise, each label scored by a head that did not see it
    head_reason: str | None = None  # whose labels ask for it: "goal" or "family"


class StageReport(_Model):
    """Where time went: one stage of the slices, summed over slices and workers."""

    stage: str
    background: bool  # of another thread than the one that runs the slice, hidden behind it
    seconds: float
    ms_per_frame: float | None


class ProfileReport(_Model):
    """Where the time of a job went."""

    workers: int
    elapsed_s: float  # of the whole job
    stages: tuple[StageReport, ...]

    @classmethod
    def of(
        cls, seconds: Mapping[str, float], *, workers: int, elapsed_s: float, frames: int
    ) -> ProfileReport:
        """From busy seconds by stage."""
        stages = tuple(
            StageReport(
                stage=stage,
                background=stage in BACKGROUND,
                seconds=seconds[stage],
                ms_per_frame=1000 * seconds[stage] / frames if frames else None,
            )
            for stage in (*BACKGROUND, *FOREGROUND)
            if stage in seconds
        )
        return cls(workers=workers, elapsed_s=elapsed_s, stages=stages)

    @property
    def seconds(self) -> dict[str, float]:
        """Busy seconds by stage."""
        return {stage.stage: stage.seconds for stage in self.stages}

    @property
    def slices_s(self) -> float:
        """Seconds inside slices: the sum of all stages that are not in the background."""
        return sum(stage.seconds for stage in self.stages if not stage.background)


class JobReport(_Model):
    """One run of a job."""

    store: str
    source: str
    dry_run: bool
    slices: int  # in the plan
    part: str | None = None  # "2/3": of the slices, that this run was given; None: all
    episodes: int  # records of the source; those that hold several episodes count as these
    episodes_empty: int | None  # kept in the episodes table with length 0
    episodes_of_one_step: int | None  # kept; they have no transition
    slices_new: int  # completed by this run
    tables_new: tuple[str, ...]  # completed by this run
    frames_new: int  # embedded or scored by this run
    elapsed_s: float
    frames_per_s: float
    engine: str | None = None  # "Beam" or "this process": who carried the slices
    last_step: str
    encoder: str | None = None  # with its precision, and why that; None: the job needed none
    tables: tuple[TableReport, ...]
    goals: tuple[GoalReport, ...] = ()
    profile: ProfileReport | None = None  # with --profile
    notes: tuple[str, ...] = ()  # what is unusual
    estimate: Estimate | None = None  # of a dry run that has something to do

    @property
    def dead_letters(self) -> int:
        """Of all tables."""
        return sum(table.dead_letters for table in self.tables)

    @property
    def unfinished(self) -> tuple[TableReport, ...]:
        """Tables without a manifest, or without one of the slices that it lists."""
        return tuple(table for table in self.tables if not table.complete)

    def then(self, later: JobReport) -> JobReport:
        """Two runs on one store as one."""
        elapsed = self.elapsed_s + later.elapsed_s
        frames = max(self.frames_new, later.frames_new)
        return later.model_copy(
            update={
                "slices_new": max(self.slices_new, later.slices_new),
                "frames_new": frames,
                "elapsed_s": elapsed,
                "frames_per_s": frames / elapsed if elapsed else 0.0,
                "tables": (*self.tables, *later.tables),
                "notes": tuple(dict.fromkeys((*self.notes, *later.notes))),
                "tables_new": (*self.tables_new, *later.tables_new),
                "profile": self._joined_profile(later, elapsed, frames),
            }
        )

    def _joined_profile(
        self, later: JobReport, elapsed_s: float, frames: int
    ) -> ProfileReport | None:
        if self.profile is None or later.profile is None:
            return None
        seconds = Counter(self.profile.seconds)
        seconds.update(later.profile.seconds)
        workers = later.profile.workers
        return ProfileReport.of(seconds, workers=workers, elapsed_s=elapsed_s, frames=frames)


def encoder_text(encoder: TextEncoder) -> str:
    """Which encoder a job used, in which precision, and why."""
    spec = encoder.spec
    device, reason = (getattr(encoder, name, None) for name in ("device", "precision_reason"))
    where = "" if device is None else f" on {device}"
    why = "" if reason is None else f" ({reason})"
    return f"{spec.name}, {spec.precision}{where}{why}"


def report(
    store: Store,
    tables: Sequence[AnyTableManifest],
    progress: Progress | None,
    begun: Sequence[str] = (),
    profile: ProfileReport | None = None,
    engine: str | None = None,
    part: Part | None = None,
) -> JobReport:
    """Reads the state of some tables off the store; `progress` is None for a dry run."""
    source = store.manifest.source
    planned = [piece.file for piece in store.slices]
    short = None if progress is None else _short_episodes(store)
    goals = _goal_reports(store, tables) if progress is not None else ()
    return JobReport(
        store=store.location,
        source=source.title,
        dry_run=progress is None,
        slices=len(store.slices),
        part=None if part is None else str(part),
        episodes=store.manifest.episodes + (short.later_parts if short else 0),
        episodes_empty=short.empty if short else None,
        episodes_of_one_step=short.single if short else None,
        slices_new=progress.slices_new if progress else 0,
        tables_new=tuple(table for table in begun if store.is_complete(table)),
        frames_new=progress.frames if progress else 0,
        elapsed_s=progress.elapsed_s if progress else 0.0,
        frames_per_s=progress.frames_per_s if progress else 0.0,
        engine=engine,
        last_step=f"{store.manifest.last_step.value} ({store.manifest.last_step_reason})",
        tables=tuple(_table_report(store, table, planned) for table in tables),
        goals=goals,
        profile=profile,
        notes=(*_notes(store, tables), *_coverage(store, tables)) if progress is not None else (),
    )


def _notes(store: Store, tables: Sequence[AnyTableManifest]) -> tuple[str, ...]:
    """Of jobs that read the source: what it holds is unusual."""
    if not any(isinstance(table, StepsManifest) for table in tables):
        return ()
    # TFDS and Pillow: such a job has them.
    from relabel.frames.blank_cameras import blank_notes
    from relabel.source.notes import flag_notes
    from relabel.source.oddities import read_oddities

    columns = {spec.name for spec in store.manifest.fields}
    embedded = [t for t in tables if isinstance(t, EmbeddingManifest)]
    stored = (store.table_manifest(t.table) for t in embedded if store.is_complete(t.table))
    whole = [t for t in stored if isinstance(t, EmbeddingManifest)]
    blank = (note for table in whole for note in blank_notes(store, table))
    return (*flag_notes(columns), *read_oddities(store).notes(), *blank)


def _coverage(store: Store, tables: Sequence[AnyTableManifest]) -> tuple[str, ...]:
    """Of reward sets: frames that the encoder does not know, if it comes with a reference."""
    rewards = [t for t in tables if isinstance(t, RewardManifest) and store.is_complete(t.table)]
    return tuple(note for manifest in rewards for note in coverage_notes(store, manifest))


def _table_report(store: Store, table: AnyTableManifest, planned: Sequence[str]) -> TableReport:
    complete = store.is_complete(table.table)  # before the listing: another may finish it now
    states = store.folder.states(table.table)
    damages = _damages(store, table.table, states) if complete else ()
    done = [file for file in planned if file in states]
    rows = slice_rows(store, table.table, done)
    letters, examples = _dead_letters(store, table.table)
    return TableReport(
        table=table.table,
        complete=complete and not damages and len(done) == len(store.slices),
        slices_done=len(done),
        rows=sum(rows[file] for file in done),
        bytes=sum(states[file].size for file in done),
        dead_letters=letters,
        examples=tuple(examples),
        damages=damages,
    )


def _damages(store: Store, table: str, states: Mapping[str, FileState]) -> tuple[str, ...]:
    """What a listing tells of the slices of a complete table: those not there, or of other sizes.

    Args:
        store: of the table.
        table: its name.
        states: of its files, by name.
    """
    listed = {file.file: file.bytes for file in store.table_manifest(table).slice_files}
    names = dict.fromkeys([*(piece.file for piece in store.slices), *listed])
    found = []
    for name in names:
        size = states[name].size if name in states else None
        if size is None:
            found.append(f"{name}: missing")
        elif size != listed.get(name, size):
            found.append(f"{name}: expected {listed[name]} bytes, got {size}")
    return tuple(found)


def _dead_letters(store: Store, table: str) -> tuple[int, list[str]]:
    """How many a table has, and some of them."""
    folder = f"dead_letters/{table}"
    known = {piece.file: piece for piece in store.slices}
    files = [file for file in store.folder.names(folder) if file in known]
    count = sum(at_once(store.folder, partial(store.rows, folder), files))
    examples: list[str] = []
    for file in files:
        if len(examples) < _EXAMPLES:
            rows = store.read_slices(folder, [known[file]]).slice(0, _EXAMPLES).to_pylist()
            examples += [_letter_text(row) for row in rows]
    return count, examples[:_EXAMPLES]


def _letter_text(row: dict[str, object]) -> str:
    step = "" if row[fields.STEP] is None else f" step {row[fields.STEP]}"
    camera = "" if row[fields.CAMERA] is None else f" {row[fields.CAMERA]}"
    return (
        f"{row[fields.SLICE]}: episode {row[fields.EPISODE_ID]}{step}{camera}: {row[fields.REASON]}"
    )


def _short_episodes(store: Store) -> ShortEpisodes | None:
    """Of all episodes; None if some are not there yet."""
    if store.is_complete("episodes"):
        manifest = store.table_manifest("episodes")
        if manifest.figures is not None:
            return read_summary(store, manifest, ShortEpisodes)
    there = store.folder.states("episodes")
    if any(piece.file not in there for piece in store.slices):
        return None
    total = ShortEpisodes()
    for found in at_once(store.folder, partial(slice_short_episodes, store), store.slices):
        total.merge(found)
    return total


def _goal_reports(store: Store, tables: Sequence[AnyTableManifest]) -> tuple[GoalReport, ...]:
    rewards = [t for t in tables if isinstance(t, RewardManifest) and store.is_complete(t.table)]
    stored = [store.rewards(manifest.name) for manifest in rewards]
    return tuple(report for manifest in stored for report in _goals_of(store, manifest))


def _goals_of(store: Store, manifest: RewardManifest) -> list[GoalReport]:
    told = store.goals(manifest.name)
    heads = [name for name in _OF_HEADS if name in told.column_names]
    goals = told.select([fields.GOAL_ID, fields.FAMILY, *heads]).to_pylist()
    counts = read_counts(store, manifest)
    measures = _measures(counts, is_difference(manifest.function))
    return [
        GoalReport(
            goal_id=goal[fields.GOAL_ID],
            family=goal[fields.FAMILY],
            max_score=float(top) if np.isfinite(top) else None,
            **{name: values[place] for name, values in measures.items()},
            **{name: goal[name] for name in heads},
        )
        for place, (goal, top) in enumerate(zip(goals, counts.best, strict=True))
    ]


def _measures(counts: RewardCounts, difference: bool) -> dict[str, list[float]]:
    """What tells how often goals are reached, by kind of reward; one figure per goal."""
    found: dict[str, list[float]] = {}
    if counts.transitions and (difference or not counts.dense):
        shares = (counts.rewarded / counts.transitions).tolist()
        found["raised" if difference else "rewarded"] = shares
    if counts.frames:  # counted for rewards that are not 0 or 1
        found["mean_score"] = (counts.total / counts.frames).tolist()
        found["min_score"] = counts.lowest.tolist()
        found["above_bound"] = (counts.above / counts.frames).tolist()
        found["success_bound"] = [SUCCESS_ABOVE] * len(counts.above)
    return found
