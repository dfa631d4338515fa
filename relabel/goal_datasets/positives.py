"""Is there anything to learn from? Rewards without one success make no dataset, and it is said why.

A transition looks at one frame, as the timing says, so that some frames are looked at by none:

    frame           0       1       2       3 = T-1
    next-frame      -       t=0     t=1     t=2         the first is nobody's outcome
    same-frame      t=0     t=1     t=2     -           the last has no transition, in general
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from relabel.goal_datasets.inputs import DatasetInputs, EpisodeFrames, outcomes, read_episodes
from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.goal_datasets import GoalDatasetManifest
from schemas.store import Store
from schemas.tables import Array, matrix


def check_positives(store: Store, dataset: GoalDatasetManifest, inputs: DatasetInputs) -> None:
    """Looks for a success of any goal asked for; stops at the first slice with one.

    Raises:
        StoreError: there is none; says what it was held against and how to calibrate it.
    """
    transitions = taken = 0
    for piece in store.slices:
        for item in read_episodes(piece, store=store, dataset=dataset, inputs=inputs):
            taken += 1
            transitions += len(item.episode.success)
            if item.episode.success[:, inputs.chosen].any():
                return
    where = f"{store.location}: "
    if not taken:
        raise StoreError(
            f"{where}no episode with a frame is left of {_episodes(dataset)}; ids look like "
            f"{_an_id(store)}"
        )
    if not transitions:
        raise StoreError(f"{where}none of the {taken} episodes has a transition (two frames)")
    goals = [goal_id for goal_id, own in zip(inputs.ids, inputs.chosen, strict=True) if own]
    which = f"goal {goals[0]}" if len(goals) == 1 else f"any of {len(goals)} goals"
    reasons = _Reasons(store, dataset, inputs)
    raise StoreError(f"{where}none of {transitions} transitions reaches {which}: {reasons.told()}")


def _episodes(dataset: GoalDatasetManifest) -> str:
    patterns = dataset.options.episodes
    return f"--episode {' '.join(patterns)}" if patterns else "the source"


def _an_id(store: Store) -> str:
    return next(piece.episode_id(piece.start) for piece in store.slices)


@dataclass(frozen=True)
class _Nearest:
    """The value that came nearest to what its goal needs, or is farthest above it."""

    over: float  # above what is needed, or below it if negative
    value: float
    needed: float
    goal: str
    episode: str
    frame: int

    @property
    def place(self) -> str:
        """For people: what was seen where."""
        return f"goal {self.goal}, frame {self.frame} of {self.episode}"


class _Reasons:
    """Why no transition of a dataset is a success, from all frames of its episodes."""

    def __init__(self, store: Store, dataset: GoalDatasetManifest, inputs: DatasetInputs) -> None:
        self._store, self._dataset, self._inputs = store, dataset, inputs
        self._basis = inputs.basis

    def told(self) -> str:
        """One sentence, with what to do."""
        found = self._basis
        above = self._dataset.options.success_above
        if found.rewards is not None and found.column is None:
            if found.binary and above >= 1:
                return (
                    f"rewards of {found.table} are 0 or 1, so none is above --success-above "
                    f"{above:g}; leave it at 0.5"
                )
            if found.binary and not found.rewards.scores:
                return (
                    f"{self._bound()}, and the scores were not kept; score again with --scores to "
                    f"see how high they are, then calibrate: {self._again()}"
                )
        looked_at, others = self._nearest()
        if looked_at is None:
            return f"every {self._what()} that they look at is missing, see the dead letters"
        told = f"{self._bound()}; the nearest is {looked_at.value:.4g} ({looked_at.place}"
        told += f", threshold {looked_at.needed:g})" if self._thresholds is not None else ")"
        if others is not None and others.over > 0:
            return f"{told}; {self._unseen(others)}"
        return f"{told}; {self._cure(looked_at)}"

    @cached_property
    def _thresholds(self) -> Array | None:
        """(G,) of a reward set whose rewards are 0 and 1; None: one bound for all goals."""
        found = self._basis
        if found.column is not None or found.rewards is None or not found.binary:
            return None
        goals = self._store.goals(found.rewards.name, [fields.THRESHOLD])
        thresholds: Array = goals.column(fields.THRESHOLD).to_numpy().astype(np.float32)
        return thresholds

    def _what(self) -> str:
        found = self._basis
        if found.column is not None:
            return f"value of column {found.column!r}"
        kept = found.rewards is not None and found.rewards.scores
        return f"{fields.SCORE if kept else fields.REWARD} of {found.table}"

    def _bound(self) -> str:
        """What did not happen."""
        thresholds = self._thresholds
        if thresholds is None:
            fixed = self._basis.column is not None and self._basis.rewards is not None
            bound = f"{'' if fixed else '--success-above '}{self._basis.above:g}"
            return f"no {self._what()} that they look at is above {bound}"
        own = thresholds[self._inputs.chosen]
        low, high = float(own.min()), float(own.max())
        bound = f"its threshold {low:g}" if low == high else f"its threshold, {low:g} to {high:g}"
        return f"no score of {self._basis.table} that they look at is above {bound}"

    def _again(self) -> str:
        return f"`vlm-relabel score --store {self._store.location} … --name NAME --threshold X`"

    def _cure(self, nearest: _Nearest) -> str:
        found = self._basis
        if found.column is not None and found.rewards is not None:
            return "is it the right column, and are the goals in its order?"
        if self._thresholds is None:
            return "give a --success-above below it"
        return (
            f"calibrate the threshold: {self._again()} with X below {nearest.value:.4g}, or a "
            "threshold per goal in the goals file"
        )

    def _unseen(self, seen: _Nearest) -> str:
        """That a goal holds, but where no transition looks."""
        found = self._basis
        ahead = found.timing is Timing.NEXT_FRAME
        other = Timing.SAME_FRAME if ahead else Timing.NEXT_FRAME
        how = "take" if found.rewards is None else "score with"
        cure = "choose goals that do not hold from the start" if ahead else "choose other goals"
        if not found.difference:
            cure += f", or {how} --timing {other}"
        why = "an action's reward is that of its outcome" if ahead else "nothing follows it"
        return (
            f"it is {seen.value:.4g}, above {seen.needed:g}, only in frames that no "
            f"transition looks at, such as for {seen.place}: with timing {found.timing} {why}; "
            f"{cure}"
        )

    def _nearest(self) -> tuple[_Nearest | None, _Nearest | None]:
        """Of the values that transitions look at, and of all others."""
        looked_at = others = None
        for item in self._episodes():
            count = len(item.episode.success)
            values = self._frame_values(item)
            rows = np.arange(len(values))
            seen = outcomes(rows, count, self._basis.timing)
            looked_at = self._better(looked_at, item, values, seen)
            others = self._better(others, item, values, np.setdiff1d(rows, seen))
        return looked_at, others

    def _episodes(self) -> Iterator[EpisodeFrames]:
        found = self._basis
        scores = found.column is None and found.rewards is not None and found.rewards.scores
        for piece in self._store.slices:
            yield from read_episodes(
                piece, store=self._store, dataset=self._dataset, inputs=self._inputs, scores=scores
            )

    def _frame_values(self, item: EpisodeFrames) -> Array:
        """(T, G) values of the frames of an episode; NaN where they are not known."""
        names = item.values.column_names
        if self._basis.column is not None:
            return matrix(item.values.column(fields.REWARD))
        if fields.SCORE in names:
            return matrix(item.values.column(fields.SCORE))
        # Without scores: each reward is the value of the frame that it looks at.
        values: Array = np.full((item.values.num_rows, len(self._inputs.ids)), np.nan, np.float32)
        seen = outcomes(np.arange(len(values)), len(item.episode.success), self._basis.timing)
        values[seen] = item.episode.rewards
        return values

    def _better(
        self, best: _Nearest | None, item: EpisodeFrames, values: Array, frames: Array
    ) -> _Nearest | None:
        """The nearer of `best` and the nearest of some frames of an episode."""
        thresholds = self._thresholds_or_bound
        over = np.where(self._inputs.chosen, values[frames] - thresholds, np.nan)
        if np.isnan(over).all():
            return best
        row, goal = np.unravel_index(int(np.nanargmax(over)), over.shape)
        if best is not None and float(over[row, goal]) <= best.over:
            return best
        return _Nearest(
            over=float(over[row, goal]),
            value=float(values[frames[row], goal]),
            needed=float(thresholds[goal]),
            goal=self._inputs.ids[int(goal)],
            episode=item.episode.id,
            frame=int(frames[row]),
        )

    @cached_property
    def _thresholds_or_bound(self) -> Array:
        """(G,) what a value must be above to be a success."""
        if self._thresholds is not None:
            return self._thresholds
        return np.full(len(self._inputs.ids), self._basis.above, np.float32)
