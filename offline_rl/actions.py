"""What an agent does: one or several columns of the steps table, joined to one action.

    columns     action.arm float32[6]   action.gripper int64[1]   action.stop int32[3], one-hot
    joined      a_0 … a_5               a_6                       a_7 a_8 a_9          (F, 10)

Joined values are brought to [-1, 1] by the algorithm's scaler, whatever their type. `restoring`
goes the way back, from a joined vector to what an environment takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np
import pyarrow as pa
from d3rlpy.constants import ActionSpace
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from offline_rl.frames import Floats, as_matrix
from schemas import fields
from schemas.enums import LastStep
from schemas.errors import StoreError
from schemas.goal_datasets import ColumnStatistics
from schemas.store import Store
from schemas.tables import FieldSpec

WIDE_HEAD: Final = 1000  # discrete actions that a note is made of
_MOST_CHOICES: Final = 1 << 24  # float32, which batches are made of, counts no further
_LISTED: Final = 8  # ids in a note
_EXACT: Final = 1 << 53  # float64 holds every whole number up to here


class ActionBounds(StrEnum):
    """Values of a continuous action that become -1 and 1."""

    MIN_MAX = "min-max"  # the least and the greatest of the training split
    PERCENTILES = "p01-p99"  # of floats the 1st and the 99th percentile; what lies beyond is cut


class ActionPart(BaseModel):
    """One column of a joined action."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    dtype: str  # NumPy name, as in the source
    shape: tuple[int, ...] = ()  # before flattening
    one_hot: tuple[int, ...] = ()  # of whole numbers, one 1 among 0s: places where it ever is

    @property
    def width(self) -> int:
        """Values."""
        return int(np.prod(self.shape, dtype=int))

    def restored(self, values: Floats) -> NDArray[Any]:
        """(width,) joined values in the type and shape of the column.

        The largest value of a one-hot column becomes its 1, where the data have ever had it;
        other integers are rounded, and bools are true above one half.
        """
        if self.one_hot:
            chosen = max(self.one_hot, key=lambda place: values[place])
            values = (np.arange(self.width) == chosen).astype(np.float32)
        return typed(values, np.dtype(self.dtype)).reshape(self.shape)

    def __str__(self) -> str:
        """`action.arm float32[6]`."""
        shape = "×".join(map(str, self.shape))
        return f"{self.column} {self.dtype}" + (f"[{shape}]" if shape else "")


class ActionLayout(BaseModel):
    """The columns of an action, in the order in which they are joined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: tuple[ActionPart, ...]
    discrete: bool = False  # one whole number, the id of a choice

    @property
    def width(self) -> int:
        """Values of the joined vector."""
        return sum(part.width for part in self.parts)

    @property
    def space(self) -> ActionSpace:
        """As d3rlpy names it."""
        return ActionSpace.DISCRETE if self.discrete else ActionSpace.CONTINUOUS

    def split(self, action: Any) -> dict[str, NDArray[Any]]:
        """An agent's action as values of the columns.

        Args:
            action: (A,) joined values, or the id of a choice.
        """
        flat = np.ravel(np.asarray(action))
        ends = np.cumsum([part.width for part in self.parts])
        pieces = np.split(flat, ends[:-1])
        return {p.column: p.restored(v) for p, v in zip(self.parts, pieces, strict=True)}

    def __str__(self) -> str:
        """`action.arm float32[6] + action.gripper float32[1]`."""
        return " + ".join(map(str, self.parts))


@dataclass(frozen=True)
class Actions:
    """The actions of a store's frames."""

    layout: ActionLayout
    values: NDArray[Any]  # (F, A) float32, or (F, 1) int64 ids of choices
    taken: NDArray[np.bool_]  # (F,) whether it is an action, not the filler of a last step
    first: NDArray[np.int64]  # (E,) row of each episode's first frame
    episode_ids: tuple[str, ...]  # (E,)

    @property
    def size(self) -> int:
        """Values of a continuous action, or number of choices."""
        return int(self.values.max()) + 1 if self.layout.discrete else int(self.values.shape[1])

    def bounds(self, counts: Callable[[str], bool]) -> tuple[Floats, Floats]:
        """(A,) least and greatest values of the actions taken in some episodes.

        Args:
            counts: whether an episode is one of them, by its id.

        Raises:
            StoreError: none of them has an action.
        """
        chosen = np.array([counts(episode) for episode in self.episode_ids], bool)
        lengths = np.diff(np.append(self.first, len(self.values)))
        own = self.values[np.repeat(chosen, lengths) & self.taken]
        if not len(own):
            raise StoreError(f"{self.layout}: no action in the training split")
        return own.min(axis=0), own.max(axis=0)

    def within(
        self, low: Floats, high: Floats, statistics: Mapping[str, ColumnStatistics]
    ) -> tuple[Floats, Floats]:
        """(A,) the same bounds, of floats by their 1st and 99th percentile.

        Integers and bools keep theirs: what is rare among them is no outlier. So does a float of
        which 98 % are one value.

        Args:
            low: (A,) least values.
            high: (A,) greatest values.
            statistics: of the training split, by column.

        Raises:
            StoreError: the action is a choice, or a column has no statistics.
        """
        if self.layout.discrete:
            raise StoreError(
                f"--action-bounds {ActionBounds.PERCENTILES}: {self.layout} is the id of a choice, "
                "which has no bounds; leave it out"
            )
        low, high, start = low.copy(), high.copy(), 0
        for part in self.layout.parts:
            own = slice(start, start + part.width)
            start += part.width
            if np.dtype(part.dtype).kind != "f":
                continue
            if part.column not in statistics:
                raise StoreError(
                    f"--action-bounds {ActionBounds.PERCENTILES}: the dataset has no percentiles "
                    f"of {part.column}; build it again with `vlm-relabel build-goals`"
                )
            known = statistics[part.column]
            first, last = (np.array(v, np.float32) for v in (known.p01, known.p99))
            apart = first < last
            low[own] = np.where(apart, first, low[own])
            high[own] = np.where(apart, last, high[own])
        return low, high

    def cut(self, low: Floats, high: Floats) -> Actions:
        """The actions with every value between (A,) bounds."""
        return replace(self, values=np.clip(self.values, low, high))

    def notes(self) -> list[str]:
        """What is unusual about choices."""
        if not self.layout.discrete:
            return []
        used = np.unique(self.values[self.taken])
        notes = []
        unused = np.setdiff1d(np.arange(self.size), used) if self.size <= 1 << 20 else used[:0]
        if self.size > len(used):
            named = ", ".join(map(str, unused[:_LISTED])) + ("…" if len(unused) > _LISTED else "")
            notes.append(
                f"{self.layout}: {len(used):,} of {self.size:,} ids are ever taken"
                + (f" (never: {named})" if named else "")
                + "; the agent can choose the others as well"
            )
        if self.size > WIDE_HEAD:
            notes.append(
                f"{self.layout}: ids up to {self.size - 1:,} give a head of {self.size:,} outputs; "
                "is this an id, or a measured number (--no-discrete)?"
            )
        return notes


