"""Which steps of an episode are told to reach which goals, by the texts that they carry.

A step names a goal if one of its texts (of any language column, any phrasing of a list) says
the same as one of the goal's. A **command** is a contiguous run of steps that name a goal:

    step            0       1       2       3       4       5
    column 1        "lift"  "lift"  ""      "lift"  "drop"  "drop"
    column 2        ""      ""      "drop"  "drop"  ""      ""

    lift            [0         ,2)          [3,4)
    drop                            [2                     ,6)

If an empty text holds what was said before (`holds`), in each column by itself, "lift" of
column 1 is [0, 4). An episode none of whose steps has a text is told what the episodes table
says of it, from its first step to its last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas import fields
from schemas.manifests import StoreManifest

Ints = NDArray[np.int64]
Named = Callable[[str], frozenset[int]]  # the goals that a text names


@dataclass(frozen=True)
class Commanded:
    """Steps [start, stop) of an episode name a goal, and the steps around them do not."""

    goal: int
    start: int
    stop: int


def language_columns(manifest: StoreManifest) -> tuple[list[str], list[str]]:
    """Names of the columns that hold instructions: of the steps table, of the episodes table."""
    stored = {spec.name for spec in manifest.fields}
    whole = {fields.METADATA_PREFIX + spec.name for spec in manifest.metadata}
    steps = [name for name in manifest.language_fields if name in stored]
    episodes = [name for name in manifest.language_fields if name in whole - stored]
    return steps, [fields.LANGUAGE, *episodes]


def commands(
    steps: Sequence[pa.ChunkedArray],
    episodes: Sequence[pa.ChunkedArray],
    lengths: Ints,
    named: Named,
    *,
    holds: bool,
) -> list[tuple[Commanded, ...]]:
    """The commands of each of E episodes, by goal and start.

    Args:
        steps: text columns of T frames, see `texts`.
        episodes: text columns of E episodes: `language`, which counts where no step of the
            episode has a text, and others, which always count.
        lengths: (E,) frames of each, T in all.
        named: the goals that a text names.
        holds: whether an empty text means what the column said before, in the same episode.
    """
    episode = np.repeat(np.arange(len(lengths)), lengths)
    first = (np.cumsum(lengths) - lengths)[episode]
    silent = np.ones(len(lengths), bool)
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for column in steps:
        rows, goals, spoken = _named_rows(column, named)
        silent[episode[spoken]] = False
        pairs.append(_held(rows, goals, spoken, first) if holds else (rows, goals))
    for place, column in enumerate(episodes):
        rows, goals, _ = _named_rows(column, named)
        wanted = silent[rows] if place == 0 else np.ones(len(rows), bool)
        pairs.append(_spread(rows[wanted], goals[wanted], lengths))
    frame = np.concatenate([frames for frames, _ in pairs])
    goal = np.concatenate([goals for _, goals in pairs])
    return _runs(frame, goal, episode, first, len(lengths))


def texts(column: pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    """The texts of a column and (N,) the row of each: of text, or of lists of texts.

    Blank ones are left out, as is whatever is not UTF-8.
    """
    values = column.combine_chunks()
    rows = np.arange(len(values), dtype=np.int64)
    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        rows, values = pc.list_parent_indices(values).to_numpy(), pc.list_flatten(values)
    if pa.types.is_binary(values.type):
        values = pa.array([_decoded(value) for value in values.to_pylist()], pa.string())
    said = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0), False)
    return rows[said.to_numpy(zero_copy_only=False)].astype(np.int64), values.filter(said)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _named_rows(column: pa.ChunkedArray, named: Named) -> tuple[Ints, Ints, Ints]:
    """(N,) rows and (N,) goals that they name, and the rows that have a text at all."""
    rows, values = texts(column)
    coded = values.dictionary_encode()
    of_text = [sorted(named(text)) for text in coded.dictionary.to_pylist()]
    counts = np.array([len(goals) for goals in of_text], np.int64)
    flat = np.array([goal for goals in of_text for goal in goals], np.int64)
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    place = _ranges((np.cumsum(counts) - counts)[code], counts[code])
    return np.repeat(rows, counts[code]), flat[place], np.unique(rows)


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """start, start + 1, … of each range, one range after the other."""
    before = np.cumsum(counts) - counts
    own: Ints = np.arange(int(counts.sum()), dtype=np.int64) + np.repeat(starts - before, counts)
    return own


def _held(rows: Ints, goals: Ints, spoken: Ints, first: Ints) -> tuple[Ints, Ints]:
    """The pairs of row and goal with those of the last spoken row put in every silent one."""
    last = np.full(len(first), -1, np.int64)
    last[spoken] = spoken
    last = np.maximum.accumulate(last) if len(last) else last
    known = np.flatnonzero(last >= first)  # something was said in this episode
    order = np.argsort(rows, kind="stable")
    rows, goals = rows[order], goals[order]
    low = np.searchsorted(rows, last[known], "left")
    counts = np.searchsorted(rows, last[known], "right") - low
    return np.repeat(known, counts), goals[_ranges(low, counts)]


def _spread(episodes: Ints, goals: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Pairs of episode and goal as pairs of frame and goal."""
    starts, counts = (np.cumsum(lengths) - lengths)[episodes], lengths[episodes]
    return _ranges(starts, counts), np.repeat(goals, counts)


def _runs(
    frame: Ints, goal: Ints, episode: Ints, first: Ints, episodes: int
) -> list[tuple[Commanded, ...]]:
    """Pairs of frame and goal, in any order and some of them twice, as runs."""
    found: list[list[Commanded]] = [[] for _ in range(episodes)]
    if not len(frame):
        return [()] * episodes
    goal, frame = np.divmod(np.unique(goal * len(episode) + frame), len(episode))
    own = episode[frame]
    breaks = (np.diff(goal) != 0) | (np.diff(frame) != 1) | (np.diff(own) != 0)
    starts = np.append(0, np.flatnonzero(breaks) + 1)
    stops = np.append(starts[1:], len(frame))
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        begin = int(frame[start] - first[frame[start]])
        command = Commanded(int(goal[start]), begin, begin + stop - start)
        found[int(own[start])].append(command)
    return [tuple(own) for own in found]


def broken_off(column: pa.ChunkedArray, first: Ints) -> int:
    """How many episodes have a step without a text right behind a step with one.

    Args:
        column: of T frames.
        first: (T,) the first frame of each one's episode.
    """
    spoken = np.zeros(len(first), bool)
    spoken[texts(column)[0]] = True
    gaps = spoken[:-1] & ~spoken[1:] & (first[:-1] == first[1:])
    return len(np.unique(first[:-1][gaps]))
