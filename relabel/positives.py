"""Is there anything to learn from? A reward set without one success makes no dataset."""

from __future__ import annotations

import numpy as np

from relabel.index_inputs import IndexInputs, read_episodes
from schemas import fields
from schemas.errors import StoreError
from schemas.goal_datasets import GoalDatasetManifest
from schemas.store import Store
from schemas.tables import matrix


def check_positives(store: Store, dataset: GoalDatasetManifest, inputs: IndexInputs) -> None:
    """Looks for a success of any goal that rows may be of; stops at the first slice with one.

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
    subject = f"none of {transitions} transitions reaches any of {inputs.chosen.sum()} goals"
    raise StoreError(f"{where}{subject}: {_why(store, dataset, inputs)}")


def _episodes(dataset: GoalDatasetManifest) -> str:
    patterns = dataset.options.episodes
    return f"--episode {' '.join(patterns)}" if patterns else "the source"


def _an_id(store: Store) -> str:
    return next(piece.episode_id(piece.start) for piece in store.slices)


def _why(store: Store, dataset: GoalDatasetManifest, inputs: IndexInputs) -> str:
    if dataset.source_column is not None:
        return (
            f"truth column {dataset.source_column!r} is never above 0.5 for them; is it the right "
            "column, and are the goals in its order?"
        )
    if not inputs.rewards.binary:
        return _why_not_above(store, dataset, inputs)
    return _why_not_rewarded(store, dataset, inputs)


def _why_not_above(store: Store, dataset: GoalDatasetManifest, inputs: IndexInputs) -> str:
    above = dataset.options.success_above
    column = fields.REWARD if not inputs.rewards.scores else fields.SCORE
    top, goal = _highest(store, inputs, column)
    return (
        f"no {column} of {inputs.rewards.table} is above --success-above {above:g}; the highest "
        f"is {top:.4g} (goal {goal}); give a --success-above below it"
    )


def _why_not_rewarded(store: Store, dataset: GoalDatasetManifest, inputs: IndexInputs) -> str:
    rewards = inputs.rewards
    if dataset.options.success_above >= 1:
        return (
            f"rewards of {rewards.table} are 0 or 1, so none is above --success-above "
            f"{dataset.options.success_above:g}; leave it at 0.5"
        )
    used = store.goals(rewards.name, [fields.THRESHOLD]).column(fields.THRESHOLD).to_numpy()
    low, high = float(used[inputs.chosen].min()), float(used[inputs.chosen].max())
    threshold = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    again = f"`vlm-relabel score --store {store.location} … --name NAME --threshold X`"
    if not rewards.scores:
        return (
            f"no score of {rewards.table} is above its threshold {threshold}, and the scores were "
            f"not kept; score again with --scores to see how high they are, then calibrate: {again}"
        )
    top, goal = _highest(store, inputs, fields.SCORE)
    return (
        f"no score of {rewards.table} is above its threshold {threshold}; the highest is "
        f"{top:.4g} (goal {goal}); calibrate the threshold: {again} with X below {top:.4g}, or a "
        "threshold per goal in the goals file"
    )


def _highest(store: Store, inputs: IndexInputs, column: str) -> tuple[float, str]:
    """The highest value of a column of the rewards among the chosen goals, and its goal."""
    best = np.full(len(inputs.ids), -np.inf, np.float32)
    for piece in store.slices:
        table = store.read_slices(inputs.rewards.table, [piece], [column])
        if table.num_rows:
            best = np.fmax(best, np.fmax.reduce(matrix(table.column(column)), axis=0))
    goal = int(np.where(inputs.chosen, best, -np.inf).argmax())
    return float(best[goal]), inputs.ids[goal]
