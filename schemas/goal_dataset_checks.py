"""Do the trajectories of a goal dataset say what its rewards say? Part of `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.goal_basis import Basis, basis, truth_values
from schemas.goal_datasets import (
    FIRST_SUCCESS,
    GOAL,
    GOAL_DATASET_SCHEMA,
    KIND,
    RETURN,
    REWARDS,
    SPLIT,
    START,
    STOP,
    SUCCESS,
    TERMINAL,
    GoalDatasetManifest,
    transition_count,
)
from schemas.slices import Slice
from schemas.store import Store
from schemas.tables import Array, flags, matrix


def dataset_problems(store: Store, dataset: GoalDatasetManifest) -> Iterator[str]:
    """What is wrong with a dataset as a whole; reads no rewards."""
    try:
        found = basis(store, dataset)
    except StoreError as error:
        yield f"its rewards are gone: {error}"
        return
    if _made_anew(found, dataset):
        yield (
            f"{found.name} was made again since this dataset was built of it; build it again "
            "with --overwrite"
        )
    if dataset.materialized:
        listed = {file.file for file in dataset.files if file.table == dataset.transitions}
        missing = [piece.file for piece in store.slices if piece.file not in listed]
        if missing:
            yield f"transitions of {len(missing)} slices are not in the manifest: {missing[0]}, …"
    kept = sum(n for name, n in dataset.counts.items() if not name.endswith("/left_out"))
    if kept != dataset.rows:
        yield f"its counts add up to {kept} trajectories, its files hold {dataset.rows}"


def _made_anew(found: Basis, dataset: GoalDatasetManifest) -> bool:
    own = None if found.rewards is None else found.rewards.fingerprint
    return own != dataset.rewards_fingerprint


def trajectory_problems(
    store: Store, dataset: GoalDatasetManifest, piece: Slice, table: pa.Table
) -> Iterator[str]:
    """What is wrong with one slice of a goal dataset.

    Args:
        store: with the rewards, or the truth, that it was made of.
        dataset: its manifest.
        piece: the slice.
        table: its trajectories.

    Raises:
        StoreError: the tables that it was made of cannot be read.
    """
    if not table.schema.equals(GOAL_DATASET_SCHEMA):
        yield f"its columns are {table.schema.names}, or of other types than expected"
        return
    made_of = basis(store, dataset)
    if _made_anew(made_of, dataset):
        return  # said of the dataset as a whole; nothing to compare with
    rows = _trajectories(store, made_of, piece, table)
    if rows is None:
        yield "an episode is not of this slice"
        return
    problems = list(_range_problems(dataset, made_of, table, rows))
    yield from problems
    if not problems:
        yield from _value_problems(store, dataset, made_of, piece, table, rows)
    if dataset.materialized:
        expected, found = int(rows.length.sum()), store.rows(dataset.transitions, piece.file)
        if expected != found:
            yield f"its trajectories have {expected} transitions, but {found} are materialized"


@dataclass(frozen=True, eq=False)
class _Trajectories:
    """Columns of N trajectories as arrays, and what the source says of their episodes."""

    episode: Array  # (N,) place in the slice
    first_frame: Array  # (N,) of the episode, in the slice
    transitions: Array  # (N,) of the episode
    terminated: Array  # (N,) the environment ended with the last of them
    goal: Array
    start: Array
    stop: Array
    success: Array
    first_success: Array  # -1: none
    length: Array  # (N,) of `rewards`


def _trajectories(
    store: Store, found: Basis, piece: Slice, table: pa.Table
) -> _Trajectories | None:
    names = [fields.EPISODE_ID, fields.LENGTH]
    episodes = store.read_slices("episodes", [piece], names)
    place = pc.index_in(table.column(fields.EPISODE_ID), episodes.column(fields.EPISODE_ID))
    if place.null_count:
        return None
    lengths = episodes.column(fields.LENGTH).to_numpy().astype(np.int64)
    ends = _ends_terminal(store, piece, lengths)
    last = store.manifest.last_step
    counts = [
        transition_count(int(n), ends_terminal=bool(end), timing=found.timing, last_step=last)
        for n, end in zip(lengths, ends, strict=True)
    ]
    own = place.to_numpy().astype(np.int64)
    return _Trajectories(
        episode=own,
        first_frame=(np.cumsum(lengths) - lengths)[own],
        transitions=np.array(counts, np.int64)[own],
        terminated=ends[own],
        goal=table.column(GOAL).to_numpy().astype(np.int64),
        start=table.column(START).to_numpy().astype(np.int64),
        stop=table.column(STOP).to_numpy().astype(np.int64),
        success=table.column(SUCCESS).to_numpy(),
        first_success=table.column(FIRST_SUCCESS).fill_null(-1).to_numpy().astype(np.int64),
        length=pc.list_value_length(table.column(REWARDS)).to_numpy().astype(np.int64),
    )


def _ends_terminal(store: Store, piece: Slice, lengths: Array) -> Array:
    """(E,) whether each episode's last frame is terminal."""
    ends = np.zeros(len(lengths), bool)
    if fields.IS_TERMINAL in {spec.name for spec in store.manifest.fields}:
        steps = store.read_slices("steps", [piece], [fields.IS_TERMINAL])
        values = flags(steps.column(fields.IS_TERMINAL))
        ends[lengths > 0] = values[np.cumsum(lengths)[lengths > 0] - 1]
    return ends


