"""From labels to a head, for the goals that are better off with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from relabel.evaluation.platt import Prior, fit_platt
from relabel.heads.choice import (
    Choice,
    GoalLabels,
    TriedGoal,
    choose,
    left_out_scores,
    training_frames,
    tried,
)
from relabel.heads.frames import KnownFrames, known_frames
from relabel.heads.kinds import STRENGTHS, learned
from relabel.rewards.base import PROBABILITIES, Floats, RewardFunction
from relabel.rewards.curves import log_odds
from relabel.rewards.head import HeadKind, stretched, with_head
from relabel.rewards.head_weights import HeadWeights
from relabel.rewards.scorer import Scorer
from schemas import fields
from schemas.errors import LabelError
from schemas.goal_datasets import GOAL
from schemas.goals import GoalSet
from schemas.labels import Labels
from schemas.store import Store

AskedKind = Literal["auto", "cached", "linear"]

_SHOWN: Final = 3  # examples in a note
# Wide: the blend of a goal may lie anywhere on its scale.
_PRIOR: Final = Prior(slope_sd=5.0, goal_sd=4.0)
_LABEL_SCHEMA: Final = pa.schema(
    [
        pa.field(GOAL, pa.int32()),
        pa.field(fields.EPISODE_ID, pa.string()),
        pa.field(fields.STEP, pa.int32()),
        pa.field(fields.LABEL, pa.bool_()),
        pa.field(fields.ZERO_SHOT, pa.float32()),
        pa.field(fields.LEFT_OUT, pa.float32()),
    ]
)


@dataclass(frozen=True)
class GoalHead:
    """What became of one goal."""

    positives: int
    negatives: int
    folds: str | None = None  # what was left out together; None: too few labels to try a head
    zero_shot_ap: float | None = None  # average precision on the labels
    head_ap: float | None = None  # likewise, each label scored by a head that has not seen it
    blend: float = 0.0  # share of the head in the score; 0: zero-shot
    reason: str | None = None  # whose labels say so: "goal" or "family"


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head for some of G goals."""

    kind: HeadKind
    strength: float
    labels: str  # SHA-256 of the labels
    slope: float  # of log-odds
    shifts: tuple[float, ...]  # likewise, per goal that takes the head; (): scores stay as they are
    weights: HeadWeights
    goals: tuple[GoalHead, ...]  # G
    label_table: pa.Table  # the labels that were used, scored without and with heads
    notes: tuple[str, ...]  # for people

    def around(self, function: RewardFunction) -> RewardFunction:
        """A reward function with this head around its base."""
        return with_head(
            function,
            kind=self.kind,
            goals=tuple(self.weights.goal[self.weights.starts].tolist()),
            strength=self.strength,
            slope=self.slope,
            shifts=self.shifts,
            labels=self.labels,
            weights=self.weights.sha256,
        )

    def columns(self) -> dict[str, pa.Array]:
        """What `goals.parquet` says of the head, a row per goal."""
        kinds: dict[str, tuple[str, pa.DataType]] = {
            fields.HEAD_BLEND: ("blend", pa.float32()),
            fields.HEAD_POSITIVES: ("positives", pa.int32()),
            fields.HEAD_NEGATIVES: ("negatives", pa.int32()),
            fields.HEAD_FOLDS: ("folds", pa.string()),
            fields.ZERO_SHOT_AP: ("zero_shot_ap", pa.float64()),
            fields.HEAD_AP: ("head_ap", pa.float64()),
            fields.HEAD_REASON: ("reason", pa.string()),
        }
        return {
            column: pa.array([getattr(goal, name) for goal in self.goals], kind)
            for column, (name, kind) in kinds.items()
        }


