"""The plan of a store over a source: a new one, the one that is there, or one that grows.

A store keeps the digest of every slice's records. Each time a source is opened for a store, the
digests are compared, before anything is resumed and also where there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from relabel.jobs.retries import lost_slices, mended_slices
from relabel.source.source import Source
from schemas.enums import LastStep
from schemas.errors import StoreError
from schemas.files import Folder
from schemas.manifests import SliceSpec, StoreManifest
from schemas.replan import outdated_slices
from schemas.slices import Run, Slice, cut_runs, plan_slices, subtract
from schemas.store import Store

DEFAULT_SPLIT: Final = "train"
_LISTED: Final = 5  # changed slices, in an error text


@dataclass(frozen=True)
class StoreSettings:
    """What a store fixes for good; None: not asked for."""

    keep_frames: bool = False
    last_step: LastStep | None = None  # None: detect, or as stored
    episodes_per_slice: int | None = None  # None: from the stored size, or as stored
    exclude: tuple[str, ...] = ()  # patterns of features; (): none, or as stored
    keep_merged: bool = False


@dataclass(frozen=True)
class StorePlan:
    """A store as it is to be."""

    store: Store
    replans: bool = False  # it is there with another plan, or has slices to make again
    again: tuple[Slice, ...] = ()  # slices to make again though the plan has not changed
    notes: tuple[str, ...] = field(default=())  # for the user


def open_source(
    stored: Store | None,
    directory: str,
    split: str | None,
    *,
    exclude: Sequence[str] = (),
    keep_merged: bool = False,
) -> Source:
    """The source of a store, read as the store has read it or, if there is none, as asked for.

    Args:
        stored: the store; None: there is none yet.
        directory: of the dataset.
        split: which part; None: the part that the store holds, or "train".
        exclude: as `Source.open` takes it.
        keep_merged: likewise.

    Raises:
        SourceError: no such source, or no such split.
    """
    if stored is not None:
        wanted = split or stored.manifest.source.instruction
        return Source.open_as(directory, wanted, stored.manifest)
    return Source.open(directory, split or DEFAULT_SPLIT, exclude=exclude, keep_merged=keep_merged)


def plan_store(
    location: str,
    stored: Store | None,
    source: Source,
    settings: StoreSettings,
    *,
    overwrite: bool = False,
    retry: bool = False,
) -> StorePlan:
    """Plans the store of a source; writes nothing.

    Args:
        location: of the store.
        stored: what is there; None: nothing yet.
        source: its part may be larger than what the store holds: the store grows then.
        settings: what a store fixes.
        overwrite: plan slices anew whose records have changed, instead of refusing. Those that
            have dead letters are planned anew in any case: the source may have been mended.
        retry: make all slices with dead letters again.

    Raises:
        SourceError: no such part, or shards that are not there.
        StoreError: the store is of another source or part, or has other settings; records have
            changed since.
    """
    source.extent.check()
    notes = tuple(source.extent.notes())
    if stored is None:
        store = Store(location, Folder.at(location), new_manifest(source, settings))
        return StorePlan(store, notes=notes)
    store = stored
    check_source(store, source)
    _check_settings(store, settings, source)
    changed = changed_slices(store, source)
    lost = lost_slices(store) if changed or retry else {}
    refused = [] if overwrite else [piece for piece in changed if piece not in lost]
    if refused:
        raise StoreError(_changed(store, source, refused))
    manifest = _replanned(store, source, changed)
    again = tuple(lost) if retry else _mended(store, source, everywhere=overwrite)
    again = tuple(piece for piece in again if piece not in changed)
    if manifest.slices == store.manifest.slices and not again:
        return StorePlan(store, notes=notes)
    if store.manifest.is_of_first_format:
        raise StoreError(
            f"{location}: is of format 1, whose slices stay as they are, and covers "
            f"{store.manifest.episodes} of {source.extent.episodes} episodes of "
            f"{source.instruction}; choose another --store"
        )
    grown = _growth(store.manifest, manifest)
    if again:
        grown.append(_again(again))
    planned = Store(location, store.folder, manifest)
    return StorePlan(planned, replans=True, again=again, notes=(*notes, *grown))


def _mended(store: Store, source: Source, *, everywhere: bool) -> tuple[Slice, ...]:
    """Slices with dead letters that are none any more; where nobody asked, of unfinished tables."""
    if store.manifest.is_of_first_format:
        return ()
    tables = [*store.unfinished(), *(store.tables() if everywhere else ())]
    return tuple(mended_slices(store, source, tables))


def _again(slices: Sequence[Slice]) -> str:
    return (
        f"{len(slices)} slice{'s' * (len(slices) != 1)} with dead letters made again, in every "
        "table; those that this command does not make are unfinished until the command that made "
        "them has run again"
    )


def new_manifest(source: Source, settings: StoreSettings) -> StoreManifest:
    """The manifest of a store that does not exist yet."""
    detected, reason = source.detect_last_step()
    if settings.last_step is not None:
        detected, reason = settings.last_step, "given by --last-step"
    per_slice = settings.episodes_per_slice
    if per_slice is None:
        per_slice = source.default_episodes_per_slice()
    runs = cut_runs(source.extent.part, source.extent.lengths, per_slice)
    columns = tuple(leaf.spec for leaf in source.columns)
    return StoreManifest(
        source=source.spec,
        slices=tuple(_spec(run, source) for run in runs),
        episodes_per_slice=per_slice,
        fields=source.kept_fields() if settings.keep_frames else columns,
        metadata=tuple(leaf.spec for leaf in source.features.metadata),
        left_out=dict(source.features.left_out),
        cameras=source.cameras,
        camera_forms=dict(source.found.forms),
        language_fields=source.features.language_fields,
        last_step=detected,
        last_step_reason=reason,
        exclude=settings.exclude,
        merged_records="whole" if settings.keep_merged else "split",
    )


def _spec(run: Run, source: Source) -> SliceSpec:
    return SliceSpec(
        split=run.split,
        shard=run.shard,
        start=run.start,
        stop=run.stop,
        digest=_digest(run, source),
    )


def _digest(run: Run, source: Source) -> str | None:
    shard = source.extent.shard(run.split, run.shard)
    return None if shard is None else shard.found.digest(run.start, run.stop)


# --- what does not fit


def check_source(store: Store, source: Source) -> None:
    """Raises StoreError if a store was made of another source."""
    stored, asked = store.manifest.source, source.spec
    found = source.first_fingerprint() if store.manifest.is_of_first_format else asked.fingerprint
    if stored.fingerprint == found:
        return
    same = (stored.name, stored.version) == (asked.name, asked.version)
    why = ""
    if same and stored.split == asked.split:
        why = "; the features, the file format or the files of the source have changed since"
    elif same:
        why = "; a store grows within its splits"
    raise StoreError(
        f"{store.location}: belongs to another source: stored {stored.name} {stored.version} "
        f"{stored.instruction} ({stored.fingerprint[:8]}), asked for {asked.name} "
        f"{asked.version} {asked.instruction} ({found[:8]}){why}; choose another --store"
    )


def _check_settings(store: Store, settings: StoreSettings, source: Source) -> None:
    """Settings that a store fixes for good must not be asked for differently."""
    manifest, problems = store.manifest, []
    if settings.last_step not in (None, manifest.last_step):
        problems.append(f"--last-step: stored {manifest.last_step}, asked for {settings.last_step}")
    if settings.exclude and set(settings.exclude) != set(manifest.exclude):
        kept = ", ".join(manifest.exclude) or "none"
        problems.append(f"--exclude: stored {kept}, asked for {', '.join(settings.exclude)}")
    if settings.keep_merged and manifest.merged_records != "whole":
        problems.append("--keep-merged: the store was made with such records split")
    if settings.keep_frames and not any(f.kind == "image" for f in manifest.fields):
        problems.append("--keep-frames: the store was made without frames")
    wanted = settings.episodes_per_slice
    if wanted is not None and not _is_cut_so(manifest, wanted, source):
        stored = manifest.episodes_per_slice or f"{len(manifest.slices)} slices"
        problems.append(f"--episodes-per-slice: stored {stored}, asked for {wanted}")
    if problems:
        raise StoreError(f"{store.location}: {'; '.join(problems)}; choose another --store")


def _is_cut_so(manifest: StoreManifest, episodes_per_slice: int, source: Source) -> bool:
    if manifest.episodes_per_slice is not None:
        return manifest.episodes_per_slice == episodes_per_slice
    lengths = source.spec.shard_lengths
    planned = plan_slices(source.spec.split, lengths, episodes_per_slice)
    return len(planned) == len(manifest.slices)


def changed_slices(store: Store, source: Source) -> list[Slice]:
    """Slices whose records are no longer those that were planned.

    A store of format 1 kept no digests, so none of its slices is compared.
    """
    pairs = zip(store.slices, store.manifest.slices, strict=True)
    return [
        piece
        for piece, spec in pairs
        if spec.digest is not None and spec.digest != _digest(piece.run, source)
    ]


def _changed(store: Store, source: Source, changed: Sequence[Slice]) -> str:
    lines = [f"{piece.name}, {_where(piece, source)}" for piece in changed[:_LISTED]]
    if len(changed) > _LISTED:
        lines.append(f"and {len(changed) - _LISTED} more")
    return (
        f"{store.location}: the source has changed since the store was made: {len(changed)} of "
        f"{len(store.slices)} slices hold other records now:\n  "
        + "\n  ".join(lines)
        + "\nchoose another --store, or --overwrite to compute these slices again, in every table"
    )


def _where(piece: Slice, source: Source) -> str:
    first, last = (piece.episode_id(index) for index in (piece.start, piece.stop - 1))
    episodes = f"episodes {first} to {last}" if first != last else f"episode {first}"
    shard = source.extent.shard(piece.split, piece.shard)
    return f"{episodes}, {'of a shard that is gone' if shard is None else shard.shard.path}"


def _replanned(store: Store, source: Source, changed: Sequence[Slice]) -> StoreManifest:
    """The plan of a store that covers the source's part, with all that need not change."""
    manifest, gone = store.manifest, set(changed)
    pairs = zip(store.slices, manifest.slices, strict=True)
    kept = {piece.run: spec for piece, spec in pairs if piece not in gone}
    beyond = subtract(list(kept), source.extent.part)
    if beyond:
        example = beyond[0]
        raise StoreError(
            f"{store.location}: holds {manifest.source.instruction}, {manifest.episodes} episodes; "
            f"asked for {source.instruction}, {source.extent.episodes} episodes, without "
            f"{example.split}/{example.shard}/{example.start}, which is there; a store grows and "
            "does not shrink: ask for a part that contains what it holds, or choose another --store"
        )
    if not gone and source.extent.episodes == manifest.episodes:  # as it is, most often
        return manifest.model_copy(update={"source": source.spec})
    per_slice = manifest.episodes_per_slice or source.default_episodes_per_slice()
    runs = cut_runs(source.extent.part, source.extent.lengths, per_slice, list(kept))
    slices = tuple(kept.get(run) or _spec(run, source) for run in runs)
    return manifest.model_copy(update={"source": source.spec, "slices": slices})


def _growth(old: StoreManifest, new: StoreManifest) -> list[str]:
    outdated = outdated_slices(old, new)
    notes = []
    if outdated:
        notes.append(f"{len(outdated)} slices are computed again: their records have changed")
    added = new.episodes - old.episodes
    if added > 0:
        notes.append(
            f"the store grows from {old.episodes} to {new.episodes} episodes, from "
            f"{old.source.instruction} to {new.source.instruction}; every table of it is "
            "unfinished until the command that made it has run again"
        )
    return notes