def _range_problems(
    dataset: GoalDatasetManifest, found: Basis, table: pa.Table, rows: _Trajectories
) -> Iterator[str]:
    options = dataset.options
    keys = np.stack([rows.episode, rows.goal, rows.start, rows.stop])
    order = np.lexsort(keys[::-1])
    twice = np.append(False, (np.diff(keys[:, order], axis=1) == 0).all(axis=0))[: len(order)]
    inside = (rows.first_success >= rows.start) & (rows.first_success < rows.stop)
    ids = table.column(fields.EPISODE_ID).to_pylist()
    splits = [options.split(episode_id).value for episode_id in ids]
    kinds = [kind.value for kind in options.kinds]
    checks = {
        "lie in another order than episode, goal, start, stop": order != np.arange(len(order)),
        "are there twice": twice,
        "are of no goal of the reward set": (rows.goal < 0) | (rows.goal >= found.goals),
        "reach beyond the transitions of their episode": (rows.start < 0)
        | (rows.start >= rows.stop)
        | (rows.stop > rows.transitions),
        "are shorter than the minimum": rows.stop - rows.start < options.min_length,
        "have another number of rewards than transitions": rows.length != rows.stop - rows.start,
        "have a first success outside them, or none and success": rows.success != inside,
        "are of another split than their episode's hash says": (
            np.array(table.column(SPLIT).to_pylist()) != np.array(splits)
        ),
        "are of a kind that was not asked for": ~np.isin(table.column(KIND).to_pylist(), kinds),
    }
    if options.end_on_success:
        over = rows.success & (rows.stop != rows.first_success + 1)
        checks["go on after their first success"] = over
    yield from _told(checks)


def _told(checks: dict[str, Array]) -> Iterator[str]:
    for what, wrong in checks.items():
        count = int(np.sum(wrong, dtype=int))
        if count:
            yield f"{count} trajectories {what}"


def _value_problems(
    store: Store,
    dataset: GoalDatasetManifest,
    found_basis: Basis,
    piece: Slice,
    table: pa.Table,
    rows: _Trajectories,
) -> Iterator[str]:
    """Rewards, successes, returns and terminals, against what they must follow from."""
    options = dataset.options
    own = np.repeat(np.arange(len(rows.goal)), rows.length)
    since = np.arange(len(own)) - np.repeat(np.cumsum(rows.length) - rows.length, rows.length)
    cells = (rows.first_frame + rows.start)[own] + since, rows.goal[own]
    values, reached = _expected(store, dataset, found_basis, piece, cells)
    listed = table.column(REWARDS)
    found = np.concatenate([c.flatten().to_numpy() for c in listed.chunks] or [np.zeros(0)])
    first = np.full(len(rows.goal), -1)
    hits = np.flatnonzero(reached)[::-1]  # the earliest is written last
    first[own[hits]] = rows.start[own[hits]] + since[hits]
    returns = np.zeros(len(rows.goal))
    np.add.at(returns, own, found * options.discount ** since.astype(np.float64))
    at_end = (rows.stop == rows.transitions) & rows.terminated
    ends = at_end | (rows.success & options.end_on_success)
    stored = table.column(RETURN).to_numpy()
    yield from _told(
        {
            "have rewards that do not follow from the reward set": np.isin(
                np.arange(len(rows.goal)), own[~(values == found)]
            ),
            "have another first success than their rewards": first != rows.first_success,
            "have another return than their rewards": ~np.isclose(
                returns, stored, rtol=1e-4, atol=1e-5
            ),
            "are terminal, or not, against the flags": ends != table.column(TERMINAL).to_numpy(),
        }
    )


def _expected(
    store: Store,
    dataset: GoalDatasetManifest,
    found: Basis,
    piece: Slice,
    cells: tuple[Array, Array],
) -> tuple[Array, Array]:
    """Rewards, and whether the goal is reached, of transitions given as (frame, goal)."""
    frame, goal = cells
    ahead = found.timing is Timing.NEXT_FRAME
    if found.column is not None:
        column = store.read_slices("steps", [piece], [found.column]).column(0)
        values = matrix(truth_values(column))[frame + ahead, goal]
    else:
        names = [fields.REWARD, *([fields.SCORE] if found.difference else [])]
        table = store.read_slices(found.table, [piece], names)
        values = matrix(table.column(fields.REWARD))[frame, goal]
        if found.difference:
            scores = matrix(table.column(fields.SCORE))[frame + ahead, goal]
            return values, scores > np.float32(found.above)
    reached = values > np.float32(found.above)
    known = reached + np.float32(dataset.options.step_reward)
    return np.where(np.isnan(values), np.nan, known) if found.binary else values, reached
