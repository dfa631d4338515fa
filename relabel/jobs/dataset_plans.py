"""The datasets that `build-goals` will write, decided before any slice is touched."""

from __future__ import annotations

from typing import Any, Final

from relabel.goal_datasets.inputs import DatasetInputs
from relabel.goal_datasets.instruction_notes import instruction_notes
from relabel.goals.files import FIELD_PREFIX, given_goals
from relabel.jobs.options import GoalDatasetOptions, JobOptions
from relabel.jobs.plans import made_by
from schemas import fields
from schemas.enums import Kind, Timing
from schemas.errors import GoalError, StoreError
from schemas.goal_basis import truth_column, width
from schemas.goal_datasets import DatasetGoal, GoalDatasetManifest
from schemas.goals import GoalSet
from schemas.store import Store

TRUE_SUFFIX: Final = ".true"  # of the dataset made of the truth instead of the rewards


def plan_datasets(
    options: JobOptions, what: GoalDatasetOptions, store: Store
) -> list[GoalDatasetManifest]:
    """What the datasets are to be, the one of the rewards first.

    Raises:
        StoreError: no such reward set, or it is unfinished; shares that leave nothing to train;
            options that do not go together.
        GoalError: no such goals file.
    """
    wanted = what.options
    if wanted.validation + wanted.test >= 1:
        raise StoreError(
            f"--validation {wanted.validation:g} and --test {wanted.test:g} leave no episode to "
            "train on; expected a sum below 1"
        )
    shared: dict[str, Any] = {
        "source_fingerprint": store.manifest.source.fingerprint,
        "made_by": made_by(options),
        "command": options.command,
        "options": wanted,
        "materialized": what.materialize,
    }
    if what.rewards is None:
        return [_of_a_column(what, store, shared)]
    _refuse_alone(what)
    rewards = store.rewards(what.rewards)
    columns = [("", None)] if what.truth is None else [("", None), (TRUE_SUFFIX, what.truth)]
    return [
        GoalDatasetManifest(
            name=what.name + suffix,
            rewards=rewards.name,
            rewards_fingerprint=rewards.fingerprint,
            source_column=column,
            **shared,
        )
        for suffix, column in columns
    ]


def _of_a_column(
    what: GoalDatasetOptions, store: Store, shared: dict[str, Any]
) -> GoalDatasetManifest:
    """A dataset with no reward set behind it."""
    if what.truth is None:
        raise StoreError(
            "--no-rewards: expected a column to learn from instead, got none; give --truth COLUMN, "
            f"such as {fields.REWARD}, the environment's own reward"
        )
    spec = truth_column(store, what.truth)
    return GoalDatasetManifest(
        name=what.name,
        rewards=None,
        rewards_fingerprint=None,
        source_column=spec.name,
        timing=column_timing(spec.name) if what.timing is None else what.timing,
        goals=_column_goals(what, store, spec.name, width(spec)),
        **shared,
    )


def column_timing(column: str) -> Timing:
    """Which frame a transition looks at in a column, unless it is said.

    RLDS keeps the reward of an action in the action's own step. Any other column is taken to tell
    what is true of its frame, so that an action's outcome is in the next one.
    """
    return Timing.SAME_FRAME if column == fields.REWARD else Timing.NEXT_FRAME


def _column_goals(
    what: GoalDatasetOptions, store: Store, column: str, count: int
) -> tuple[DatasetGoal, ...]:
    if what.goals is None:
        ids = [column] if count == 1 else [f"{column}-{place}" for place in range(count)]
        return tuple(DatasetGoal(id=i) for i in ids)
    goals = _ordered_goals(what.goals).goals
    if len(goals) != count:
        raise StoreError(
            f"{store.location}/steps: truth column {column!r}: expected one value per goal of "
            f"--goals, {len(goals)}, got {count} per frame"
        )
    texts = ((*goal.texts, *goal.spoken) for goal in goals)
    return tuple(
        DatasetGoal(id=goal.id, family=goal.family, texts=own)
        for goal, own in zip(goals, texts, strict=True)
    )


def _ordered_goals(goals: str | tuple[str, ...] | GoalSet) -> GoalSet:
    """A goal set in the order of a column: itself, of a file, or of texts."""
    if isinstance(goals, str) and goals.startswith(FIELD_PREFIX):
        raise GoalError(
            f"--goals {goals}: mined goals have no order that a column could have; write them to a "
            "file in the order of the column"
        )
    return given_goals(goals, null_prompts=())


def _refuse_alone(what: GoalDatasetOptions) -> None:
    """Options that mean something without a reward set only."""
    given = {"--goals": what.goals, "--timing": what.timing}
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise StoreError(
            f"{', '.join(wrong)}: only with --no-rewards; the reward set {what.rewards} has goals "
            "and a timing of its own"
        )


def dataset_warnings(
    store: Store, dataset: GoalDatasetManifest, inputs: DatasetInputs
) -> list[str]:
    """What is unusual about the source, with regard to goals."""
    warnings = []
    if fields.IS_TERMINAL not in {spec.name for spec in store.manifest.fields}:
        warnings.append(f"the source has no {fields.IS_TERMINAL}: no episode counts as terminated")
    if Kind.COMMANDED in dataset.options.kinds:
        warnings += instruction_notes(store, inputs, dataset.options)
    return warnings
