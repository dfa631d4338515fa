"""Where a goal set comes from: a file, or the instructions of the source itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from fsspec.core import open as open_any

from relabel.instructions import texts
from relabel.prompts import Prompts
from schemas import fields
from schemas.errors import GoalError
from schemas.goal_text import MAX_CHARACTERS
from schemas.goals import DEFAULT_NULL_PROMPTS, GoalSet
from schemas.store import Store
from schemas.tables import Array
from schemas.text_fields import text_field

FIELD_PREFIX: Final = "field:"


def load_goals(path: str) -> GoalSet:
    """Reads a goals file.

    Args:
        path: or URL, of a YAML file, or of JSON if it ends in .json.

    Raises:
        GoalError: missing, or against a rule of `schemas.goals`.
    """
    try:
        with open_any(path, "rt", encoding="utf-8-sig") as stream:
            text = stream.read(MAX_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise GoalError(
            f"{path}: cannot be read: {error}; --goals takes a file (docs/goals.md), "
            f"{FIELD_PREFIX}<name of a text field>, or texts"
        ) from error
    parse = GoalSet.from_json if path.lower().endswith(".json") else GoalSet.from_yaml
    return parse(text, origin=path)


def mine_goals(store: Store, column: str, null_prompts: Sequence[str] | None = None) -> GoalSet:
    """One goal per distinct instruction stored in a store.

    Args:
        store: its tables may still be unfinished, but need all slices.
        column: a text field: "language_instruction", "episode_metadata.task". Texts that it
            lists together are phrasings of one goal.
        null_prompts: captions of frames that show none of them; None is the default.

    Raises:
        GoalError: no such text field, or it holds no text.
    """
    field = text_field(store.manifest, column)
    together: dict[tuple[str, ...], None] = {}
    for piece in store.slices:
        values = store.read_slices(field.table, [piece], [field.name]).column(field.name)
        together.update(dict.fromkeys(_phrasings(values)))
    nulls = DEFAULT_NULL_PROMPTS if null_prompts is None else tuple(null_prompts)
    name = f"field-{field.name}"
    if not field.phrasings:
        return GoalSet.from_texts(sorted(t for (t,) in together), name=name, null_prompts=nulls)
    return GoalSet.from_phrasings(_joined(sorted(together)), name=name, null_prompts=nulls)


def _phrasings(column: pa.ChunkedArray) -> list[tuple[str, ...]]:
    """The distinct texts or lists of texts of a column, in order of appearance."""
    rows, values = texts(column)
    lists: dict[int, list[str]] = {}
    for row, text in zip(rows.tolist(), values.to_pylist(), strict=True):
        lists.setdefault(row, []).append(text.strip())
    return list(dict.fromkeys(tuple(dict.fromkeys(own)) for own in lists.values()))


def _joined(lists: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Lists that share a text, as one: a phrasing names one goal."""
    goals: list[dict[str, None]] = []
    for own in lists:
        shared = [goal for goal in goals if not goal.keys().isdisjoint(own)]
        merged = dict.fromkeys([*(text for goal in shared for text in goal), *own])
        goals = [goal for goal in goals if goal not in shared] + [merged]
    return [tuple(goal) for goal in goals]


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
    captions = pa.array([" | ".join(texts) for texts in prompts.texts], pa.string())
    indices = np.concatenate([*prompts.negatives, np.zeros(0, np.int64)]).astype(np.int32)
    counts = np.array([len(own) for own in prompts.negatives])
    negatives = pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(counts)).astype(np.int32)),
        pa.DictionaryArray.from_arrays(pa.array(indices), captions),
    )
    own = embeddings[prompts.goal].astype("float32")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(own.reshape(-1)), own.shape[1])
    return pa.table(
        {
            fields.GOAL_ID: pa.array([g.id for g in goals.goals], pa.string()),
            fields.FAMILY: pa.array([g.family for g in goals.goals], pa.string()),
            fields.TEXTS: pa.array([list(prompts.texts[p]) for p in prompts.goal]),
            fields.PHRASINGS: pa.array([g.texts for g in goals.goals], pa.list_(pa.string())),
            fields.SPOKEN: pa.array([g.spoken for g in goals.goals], pa.list_(pa.string())),
            fields.NEGATIVES: negatives,
            fields.TEMPERATURE: _numbers(temperature, len(goals.goals)),
            fields.THRESHOLD: _numbers(threshold, len(goals.goals)),
            fields.TEXT_EMBEDDING: vectors,
        }
    )


def _numbers(values: Array | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.float64()) if values is None else pa.array(values, pa.float64())