def fit_head(
    store: Store,
    tables: Sequence[str],
    scorer: Scorer,
    goals: GoalSet,
    labels: Labels,
    kind: AskedKind = "auto",
) -> FittedHead:
    """Makes a head of labels. Of the store, only slices with labelled frames are read.

    Args:
        store: holds the embeddings of the labelled frames.
        tables: names of the embedding tables, one per camera.
        scorer: of the goals, without a head.
        goals: G, that the scorer is bound to.
        labels: any; those of other goals and frames are left out, with a note.
        kind: of head; auto: whichever does better on labels that it has not seen.

    Returns:
        The head. It is of no goal where zero-shot is as good, or labels are too few.

    Raises:
        LabelError: no label is of these goals and of frames that have a score.
        StoreError: embeddings that are unfinished or damaged.
    """
    place = {goal.id: at for at, goal in enumerate(goals.goals)}
    named = [row for row, goal_id in enumerate(labels.goal_id) if goal_id in place]
    frames = {(str(labels.episode_id[row]), int(labels.step[row])) for row in named}
    known = known_frames(store, tables, scorer, frames)
    by_goal = _by_goal(labels, place, known)
    notes = _notes(labels, place, known, by_goal)
    if not any(len(own.label) for own in by_goal):
        why = f": {'; '.join(notes)}" if notes else ""
        raise LabelError(
            f"--labels: none of the {len(labels)} labels is of a goal and a frame that are scored"
            f"{why}; goal ids are those of the goals file, episodes and steps those of the store"
        )
    kinds: Sequence[HeadKind] = list(STRENGTHS) if kind == "auto" else [kind]
    found = [tried(known, own, kinds) for own in by_goal]
    able = [one for one in found if one is not None]
    if not able:
        return _no_head(labels, by_goal, known, kinds[0], (*notes, _TOO_FEW))
    choice = choose(known, able, [goals.goals[one.labels.goal].family for one in able])
    return _fitted(labels, known, by_goal, able, choice, notes)


_TOO_FEW: Final = (
    "head: no goal has the labels to try one, at least two frames that show it and two that do "
    "not; every goal keeps its zero-shot score"
)


def _by_goal(labels: Labels, place: dict[str, int], known: KnownFrames) -> list[GoalLabels]:
    """The labels of each of the G goals, those with a score."""
    episodes = {name: at for at, name in enumerate(dict.fromkeys(labels.episode_id))}
    rows: list[list[tuple[int, int, bool]]] = [[] for _ in place]
    for episode, step, goal_id, label in labels:
        goal, row = place.get(goal_id), known.place.get((episode, step))
        if goal is not None and row is not None:
            rows[goal].append((row, episodes[episode], label))
    return [_of_goal(goal, own, known) for goal, own in enumerate(rows)]


def _of_goal(goal: int, rows: Sequence[tuple[int, int, bool]], known: KnownFrames) -> GoalLabels:
    table = np.array(rows, np.int64).reshape(-1, 3)
    there = np.isfinite(known.fused(known.scores[:, table[:, 0], goal]))
    row, episode, label = table[there].T
    return GoalLabels(goal, row, episode, label.astype(bool))


# --- the head ---------------------------------------------------------------------------------


def _fitted(
    labels: Labels,
    known: KnownFrames,
    by_goal: Sequence[GoalLabels],
    able: Sequence[TriedGoal],
    choice: Choice,
    notes: Sequence[str],
) -> FittedHead:
    setting = choice.kind, choice.strength
    goals = [_untried(own) for own in by_goal]
    parts, left_out = [], {}
    for one, ap, reason in zip(able, choice.ap, choice.reasons, strict=True):
        goal, blend = one.labels.goal, choice.blend if reason else 0.0
        told = goals[goal]
        found = (one.grouping, one.zero_shot_ap, ap, blend, reason)
        goals[goal] = GoalHead(told.positives, told.negatives, *found)
        if reason:
            seen, label = training_frames(known, one.labels, np.ones(len(one.labels.label), bool))
            parts.append(learned(*setting, seen, label, goal, blend))
            left_out[goal] = left_out_scores(known, one, setting, blend)
    slope, shifts = _curve(known, by_goal, left_out)
    for goal, shift in zip(list(left_out), shifts, strict=bool(shifts)):
        left_out[goal] = stretched(left_out[goal], slope, shift)
    return FittedHead(
        kind=choice.kind,
        strength=choice.strength,
        labels=labels.sha256,
        slope=slope,
        shifts=shifts,
        weights=HeadWeights.joined(parts, known.embeddings.shape[2]),
        goals=tuple(goals),
        label_table=_label_table(known, by_goal, left_out),
        notes=(*notes, _summary(goals, choice)),
    )


