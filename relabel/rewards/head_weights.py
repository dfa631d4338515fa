"""What labels taught: the arrays of a head, in memory and in the store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas import fields as names
from schemas.errors import StoreError
from schemas.goal_datasets import GOAL
from schemas.tables import flags, matrix

_COLUMNS: Final = (GOAL, names.BLEND, names.LABEL, names.BIAS, names.EMBEDDING)


@dataclass(frozen=True, eq=False)
class HeadWeights:
    """R rows that frames are compared with, those of one goal together, goals rising.

    Of a cached head a row is the embedding of a labelled frame, and the rows of a goal are its
    positives, then its negatives. Of a linear head it is the normal of a hyperplane, one per goal.
    """

    goal: NDArray[np.int32]  # (R,) place on the goal axis
    blend: NDArray[np.float32]  # (R,) share of the head in that goal's score, above 0, at most 1
    positive: NDArray[np.bool_]  # (R,) whether the labelled frame shows the goal; linear: True
    bias: NDArray[np.float32]  # (R,) of the hyperplane; cached: 0
    rows: NDArray[np.float32]  # (R, D)

    @classmethod
    def none(cls, dim: int) -> HeadWeights:
        """Of no goal."""
        empty = np.zeros(0, np.float32)
        none = np.zeros(0, bool)
        return cls(empty.astype(np.int32), empty, none, empty, np.zeros((0, dim), np.float32))

    @classmethod
    def joined(cls, parts: list[HeadWeights], dim: int) -> HeadWeights:
        """Those of several goals, in this order."""
        whole = [cls.none(dim), *parts]
        return cls(*(np.concatenate([getattr(p, f.name) for p in whole]) for f in fields(cls)))

    @property
    def starts(self) -> NDArray[np.int64]:
        """(A,) first row of each goal that has any."""
        return np.flatnonzero(np.diff(self.goal, prepend=-1))

    @property
    def sha256(self) -> str:
        """Of all numbers."""
        digest = hashlib.sha256(repr(self.rows.shape).encode())
        for field in fields(self):
            values = np.ascontiguousarray(getattr(self, field.name))
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def table(self) -> pa.Table:
        """As it is stored."""
        flat = pa.array(np.ascontiguousarray(self.rows).reshape(-1), pa.float32())
        columns = (
            pa.array(self.goal),
            pa.array(self.blend),
            pa.array(self.positive),
            pa.array(self.bias),
            pa.FixedSizeListArray.from_arrays(flat, self.rows.shape[1]),
        )
        return pa.table(dict(zip(_COLUMNS, columns, strict=True)))

    @classmethod
    def of_table(cls, table: pa.Table, origin: str) -> HeadWeights:
        """As it was stored.

        Raises:
            StoreError: a column is not there.
        """
        if missing := [name for name in _COLUMNS if name not in table.column_names]:
            raise StoreError(
                f"{origin}: expected the columns {', '.join(_COLUMNS)}, got no "
                f"{', '.join(missing)}; score again with --overwrite"
            )
        goal, blend, label, bias, rows = (table.column(name) for name in _COLUMNS)
        return cls(goal.to_numpy(), blend.to_numpy(), flags(label), bias.to_numpy(), matrix(rows))