def layout_of(store: Store, names: Sequence[str], discrete: bool | None = None) -> ActionLayout:
    """The columns that some names stand for, in the order of the names.

    Args:
        store: of the steps table.
        names: columns (`action`), or groups of them (`action` for `action.arm` and
            `action.gripper`, in the order in which they are stored).
        discrete: whether the action is the id of a choice; None: if it is one integer scalar.

    Raises:
        StoreError: no such column, one named twice, one that cannot be joined, or a discrete
            action of several values.
    """
    if not names:
        raise StoreError("--action: expected at least one column, got none")
    specs = [spec for name in names for spec in _columns(store, name)]
    twice = sorted({s.name for s in specs if sum(o.name == s.name for o in specs) > 1})
    if twice:
        raise StoreError(f"--action: {', '.join(twice)} is named twice in {', '.join(names)}")
    parts = tuple(
        ActionPart(column=s.name, dtype=s.dtype, shape=tuple(n for n in s.shape if n is not None))
        for s in specs
    )
    layout = ActionLayout(parts=parts, discrete=_is_choice(parts))
    if discrete is None or discrete == layout.discrete:
        return layout
    if discrete and layout.width != 1:
        raise StoreError(
            f"--discrete: expected one number per step, the id of a choice, got {layout} "
            f"({layout.width} values); leave --discrete out, or name one column with --action"
        )
    return layout.model_copy(update={"discrete": discrete})


def _is_choice(parts: Sequence[ActionPart]) -> bool:
    (first, *more) = parts
    return not more and not first.shape and np.dtype(first.dtype).kind in "iu"


def _columns(store: Store, name: str) -> list[FieldSpec]:
    """The column of this name, or those of the group."""
    tensors = [f for f in store.manifest.fields if f.kind == "tensor"]
    found = [f for f in tensors if f.name == name]
    found = found or [f for f in store.manifest.fields if f.name.startswith(f"{name}.")]
    if not found:
        raise StoreError(
            f"no action column {name!r}; there are {', '.join(f.name for f in tensors)}"
        )
    bad = [f for f in found if f.kind != "tensor" or f.dtype == "object" or None in f.shape]
    if bad:
        good = [f for f in found if f not in bad]
        cure = " ".join(f"--action {f.name}" for f in good) or "--action NAME of another column"
        raise StoreError(
            f"--action {name}: {', '.join(f.name for f in bad)} cannot be joined, since its values "
            f"are no numbers, or of a length that differs from step to step; use {cure}"
        )
    return found


