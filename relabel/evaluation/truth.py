"""What a comparison takes for true: labels, a column of the source, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from relabel.evaluation.evidence import (
    Bools,
    Evidence,
    Ints,
    Tell,
    of_field,
    of_labels,
    places_in,
)
from relabel.evaluation.successes import (
    Successes,
    successes_of_field,
    successes_of_labels,
)
from schemas import fields
from schemas.errors import LabelError
from schemas.goal_basis import TRUE_ABOVE, truth_column, truth_values, width
from schemas.labels import Labels, read_labels
from schemas.store import Store
from schemas.tables import matrix


@dataclass(frozen=True, eq=False)
class Truth:
    """Labels or a column, whichever is there."""

    labels: Labels | None = None
    field: str | None = None
    where: str | None = None  # column of flags: frames that count
    goals: tuple[str, ...] = ()  # that the values of the column belong to

    @property
    def is_known(self) -> bool:
        """Whether there is any."""
        return self.labels is not None or self.field is not None

    @property
    def source(self) -> dict[str, Any]:
        """Where it comes from."""
        if self.labels is not None:
            return {"labels": self.labels.sha256, "count": len(self.labels)}
        return {} if self.field is None else {"field": self.field, "where": self.where}

    def evidence(
        self,
        store: Store,
        rewards: str,
        *,
        episodes: Sequence[str] | None = None,
        tell: Tell | None = None,
    ) -> Evidence | None:
        """Scores of a reward set beside it; None: there is none.

        Args:
            store: holds the reward set.
            rewards: its name.
            episodes: ids; with a column, only their frames.
            tell: told of slices.
        """
        if self.labels is not None:
            return of_labels(store, rewards, self.labels, tell=tell)
        if self.field is None:
            return None
        how: dict[str, Any] = {"where": self.where, "episodes": episodes, "tell": tell}
        return of_field(store, rewards, self.field, goals=self.goals, **how)

    def successes(
        self,
        store: Store,
        goal_ids: Sequence[str],
        episodes: tuple[Sequence[str], Ints],
        tell: Tell | None = None,
    ) -> Successes | None:
        """When each episode first succeeds; None: there is no truth.

        Args:
            store: of the episodes.
            goal_ids: G.
            episodes: ids and lengths.
            tell: told of slices.
        """
        if self.labels is not None:
            return successes_of_labels(self.labels, *episodes, goal_ids)
        if self.field is None:
            return None
        column_of = places_in(self.goals, goal_ids).tolist()
        return successes_of_field(store, self.field, column_of, where=self.where, tell=tell)

    def at(self, store: Store, frames: Sequence[tuple[str, int, str]]) -> list[bool | None]:
        """What is known of some frames: (episode, step, goal) each."""
        if self.labels is not None:
            said = {(e, s, g): label for e, s, g, label in self.labels}
            return [said.get(frame) for frame in frames]
        if self.field is None or not frames:
            return [None] * len(frames)
        truth = _truths(store, self.field, {(episode, step) for episode, step, _ in frames})
        column_of = {goal: place for place, goal in enumerate(self.goals)}
        return [
            bool(truth[episode, step][column_of[goal]]) if goal in column_of else None
            for episode, step, goal in frames
        ]


def _truths(store: Store, field: str, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], Bools]:
    """(width,) truths of each frame."""
    episodes = pa.array(sorted({episode for episode, _ in wanted}), pa.string())
    found: dict[tuple[str, int], Bools] = {}
    for piece in store.slices:
        keys = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP])
        near = pc.indices_nonzero(pc.is_in(keys.column(fields.EPISODE_ID), value_set=episodes))
        columns = keys.take(near).to_pydict().values()
        rows = {
            key: row
            for key, row in zip(zip(*columns, strict=True), near.to_pylist(), strict=True)
            if key in wanted
        }
        if rows:
            values = store.read_slices("steps", [piece], [field]).take(list(rows.values()))
            truths = matrix(truth_values(values.column(field))) > TRUE_ABOVE
            found.update(zip(rows, truths, strict=True))
    return found


def given_labels(
    labels: str | os.PathLike[str] | Labels | None, field: str | None, where: str | None
) -> Labels | None:
    """The labels that are given, where a column of truth may take their place.

    Args:
        labels: path or URL of a label table, or its labels; None: none.
        field: column in their place.
        where: column of flags that chooses frames of `field`.

    Raises:
        LabelError: these do not go together, or the table cannot be read.
    """
    if labels is not None and field is not None:
        raise LabelError("--labels and --labels-field exclude each other; give one of them")
    if where is not None and field is None:
        raise LabelError("--where: expected --labels-field, whose frames it chooses")
    if labels is None or isinstance(labels, Labels):
        return labels
    return read_labels(os.fspath(labels))


def expect_labels(store: Store, known: Sequence[Evidence]) -> None:
    """Refuses labels of which none is of a frame and a goal that have a score.

    Args:
        store: of the reward sets.
        known: what the labels say of each reward set.

    Raises:
        LabelError: none of the sets has such a label; says why.
    """
    if not any(len(frames) for evidence in known for frames in evidence):
        notes = dict.fromkeys(note for evidence in known for note in evidence.notes)
        raise no_label(store, ", ".join(one.rewards for one in known), "to judge by", notes)


def no_label(store: Store, rewards: str, aim: str, notes: Iterable[str]) -> LabelError:
    """The error of a reward set that no label is of.

    Args:
        store: holds it.
        rewards: its name.
        aim: what labels are wanted for: "to fit to".
        notes: why labels were set aside.
    """
    why = "; ".join(notes) or "there is none"
    return LabelError(
        f"{store.location}: no label {aim}: {why}; labels have the episode_id and step of the "
        f"store and the goal_id of rewards/{rewards}"
    )


def column_truth(
    store: Store, field: str, where: str | None, sets: Sequence[Sequence[str]]
) -> Truth:
    """The truth of a column, whose values belong to the goals of the first set that fits.

    Args:
        store: has the column.
        field: its name.
        where: column of flags.
        sets: goal ids of reward sets.

    Raises:
        StoreError: there is no such column, or it fits none of the sets.
    """
    spec = truth_column(store, field)
    fitting = [goals for goals in sets if len(goals) == width(spec)]
    if not fitting:
        truth_column(store, field, len(sets[0]))
    return Truth(field=spec.name, where=where, goals=tuple(fitting[0]))


def episodes_of(store: Store) -> tuple[tuple[str, ...], Ints]:
    """Ids and lengths of all episodes."""
    table = store.read("episodes", [fields.EPISODE_ID, fields.LENGTH])
    ids = tuple(table.column(fields.EPISODE_ID).to_pylist())
    return ids, table.column(fields.LENGTH).to_numpy().astype(np.int64)
