"""Scores beside what is known to be true: of labels, or of a column of the source.

What is known comes goal by goal, so that 1,000 goals of a million frames need no more memory than
one block of goals does. Only stored tables are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from relabel.rewards.calibrated import calibration_in
from relabel.rewards.registry import from_content
from schemas import fields
from schemas.errors import StoreError
from schemas.goal_basis import TRUE_ABOVE, truth_column, truth_values
from schemas.goal_datasets import GOAL
from schemas.labels import Labels
from schemas.manifests import RewardManifest
from schemas.slices import Slice, record_id
from schemas.store import HEAD_LABELS, Store, check_same_rows
from schemas.tables import flags, matrix

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Tell = Callable[[int, int], None]  # of slices: done, in all

BLOCK_BYTES: Final = 1 << 29  # of the scores and truths of a block of goals
_BATCH_SCORES: Final = 1 << 22  # read at once
_STEP_BITS: Final = 32  # of a frame's key: place of the episode, then the step


@dataclass(frozen=True, eq=False)
class GoalFrames:
    """The n frames of one goal whose truth is known, and that have a score."""

    goal: int  # place on the goal axis
    goal_id: str
    family: str
    episode: Ints  # (n,) place of the episode in the store
    step: Ints  # (n,)
    score: Floats  # (n,)
    label: Bools  # (n,)

    def __len__(self) -> int:
        return len(self.label)

    def select(self, rows: NDArray[Any]) -> GoalFrames:
        """Some of the frames: a mask (n,) of bool, or places."""
        columns = (self.episode, self.step, self.score, self.label)
        return GoalFrames(self.goal, self.goal_id, self.family, *(c[rows] for c in columns))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of the G goals of a reward set: iterates over them, any number of times."""

    rewards: str  # name of the reward set
    goal_ids: tuple[str, ...]  # G
    families: tuple[str, ...]  # G
    episode_ids: tuple[str, ...]  # E, of the whole store
    notes: tuple[str, ...]  # what was set aside, and why; for people
    source: dict[str, Any]  # where the truth comes from; for manifests
    frames: Callable[[], Iterator[GoalFrames]]

    def __iter__(self) -> Iterator[GoalFrames]:
        """One per goal, in the order of the goals; also of those of which nothing is known."""
        return self.frames()


def of_labels(store: Store, rewards: str, labels: Labels, *, tell: Tell | None = None) -> Evidence:
    """Evidence of labels. Memory is that of the labels, and of the ids of episodes.

    Args:
        store: holds the reward set.
        rewards: its name.
        labels: those of other goals, episodes or steps are left out, with a note.
        tell: told how many slices were looked at.

    Raises:
        StoreError: no such reward set, it is unfinished, or has no scores.
    """
    manifest = scored(store, rewards)
    episode_ids, goal_ids, families = axes(store, manifest)
    goal_of = {goal_id: goal for goal, goal_id in enumerate(goal_ids)}
    episode_of = {episode_id: place for place, episode_id in enumerate(episode_ids)}
    goal = np.array([goal_of.get(name, -1) for name in labels.goal_id], np.int64)
    episode = np.array([episode_of.get(name, -1) for name in labels.episode_id], np.int64)
    key = np.where((goal < 0) | (episode < 0), -1, frame_key(episode, labels.step))
    score = _scores_of(store, manifest, episode_of, key, goal, tell)
    taught = _unseen(store, manifest, labels, goal, score)
    notes = (*_notes(labels, goal, episode, score), *taught)
    known = np.flatnonzero(np.isfinite(score))
    of_goal = [known[goal[known] == place] for place in range(len(goal_ids))]

    def frames() -> Iterator[GoalFrames]:
        for place, rows in enumerate(of_goal):
            columns = (episode[rows], labels.step[rows], score[rows], labels.label[rows])
            yield GoalFrames(place, goal_ids[place], families[place], *columns)

    source = {"labels": labels.sha256, "count": len(labels)}
    return Evidence(rewards, goal_ids, families, episode_ids, notes, source, frames)


