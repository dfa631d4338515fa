"""Goals files, and the table that a goal set becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from relabel.goals.prompts import Prompts
from schemas import fields
from schemas.errors import GoalError, StoreError
from schemas.goal_text import MAX_CHARACTERS
from schemas.goals import DEFAULT_NULL_PROMPTS, GoalSet
from schemas.object_stores import read_text
from schemas.tables import Array

FIELD_PREFIX: Final = "field:"
_FRAMES: Final = pa.list_(pa.struct([(fields.EPISODE_ID, pa.string()), (fields.STEP, pa.int32())]))


def given_goals(
    goals: str | tuple[str, ...] | GoalSet, null_prompts: Sequence[str] | None = None
) -> GoalSet:
    """A goal set that was given as itself, as texts, or as a file.

    Args:
        goals: the goal set, its texts, or the path of its file.
        null_prompts: of texts; None: the default.

    Raises:
        GoalError: as `load_goals`; no text, or an empty null prompt.
    """
    if isinstance(goals, GoalSet):
        return goals
    if isinstance(goals, str):
        return load_goals(goals)
    nulls = DEFAULT_NULL_PROMPTS if null_prompts is None else null_prompts
    return GoalSet.from_texts(goals, name="given", null_prompts=nulls)


def load_goals(path: str) -> GoalSet:
    """Reads a goals file.

    Args:
        path: or URL, of a YAML file, or of JSON if it ends in .json.

    Raises:
        GoalError: missing, or against a rule of `schemas.goals`.
        LocationError: a URL of no known kind, or with a secret in it.
    """
    try:
        text = read_text(path, MAX_CHARACTERS + 1)
    except StoreError as error:
        raise GoalError(
            f"{error}; --goals takes a file (docs/goals.md), "
            f"{FIELD_PREFIX}<name of a text field>, or texts"
        ) from error
    parse = GoalSet.from_json if path.lower().endswith(".json") else GoalSet.from_yaml
    return parse(text, origin=path)


def goals_table(
    goals: GoalSet,
    prompts: Prompts,
    embeddings: Array,
    temperature: Array | None,
    threshold: Array | None,
) -> pa.Table:
    """The goals of a reward set as they were used, one row per place on the goal axis.

    Args:
        goals: G of them.
        prompts: of the goal set.
        embeddings: (P, D) of the prompts.
        temperature: (G,) as used; None if the reward function has none.
        threshold: (G,) likewise.
    """
    # As dictionary indices: a thousand goals have a million negatives of a thousand texts.
    captions = pa.array(map(prompts.title, range(len(prompts.texts))), pa.string())
    indices = np.concatenate([*prompts.negatives, np.zeros(0, np.int64)]).astype(np.int32)
    counts = np.array([len(own) for own in prompts.negatives])
    negatives = pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(counts)).astype(np.int32)),
        pa.DictionaryArray.from_arrays(pa.array(indices), captions),
    )
    own = embeddings[prompts.goal].astype("float32")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(own.reshape(-1)), own.shape[1])
    table = pa.table(
        {
            fields.GOAL_ID: pa.array([g.id for g in goals.goals], pa.string()),
            fields.FAMILY: pa.array([g.family for g in goals.goals], pa.string()),
            fields.TEXTS: pa.array([prompts.texts[p] for p in prompts.goal], pa.list_(pa.string())),
            fields.PHRASINGS: pa.array([g.texts for g in goals.goals], pa.list_(pa.string())),
            fields.SPOKEN: pa.array([g.spoken for g in goals.goals], pa.list_(pa.string())),
            fields.NEGATIVES: negatives,
            fields.TEMPERATURE: _numbers(temperature, len(goals.goals)),
            fields.THRESHOLD: _numbers(threshold, len(goals.goals)),
            fields.TEXT_EMBEDDING: vectors,
        }
    )
    if any(goal.examples for goal in goals.goals):
        frames = [[example.model_dump() for example in goal.examples] for goal in goals.goals]
        table = table.append_column(fields.EXAMPLES, pa.array(frames, _FRAMES))
    return table


def _numbers(values: Array | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.float64()) if values is None else pa.array(values, pa.float64())