def _curve(
    known: KnownFrames, by_goal: Sequence[GoalLabels], left_out: dict[int, Floats]
) -> tuple[float, tuple[float, ...]]:
    """What makes probabilities of blends: a slope, and a shift per goal, by labels left out."""
    if known.scorer.score_range != PROBABILITIES or not left_out:
        return 1.0, ()
    label = np.concatenate([by_goal[goal].label for goal in left_out])
    place = np.repeat(np.arange(len(left_out)), [len(scores) for scores in left_out.values()])
    z = log_odds(np.concatenate(list(left_out.values())))
    found = fit_platt(z, label, place, [""] * len(left_out), prior=_PRIOR)
    if found.slope <= 0:
        return 1.0, ()
    slope, *shifts = (float(f"{value:.6g}") for value in (found.slope, *found.shift))
    return slope, tuple(shifts)  # of digits that another machine would give too


def _no_head(
    labels: Labels,
    by_goal: Sequence[GoalLabels],
    known: KnownFrames,
    kind: HeadKind,
    notes: tuple[str, ...],
) -> FittedHead:
    return FittedHead(
        kind=kind,
        strength=STRENGTHS[kind][0],
        labels=labels.sha256,
        slope=1.0,
        shifts=(),
        weights=HeadWeights.none(known.embeddings.shape[2]),
        goals=tuple(_untried(own) for own in by_goal),
        label_table=_label_table(known, by_goal, {}),
        notes=notes,
    )


def _untried(own: GoalLabels) -> GoalHead:
    positives = int(own.label.sum())
    return GoalHead(positives, len(own.label) - positives)


def _label_table(
    known: KnownFrames, by_goal: Sequence[GoalLabels], left_out: dict[int, Floats]
) -> pa.Table:
    """The labels that were used, goal by goal."""
    frames = list(known.place)
    columns: dict[str, list[Any]] = {name: [] for name in _LABEL_SCHEMA.names}
    for own in by_goal:
        zero = known.fused(known.scores[:, own.row, own.goal]).tolist()
        seen = left_out.get(own.goal)
        columns[GOAL].extend([own.goal] * len(own.label))
        columns[fields.EPISODE_ID].extend(frames[row][0] for row in own.row)
        columns[fields.STEP].extend(frames[row][1] for row in own.row)
        columns[fields.LABEL].extend(own.label.tolist())
        columns[fields.ZERO_SHOT].extend(zero)
        columns[fields.LEFT_OUT].extend(zero if seen is None else seen.tolist())
    return pa.table(columns, schema=_LABEL_SCHEMA)


# --- for people -------------------------------------------------------------------------------


def _notes(
    labels: Labels, place: dict[str, int], known: KnownFrames, by_goal: Sequence[GoalLabels]
) -> tuple[str, ...]:
    """What was left out, a line for each reason."""
    goal = np.array([goal_id in place for goal_id in labels.goal_id], bool)
    there = np.array([(e, s) in known.place for e, s, _, _ in labels], bool)
    used = sum(len(own.label) for own in by_goal)
    silent = int((goal & there).sum()) - used
    lines = []
    for rows, what, names in (
        (~goal, "of goals that are not scored", labels.goal_id),
        (goal & ~there, "of frames that the store does not have", labels.episode_id),
    ):
        if rows.any():
            shown = ", ".join(sorted(set(names[rows]))[:_SHOWN])
            lines.append(f"{int(rows.sum())} labels {what} are left out: {shown}")
    if silent:
        lines.append(f"{silent} labels of frames without a score are left out")
    if labels.contradictory:
        shown = "; ".join(labels.contradictory[:_SHOWN])
        lines.append(
            f"{len(labels.contradictory)} frames labelled both yes and no are left out: {shown}"
        )
    return tuple(lines)


def _summary(goals: Sequence[GoalHead], choice: Choice) -> str:
    taken = [goal for goal in goals if goal.blend]
    able = sum(goal.folds is not None for goal in goals)
    told = f"head: {choice.kind}, strength {choice.strength:g}, blend {choice.blend:g}: "
    few = f"; {len(goals) - able} have too few labels" if able < len(goals) else ""
    if not taken:
        return f"head: zero-shot is as good on the labels of all {able} goals, and kept{few}"
    before, after = (
        float(np.mean([getattr(goal, name) for goal in taken]))
        for name in ("zero_shot_ap", "head_ap")
    )
    others = sum(goal.reason == "family" for goal in taken)
    with_family = f" ({others} with their family)" if others else ""
    return (
        f"{told}{len(taken)} of {len(goals)} goals take it{with_family}, with average precision "
        f"{before:.3f} → {after:.3f} on labels that it had not seen; {able - len(taken)} keep "
        f"zero-shot, which is as good on theirs{few}"
    )