def of_field(
    store: Store,
    rewards: str,
    field: str,
    *,
    goals: Sequence[str] | None = None,
    where: str | None = None,
    episodes: Sequence[str] | None = None,
    tell: Tell | None = None,
) -> Evidence:
    """Evidence of a column of the steps table: one truth per goal, of every frame.

    Args:
        store: holds the reward set and the column.
        rewards: name of the reward set.
        field: column of one number per goal; true above 0.5.
        goals: ids of the goals that its numbers belong to; of others, nothing is known. None:
            those of the reward set, in their order.
        where: column of flags; only frames where it is true.
        episodes: ids; only frames of these. None: all.
        tell: told how many slices were read, each once for a block of goals, and of how many.

    Raises:
        StoreError: no such reward set or column, or they do not fit each other.
    """
    manifest = scored(store, rewards)
    truth_column(store, field, manifest.goals if goals is None else len(goals))
    if where is not None:
        flag_column(store, where)
    episode_ids, goal_ids, families = axes(store, manifest)
    column_of = places_in(goal_ids if goals is None else goals, goal_ids)
    wanted = None if episodes is None else pa.array(sorted(set(episodes)), pa.string())
    if episodes is not None and (unknown := sorted(set(episodes) - set(episode_ids))):
        raise StoreError(f"{store.location}: has no episode {', '.join(unknown[:5])}")

    def frames() -> Iterator[GoalFrames]:
        rows = _chosen_rows(store, manifest, where, wanted)
        size = max(1, BLOCK_BYTES // (5 * max(1, sum(len(found) for found in rows))))
        blocks = [range(g, min(g + size, manifest.goals)) for g in range(0, manifest.goals, size)]
        place = {episode_id: i for i, episode_id in enumerate(episode_ids)}
        read, total = itertools.count(1), len(blocks) * len(rows)

        def tick() -> None:
            if tell is not None:
                tell(next(read), total)

        for block in blocks:
            truths = column_of[block.start : block.stop]
            keys, score, label = _block(store, manifest, field, rows, block, truths, place, tick)
            for at, goal in enumerate(block):
                known = np.isfinite(score[at]) & (truths[at] >= 0)
                columns = (*apart(keys[known]), score[at][known], label[at][known])
                yield GoalFrames(goal, goal_ids[goal], families[goal], *columns)
            del keys, score, label  # before the next block has its own

    source = {"field": field, "where": where}
    return Evidence(rewards, goal_ids, families, episode_ids, (), source, frames)


def places_in(names: Sequence[str], wanted: Sequence[str]) -> Ints:
    """Where each of some names is among others; -1: it is not there."""
    place = {name: i for i, name in enumerate(names)}
    return np.array([place.get(name, -1) for name in wanted], np.int64)


def scored(store: Store, rewards: str) -> RewardManifest:
    """A complete reward set that has scores.

    Raises:
        StoreError: it has none, or is not complete.
    """
    manifest = store.rewards(rewards)
    if not manifest.scores:
        raise StoreError(
            f"{store.location}/{manifest.table}: expected scores, and it was stored without them "
            "(--no-scores); score the goals again under another name"
        )
    return manifest


def flag_column(store: Store, name: str) -> None:
    """Raises StoreError unless the steps table has such a column, of one flag per frame."""
    found = {spec.name: spec for spec in store.manifest.fields if spec.dtype == "bool"}
    if name not in found or found[name].shape not in ((), (1,)):
        fitting = [n for n, spec in found.items() if spec.shape in ((), (1,))]
        raise StoreError(
            f"{store.location}/steps: expected {name!r} to be a column of one bool per frame; "
            f"those that would fit: {', '.join(fitting) or 'none'}"
        )


# --- of labels --------------------------------------------------------------------------------


def _scores_of(
    store: Store,
    manifest: RewardManifest,
    episode_of: dict[str, int],
    key: Ints,
    goal: Ints,
    tell: Tell | None,
) -> Floats:
    """(L,) score of every label; NaN: its frame is not there, or has none."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    found = np.full(len(key), np.nan, np.float32)
    wanted = set((ordered[ordered >= 0] >> _STEP_BITS).tolist())
    records = {record_id(name) for name, place in episode_of.items() if place in wanted}
    for done, piece in enumerate(store.slices):
        if piece.holds_any(records):
            for keys, scores in _keyed(store, manifest, piece, episode_of):
                first = np.searchsorted(ordered, keys, "left")
                count = np.searchsorted(ordered, keys, "right") - first
                row = np.repeat(np.arange(len(keys)), count)
                at = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
                which = order[np.repeat(first, count) + at]
                found[which] = scores[row, goal[which]]
        if tell is not None:
            tell(done + 1, len(store.slices))
    return found


def _unseen(
    store: Store, manifest: RewardManifest, labels: Labels, goal: Ints, score: Floats
) -> tuple[str, ...]:
    """Puts scores in place of those of labels that taught a head: by heads that had not seen them.

    A head knows its own labels, so that its scores of them are better than any others.

    Returns:
        A note for people, if there is such a label.
    """
    if not any(file.file == HEAD_LABELS for file in manifest.files):
        return ()
    rows = store.beside_rewards(manifest.name, HEAD_LABELS)
    keys = (rows.column(name).to_pylist() for name in (GOAL, fields.EPISODE_ID, fields.STEP))
    unseen = dict(zip(zip(*keys, strict=True), _as_scored(manifest, rows), strict=True))
    frames = zip(goal.tolist(), labels.episode_id.tolist(), labels.step.tolist(), strict=True)
    found = [unseen.get(frame) for frame in frames]
    known = [row for row, value in enumerate(found) if value is not None]
    score[known] = [found[row] for row in known]
    if not known:
        return ()
    return (
        f"{len(known)} labels taught the head: their scores are by heads that had not seen them",
    )


def _as_scored(manifest: RewardManifest, rows: pa.Table) -> list[float]:
    """The scores of labels by heads that had not seen them, as the reward set has its scores."""
    goal, left_out = (rows.column(name).to_numpy() for name in (GOAL, fields.LEFT_OUT))
    inside = calibration_in(manifest.function)
    if inside is None:
        return list(left_out.tolist())
    scores = np.full((len(goal), manifest.goals), np.nan, np.float32)
    at = np.arange(len(goal)), goal
    scores[at] = left_out
    alone = {**inside, "of": {"name": "cosine"}}  # whose scores stay as they are
    finished = from_content(alone).finished(scores)
    return list(finished[at].tolist())


def _keyed(
    store: Store, manifest: RewardManifest, piece: Slice, episode_of: dict[str, int]
) -> Iterator[tuple[Ints, Floats]]:
    """Keys (n,) and scores (n, G) of a slice, some frames at a time."""
    columns = [fields.EPISODE_ID, fields.STEP, fields.SCORE]
    rows = max(1, _BATCH_SCORES // manifest.goals)
    for batch in store.batches(manifest.table, piece, columns, rows=rows):
        yield frame_keys(batch, episode_of), matrix(batch.column(fields.SCORE))


def _notes(labels: Labels, goal: Ints, episode: Ints, score: Floats) -> tuple[str, ...]:
    """What was set aside, a line for each reason."""
    placed = (goal >= 0) & (episode >= 0)
    reasons = (
        ("of goals that the reward set does not have", goal < 0, labels.goal_id),
        ("of episodes that the store does not have", (goal >= 0) & (episode < 0), None),
        ("of frames without a score, or that are not there", placed & ~np.isfinite(score), None),
    )
    notes = []
    for reason, rows, named in reasons:
        if rows.any():
            names = labels.episode_id if named is None else named
            shown = ", ".join(map(str, sorted(set(names[rows].tolist()))[:3]))
            notes.append(f"{int(rows.sum())} labels {reason}: {shown}")
    if labels.contradictory:
        shown = "; ".join(labels.contradictory[:3])
        notes.append(f"{len(labels.contradictory)} frames labelled both yes and no: {shown}")
    return tuple(notes)


# --- of a column ------------------------------------------------------------------------------


def _chosen_rows(
    store: Store, manifest: RewardManifest, where: str | None, wanted: pa.Array | None
) -> list[Ints]:
    """Per slice, the rows that are to be looked at."""
    chosen = []
    for piece in store.slices:
        columns = [fields.EPISODE_ID, fields.STEP, *([] if where is None else [where])]
        steps = store.read_slices("steps", [piece], columns)
        keys = store.read_slices(manifest.table, [piece], columns[:2])
        check_same_rows(steps, keys, f"steps and {manifest.table}, {piece.name}")
        rows = np.ones(steps.num_rows, bool)
        if where is not None:
            rows &= flags(steps.column(where))
        if wanted is not None:
            among = pc.is_in(steps.column(fields.EPISODE_ID), value_set=wanted)
            rows &= among.to_numpy(zero_copy_only=False)
        chosen.append(np.flatnonzero(rows))
    return chosen


def _block(
    store: Store,
    manifest: RewardManifest,
    field: str,
    rows: Sequence[Ints],
    block: range,
    column_of: Ints,
    episode_of: dict[str, int],
    tick: Callable[[], None],
) -> tuple[Ints, Floats, Bools]:
    """Keys (n,), scores and truths (goals of the block, n) of the chosen rows."""
    count = sum(len(found) for found in rows)
    keys = np.empty(count, np.int64)
    score, label = np.empty((len(block), count), np.float32), np.empty((len(block), count), bool)
    columns = slice(block.start, block.stop)
    at = 0
    for piece, chosen in zip(store.slices, rows, strict=True):
        for own, values, truths in _slice_values(store, manifest, field, piece, chosen, episode_of):
            to = slice(at, at + len(own))
            keys[to], score[:, to], label[:, to] = own, values[:, columns].T, truths[:, column_of].T
            at += len(own)
        tick()
    return keys, score, label


def _slice_values(
    store: Store,
    manifest: RewardManifest,
    field: str,
    piece: Slice,
    chosen: Ints,
    episode_of: dict[str, int],
) -> Iterator[tuple[Ints, Floats, Bools]]:
    """Keys (n,), scores and truths (n, G) of the chosen rows, some at a time."""
    if not len(chosen):
        return
    rows = max(1, _BATCH_SCORES // manifest.goals)
    columns = [fields.EPISODE_ID, fields.STEP, fields.SCORE]
    scores = store.batches(manifest.table, piece, columns, rows=rows)
    truths = store.batches("steps", piece, [field], rows=rows)
    start = 0
    for batch, truth in zip(scores, truths, strict=True):
        first, last = np.searchsorted(chosen, (start, start + len(batch)))
        own = chosen[first:last] - start
        start += len(batch)
        if len(own):
            values = matrix(truth_values(pa.chunked_array([truth.column(field)])))
            yield (
                frame_keys(batch, episode_of)[own],
                matrix(batch.column(fields.SCORE))[own],
                values[own] > TRUE_ABOVE,
            )


# --- keys -------------------------------------------------------------------------------------


def axes(
    store: Store, manifest: RewardManifest
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Ids of episodes, ids of goals, families of goals."""
    episodes = store.read("episodes", [fields.EPISODE_ID]).column(fields.EPISODE_ID)
    goals = store.goals(manifest.name, [fields.GOAL_ID, fields.FAMILY])
    ids, families = (goals.column(name).to_pylist() for name in (fields.GOAL_ID, fields.FAMILY))
    return tuple(episodes.to_pylist()), tuple(ids), tuple(families)


def frame_keys(batch: pa.RecordBatch, episode_of: dict[str, int]) -> Ints:
    """(n,) one number per frame."""
    ids = batch.column(fields.EPISODE_ID).dictionary_encode()
    places = [episode_of.get(episode_id, -1) for episode_id in ids.dictionary.to_pylist()]
    episode = np.array(places, np.int64)[ids.indices.to_numpy(zero_copy_only=False)]
    return frame_key(episode, batch.column(fields.STEP).to_numpy(zero_copy_only=False))


def frame_key(episode: Ints, step: NDArray[Any]) -> Ints:
    """(n,) likewise, of places of episodes and steps."""
    return (episode << _STEP_BITS) + step.astype(np.int64)


def apart(keys: Ints) -> tuple[Ints, Ints]:
    """Places of episodes and steps of keys."""
    return keys >> _STEP_BITS, keys & ((1 << _STEP_BITS) - 1)
