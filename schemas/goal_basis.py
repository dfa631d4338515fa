"""What the rewards of a goal dataset come from: a reward set, a column, or both.

    rewards    column    a transition's reward                     its success
    v1         none      that of the reward set                    reward, or score, above a bound
    v1         truth     0 or 1                                    truth above 0.5
    none       truth     what the column says, as it is            that above a bound

The column tells of frames, and the timing says which frame a transition looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.goal_datasets import GoalDatasetManifest, effective_timing, is_difference
from schemas.manifests import RewardManifest
from schemas.store import Store
from schemas.tables import FieldSpec

TRUE_ABOVE: Final = 0.5  # of a column that takes the place of a reward set's rewards


@dataclass(frozen=True)
class Basis:
    """A dataset's manifest, resolved against its store."""

    rewards: RewardManifest | None
    column: str | None  # of the steps table, in place of the rewards
    goals: int  # G
    timing: Timing  # as effective, not as asked for
    binary: bool  # rewards are 0 and 1, before `step_reward`
    difference: bool  # successes are told by the score, not by the reward
    above: float  # what a success is above

    @property
    def table(self) -> str:
        """The table that rewards, or the values in their place, are read from."""
        return "steps" if self.column is not None or self.rewards is None else self.rewards.table

    @property
    def name(self) -> str:
        """For people: that table, or the column."""
        return self.table if self.column is None else f"steps, column {self.column!r}"


def basis(store: Store, dataset: GoalDatasetManifest) -> Basis:
    """What a dataset is, or is to be, made of.

    Raises:
        StoreError: no such reward set, or it is unfinished; no such column, or of another shape.
    """
    above, column = dataset.options.success_above, dataset.source_column
    if dataset.rewards is None:
        spec = truth_column(store, column or "", len(dataset.goals))
        timing = Timing.NEXT_FRAME if dataset.timing is None else dataset.timing
        binary = spec.dtype == "bool"
        return Basis(None, spec.name, len(dataset.goals), timing, binary, False, above)
    rewards = store.rewards(dataset.rewards)
    timing = effective_timing(rewards.function, rewards.timing)
    if column is not None:
        truth_column(store, column, rewards.goals)
        return Basis(rewards, column, rewards.goals, timing, True, False, TRUE_ABOVE)
    difference = is_difference(rewards.function)
    return Basis(rewards, None, rewards.goals, timing, rewards.binary, difference, above)


def truth_column(store: Store, name: str, goals: int | None = None) -> FieldSpec:
    """A column of numbers per frame: a vector with one value per goal, or a scalar for one goal.

    Args:
        store: whose steps table has it.
        name: of the column.
        goals: G; None: any number.

    Raises:
        StoreError: there is none, or it has another shape; lists those that would fit.
    """
    found = {spec.name: spec for spec in store.manifest.fields if _is_numbers(spec)}
    fitting = [n for n, spec in found.items() if goals in (None, width(spec))]
    if name in fitting:
        return found[name]
    got = "there is no such column of numbers"
    if name in found:
        got = f"its shape is {list(found[name].shape)}"
    wanted = "one value per goal" + ("" if goals is None else f", {goals} per frame")
    raise StoreError(
        f"{store.location}/steps: truth column {name!r}: expected {wanted}; {got}; columns that "
        f"would fit: {', '.join(fitting) or 'none'}"
    )


def _is_numbers(spec: FieldSpec) -> bool:
    flat = len(spec.shape) <= 1 and None not in spec.shape
    return spec.kind == "tensor" and spec.dtype != "object" and flat


def width(spec: FieldSpec) -> int:
    """Values per frame of a scalar or vector column."""
    return int(spec.shape[0] or 0) if spec.shape else 1


def truth_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of such a column as fixed-size lists of G float32."""
    if pa.types.is_fixed_size_list(column.type):
        return column.cast(pa.list_(pa.float32(), column.type.list_size))
    flat = column.cast(pa.float32())
    chunks = [pa.FixedSizeListArray.from_arrays(chunk, 1) for chunk in flat.chunks]
    return pa.chunked_array(chunks, pa.list_(pa.float32(), 1))


def dataset_goals(store: Store, dataset: GoalDatasetManifest) -> pa.Table:
    """The goals of a dataset; row i is place i of the goal axis.

    With a reward set they are its goals, with their text embeddings; without, `goal_id`, `family`
    and `texts` alone.

    Raises:
        StoreError: no such reward set.
    """
    if dataset.rewards is not None:
        return store.goals(dataset.rewards)
    return pa.table(
        {
            fields.GOAL_ID: pa.array([goal.id for goal in dataset.goals], pa.string()),
            fields.FAMILY: pa.array([goal.family for goal in dataset.goals], pa.string()),
            fields.TEXTS: pa.array(
                [list(goal.texts) for goal in dataset.goals], pa.list_(pa.string())
            ),
        }
    )
