"""The label table: whether a frame shows a goal, as a person says.

    episode_id,step,goal_id,label
    train/0/3,17,open-the-drawer,yes

CSV or Parquet, in any order, with any further columns. A label is yes or no, true or false, 1 or 0;
a row without one, or that says skip, is no label.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from schemas import fields
from schemas.errors import LabelError
from schemas.files import Folder
from schemas.texts import brief

COLUMNS: Final = (fields.EPISODE_ID, fields.STEP, fields.GOAL_ID, fields.LABEL)
_YES: Final = frozenset(("yes", "y", "true", "t", "1", "1.0"))
_NO: Final = frozenset(("no", "n", "false", "f", "0", "0.0"))
_NOTHING: Final = frozenset(("", "skip", "nan", "none", "null", "<na>"))
_STEP: Final = re.compile(r"(\d{1,9})(\.0+)?")  # pandas turns numbers beside gaps into 3.0
_SHOWN: Final = 5  # problems that an error lists

Row = tuple[str, int, str, bool]


@dataclass(frozen=True, eq=False)
class Labels:
    """L labels, of which no two are of the same frame and goal, in the order of goal and frame."""

    episode_id: NDArray[np.object_]  # (L,) str
    step: NDArray[np.int64]  # (L,)
    goal_id: NDArray[np.object_]  # (L,) str
    label: NDArray[np.bool_]  # (L,)
    contradictory: tuple[str, ...] = ()  # places labelled both ways, which are not among the L

    @classmethod
    def of_rows(cls, rows: Iterable[Row]) -> Labels:
        """Labels of (episode, step, goal, label); equal ones are one, contradictions are none."""
        said: dict[tuple[str, str, int], set[bool]] = {}
        for episode_id, step, goal_id, label in rows:
            said.setdefault((goal_id, episode_id, int(step)), set()).add(bool(label))
        kept = sorted(key for key, values in said.items() if len(values) == 1)
        both = sorted(key for key, values in said.items() if len(values) == 2)
        return cls(
            np.array([episode_id for _, episode_id, _ in kept], object),
            np.array([step for _, _, step in kept], np.int64),
            np.array([goal_id for goal_id, _, _ in kept], object),
            np.array([said[key] == {True} for key in kept], bool),
            tuple(f"{episode_id} step {step}, {brief(goal)}" for goal, episode_id, step in both),
        )

    def __len__(self) -> int:
        return len(self.label)

    def __iter__(self) -> Iterator[Row]:
        columns = (self.episode_id, self.step, self.goal_id, self.label)
        yield from zip(*(column.tolist() for column in columns), strict=True)

    def select(self, rows: NDArray[Any]) -> Labels:
        """Some of them: a mask (L,) of bool, or their places in rising order."""
        return Labels(self.episode_id[rows], self.step[rows], self.goal_id[rows], self.label[rows])

    @cached_property
    def sha256(self) -> str:
        """Of what they say, however the file was ordered or encoded."""
        return hashlib.sha256(json.dumps(list(self)).encode()).hexdigest()


def read_labels(location: str) -> Labels:
    """Reads a label table.

    Args:
        location: path or URL of a file that ends in .csv or .parquet.

    Raises:
        LabelError: it cannot be read, lacks a column, or has a value that is no label; names the
            rows.
        StoreError: there is no such file.
    """
    table = _table(location, _content(location))
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    rows, problems = [], []
    for place, values in enumerate(zip(*columns, strict=True)):
        row, problem = _row(*values)
        if problem is not None:
            problems.append(f"row {place + 1}: {problem}")
        elif row is not None:
            rows.append(row)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise LabelError(f"{location}: {'; '.join(problems[:_SHOWN])}{more}")
    return Labels.of_rows(rows)


def write_labels(labels: Labels, location: str) -> None:
    """Writes a label table, as its ending says; the file appears whole.

    Raises:
        LabelError: another ending than .csv and .parquet.
        StoreError: the place cannot be written.
    """
    table = pa.table(
        {
            fields.EPISODE_ID: pa.array(labels.episode_id, pa.string()),
            fields.STEP: pa.array(labels.step, pa.int64()),
            fields.GOAL_ID: pa.array(labels.goal_id, pa.string()),
            fields.LABEL: pa.array(labels.label, pa.bool_()),
        }
    )
    content = io.BytesIO()
    if _ending(location) == "csv":
        csv.write_csv(table, content)
    else:
        pq.write_table(table, content)
    folder, name = _place(location)
    folder.write(name, content.getvalue())


# --- one row ----------------------------------------------------------------------------------


def _row(episode_id: Any, step: Any, goal_id: Any, label: Any) -> tuple[Row | None, str | None]:
    """A row, or None if it says nothing; and what is wrong with it."""
    word = "" if label is None else str(label).strip().casefold()
    if word in _NOTHING:
        return None, None
    if word not in _YES | _NO:
        return None, f"label: expected yes or no, got {brief(label)!r}"
    if any(value is None or value == "" for value in (episode_id, goal_id)):
        return None, f"expected an {fields.EPISODE_ID} and a {fields.GOAL_ID}, got an empty one"
    whole = _STEP.fullmatch(str(step).strip())
    if whole is None:
        return None, f"step: expected a whole number of 0 or more, got {brief(step)!r}"
    return (str(episode_id), int(whole[1]), str(goal_id), word in _YES), None


# --- files ------------------------------------------------------------------------------------


def _ending(location: str) -> str:
    for ending in ("csv", "parquet"):
        if location.casefold().endswith(f".{ending}"):
            return ending
    raise LabelError(f"{location}: expected labels in a file that ends in .csv or .parquet")


def _place(location: str) -> tuple[Folder, str]:
    head, separator, name = location.rpartition("/")
    return Folder.at(head + separator if separator else "."), name


def _content(location: str) -> bytes:
    _ending(location)
    folder, name = _place(location)
    if not folder.exists(name):
        raise LabelError(f"{location}: there is no such file")
    return folder.read(name)


def _table(location: str, content: bytes) -> pa.Table:
    """The table with at least the four columns; of a CSV all are strings."""
    try:
        if _ending(location) == "csv":
            table = _read_csv(content)
        else:
            table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise LabelError(f"{location}: cannot be read: {brief(str(error))}") from error
    names = table.column_names
    missing = [name for name in COLUMNS if names.count(name) != 1]
    if missing:
        spaced = {name.strip() for name in names if name != name.strip()} & set(missing)
        raise LabelError(
            f"{location}: expected the columns {', '.join(COLUMNS)}, each once; missing or "
            f"repeated: {', '.join(missing)}; got {brief(', '.join(map(repr, names)))}"
            f"{'; leave out the spaces around names' if spaced else ''}"
        )
    return table


def _read_csv(content: bytes) -> pa.Table:
    return csv.read_csv(
        pa.BufferReader(content),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(COLUMNS, pa.string()),
            strings_can_be_null=False,
        ),
    )