def read_actions(store: Store, layout: ActionLayout) -> Actions:
    """The actions of every frame.

    Args:
        store: with a complete steps table.
        layout: from `layout_of`.

    Raises:
        StoreError: a value that is not finite (with its episode and step), a constant action,
            or choices that are not numbered from 0.
    """
    columns = [part.column for part in layout.parts]
    content = store.read("steps", [fields.EPISODE_ID, fields.STEP, *columns])
    first = np.flatnonzero(content.column(fields.STEP).to_numpy() == 0)
    taken = _taken(store, first, content.num_rows)
    values = np.concatenate([as_matrix(content.column(name)) for name in columns], axis=1)
    _check(values, content, layout, taken)
    if layout.discrete:
        usable = np.isfinite(values) & (values >= 0) & (values <= values[taken].max(initial=0))
    else:
        usable = np.isfinite(values)
        layout = _with_one_hots(layout, values[taken])
    # d3rlpy looks at the action behind a last transition, if only to ignore it.
    values = np.where(taken[:, None] | usable, values, np.float32(0))
    ids = content.column(fields.EPISODE_ID).take(pa.array(first)).to_pylist()
    return Actions(
        layout, values.astype(np.int64) if layout.discrete else values, taken, first, tuple(ids)
    )


def _taken(store: Store, first: NDArray[np.int64], frames: int) -> NDArray[np.bool_]:
    """(F,) whether a frame is no last step whose action means nothing."""
    taken = np.ones(frames, bool)
    if store.manifest.last_step is not LastStep.CARRIES_ACTION and frames:
        taken[np.append(first[1:], frames) - 1] = False
    return taken


def _check(
    values: Floats, content: pa.Table, layout: ActionLayout, taken: NDArray[np.bool_]
) -> None:
    """Looks at the actions that were taken: the rows of `values` where `taken`."""
    missing = np.flatnonzero(~np.isfinite(values).all(axis=1) & taken)
    if len(missing):
        row = int(missing[0])
        where = f"{content.column(fields.EPISODE_ID)[row]} step {content.column(fields.STEP)[row]}"
        raise StoreError(
            f"{_named(layout)}: {len(missing)} actions are not finite, the first of episode "
            f"{where}; mend the source or leave these episodes out"
        )
    own = values[taken]
    if (own == own[:1]).all():
        raise StoreError(
            f"{_named(layout)}: every action is {own[:1].tolist()}; there is nothing to learn from "
            "a constant action (is this the right column?)"
        )
    if layout.discrete:
        _check_choices(own, layout)


def _check_choices(own: Floats, layout: ActionLayout) -> None:
    name = _named(layout)
    if own.min() < 0:
        raise StoreError(
            f"{name}: discrete actions are numbered from 0, the lowest is {own.min():g}"
        )
    if (own != np.floor(own)).any():
        broken = float(own[own != np.floor(own)][0])
        raise StoreError(
            f"{name}: discrete actions are whole numbers, got {broken:g}; leave --discrete out"
        )
    if own.max() >= _MOST_CHOICES:
        raise StoreError(
            f"{name}: the highest id is {own.max():.0f}, expected less than {_MOST_CHOICES:,} "
            "choices; number them from 0, or take the column for a continuous action with "
            "--no-discrete"
        )


def _named(layout: ActionLayout) -> str:
    return ", ".join(part.column for part in layout.parts)


def _with_one_hots(layout: ActionLayout, own: Floats) -> ActionLayout:
    """The layout, with the parts marked that are one-hot in all (N, A) actions taken."""
    ends = np.cumsum([part.width for part in layout.parts])
    pieces = np.split(own, ends[:-1], axis=1)
    parts = [
        part.model_copy(update={"one_hot": _ones(part, values)})
        for part, values in zip(layout.parts, pieces, strict=True)
    ]
    return layout.model_copy(update={"parts": tuple(parts)})


def _ones(part: ActionPart, values: Floats) -> tuple[int, ...]:
    """Where (N, width) values that are one-hot have their 1; () if they are not."""
    if np.dtype(part.dtype).kind not in "iub" or part.width == 1:
        return ()
    if not ((values == 0) | (values == 1)).all() or (values.sum(axis=1) != 1).any():
        return ()
    return tuple(np.flatnonzero(values.any(axis=0)).tolist())


def typed(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in a type: integers are rounded and kept in its range, bools true above 1/2."""
    if dtype.kind == "b":
        true: NDArray[Any] = values > 0.5
        return true
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -_EXACT), min(limits.max, _EXACT)
        whole: NDArray[Any] = np.clip(np.rint(values.astype(np.float64)), low, high).astype(dtype)
        return whole
    plain: NDArray[Any] = values.astype(dtype)
    return plain
